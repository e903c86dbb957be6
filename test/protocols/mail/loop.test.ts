import { describe, expect, it } from 'vitest';
import { fieldBody, splitHeader } from '../../../protocols/mail/header.ts';
import { loopReply, takenBefore } from '../../../protocols/mail/loop.ts';
import { receivedField } from '../../../protocols/mail/received.ts';

const HOST = 'mx.own.test';
const before = (header: string) =>
  takenBefore(
    splitHeader(Buffer.from(`${header}\r\n`)).fields.map(({ name, raw }) => ({
      name: name.toLowerCase(),
      body: fieldBody(raw),
    })),
    HOST,
  );
const ours = (recipient: string, by = HOST) =>
  receivedField({
    helo: 'a.test',
    address: '192.0.2.1',
    by,
    protocol: 'ESMTPS',
    id: 'x.1',
    for: recipient,
    tls: 'TLSv1.3 TLS_AES_256_GCM_SHA384',
    date: new Date(0),
  });

describe('the recipients for whom a message was here before', () => {
  it('are those of our own Received fields and of Delivered-To, in one spelling', () => {
    expect(before(`${ours('Info@BÜCHER.test')}Delivered-To: Sales@Own.Test\r\nDelivered-To: <x@own.test>\r\n`)).toEqual(
      ['info@xn--bcher-kva.test', 'sales@own.test', 'x@own.test'],
    );
  });

  it.each([
    ['the trace of another host', ours('info@own.test', 'mx.other.test')],
    ['a host whose name begins like ours', ours('info@own.test', 'mx.own.test.evil.test')],
    ['our name in the place of the client', 'Received: from mx.own.test by b.test for <info@own.test>; now\r\n'],
    ['another field', 'X-Received: by mx.own.test for <info@own.test>\r\n'],
    ['what is no address', 'Delivered-To: everybody\r\nDelivered-To: \r\n'],
  ])('are not in %s', (_what, header) => expect(before(header)).toEqual([]));
});

it('refuses for good what comes back to the same recipient, and nothing else', () => {
  expect(loopReply(['a@own.test', 'INFO@own.test'], ['info@own.test'])).toEqual({
    code: 554,
    enhanced: '5.4.6',
    text: 'The message was here before for INFO@own.test: two addresses forward to each other',
  });
  expect(loopReply(['a@own.test'], ['info@own.test'])).toBeUndefined();
});
