import { describe, expect, it } from 'vitest';
import { protocolName, receivedField, type Reception } from '../../../protocols/mail/received.ts';
import { splitHeader } from '../../../protocols/mail/header.ts';

const plain: Reception = {
  helo: 'client.example.org',
  address: '192.0.2.1',
  by: 'mx.fwd.test',
  protocol: 'ESMTPS',
  id: 'abc123',
  date: new Date(Date.UTC(2026, 10, 24, 8, 0, 0)),
};
const unfolded = (reception: Partial<Reception>) =>
  receivedField({ ...plain, ...reception })
    .replaceAll('\r\n ', ' ')
    .trimEnd();

it('says who gave the message to whom, as RFC 5321, 4.4 orders it', () => {
  expect(unfolded({})).toBe(
    'Received: from client.example.org ([192.0.2.1]) by mx.fwd.test with ESMTPS id abc123; Tue, 24 Nov 2026 08:00:00 +0000',
  );
  expect(unfolded({ ptr: 'c.example.org', for: '"a;b"@fwd.test', tls: 'TLSv1.3 TLS_AES_256_GCM_SHA384' })).toBe(
    'Received: from client.example.org (c.example.org [192.0.2.1]) by mx.fwd.test with ESMTPS (TLSv1.3 TLS_AES_256_GCM_SHA384) id abc123 for <"a;b"@fwd.test>; Tue, 24 Nov 2026 08:00:00 +0000',
  );
});

it('writes addresses as literals (RFC 5321, 4.1.3)', () => {
  expect(unfolded({ address: '2001:db8::1' })).toContain('([IPv6:2001:db8::1])');
  expect(unfolded({ address: 'fe80::1%eth0' })).toContain('([IPv6:fe80::1])');
  expect(unfolded({ address: '::ffff:192.0.2.7' })).toContain('([192.0.2.7])');
});

describe('a client cannot write into it', () => {
  const attacks = [
    'a)\r\n (b',
    'x\r\nBcc: a@b',
    'x by evil.test with SMTP; Mon, 1 Jan 2001',
    'x\0\u2028',
    '(((',
    '',
    'ü'.repeat(400),
    '[1.2.3.4] ([5.6.7.8])',
  ];
  it.each(attacks)('through its HELO %j', (helo) => {
    const field = receivedField({ ...plain, helo, ptr: helo, id: helo, protocol: helo, for: helo, tls: helo });
    expect(splitHeader(Buffer.from(field)).fields).toHaveLength(1);
    const clauses = field.replaceAll('\r\n ', ' ').replace(/\([^()]*\)/g, '');
    expect(clauses.match(/ by /g)).toHaveLength(1);
    expect(field.match(/;/g)).toHaveLength(1);
    // Comments are balanced and never nested.
    expect(clauses).not.toMatch(/[()]/);
    for (const line of field.split('\r\n')) expect(Buffer.byteLength(line)).toBeLessThanOrEqual(998);
  });
});

// RFC 3848 and RFC 6531, 4.3.
it.each([
  [{ extended: false, tls: false }, 'SMTP'],
  [{ extended: true, tls: false }, 'ESMTP'],
  [{ extended: true, tls: true }, 'ESMTPS'],
  [{ extended: true, tls: true, authenticated: true }, 'ESMTPSA'],
  [{ extended: true, tls: false, utf8: true }, 'UTF8SMTP'],
  [{ extended: true, tls: true, utf8: true, authenticated: true }, 'UTF8SMTPSA'],
])('%j is %s', (session, name) => expect(protocolName(session)).toBe(name));
