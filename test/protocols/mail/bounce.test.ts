import { describe, expect, it } from 'vitest';
import { spawnSync } from 'node:child_process';
import PostalMime from 'postal-mime';
import { buildBounce, type BounceFacts } from '../../../protocols/mail/bounce.ts';
import { splitHeader } from '../../../protocols/mail/header.ts';

const failure = {
  originalRecipient: 'info@fwd.test',
  finalRecipient: 'alice@dest.test',
  action: 'failed' as const,
  status: '5.1.1',
  diagnostic: '550 5.1.1 No such user',
  remoteMta: 'mx.dest.test',
  lastAttempt: new Date(Date.UTC(2026, 10, 24, 9, 0, 0)),
};
const facts: BounceFacts = {
  reportingMta: 'mx.fwd.test',
  from: 'MAILER-DAEMON@fwd.test',
  sender: 'bob@example.org',
  messageId: '<bounce.1@mx.fwd.test>',
  date: new Date(Date.UTC(2026, 10, 24, 9, 0, 1)),
  arrivalDate: new Date(Date.UTC(2026, 10, 24, 8, 0, 0)),
  failures: [failure],
  originalHeader: Buffer.from(
    'From: Bob <bob@example.org>\r\nSubject: Lunch\r\nMessage-ID: <lunch@example.org>\r\n\r\n',
  ),
};
/** A stranger who writes into every text. */
const ATTACK = 'x\r\nBcc: victim@evil.test\r\n\r\n--report\r\n\0\u2028y';
const attacked: BounceFacts = {
  ...facts,
  reason: ATTACK,
  failures: [
    {
      ...failure,
      originalRecipient: ATTACK,
      finalRecipient: ATTACK,
      diagnostic: `550 ${ATTACK}${'y'.repeat(5_000)}`,
      remoteMta: ATTACK,
      status: ATTACK,
    },
  ],
  originalHeader: Buffer.concat([
    Buffer.from(`Subject: a\rb\nc\0\r\n\r\nX: ${'z'.repeat(3_000)}\r\nX-Raw: `),
    Buffer.from([0xe4, 0xff]),
    Buffer.from('\r\n'),
  ]),
};
const international: BounceFacts = {
  ...facts,
  sender: 'bób@example.org',
  failures: [
    {
      ...failure,
      originalRecipient: 'jösé@fwd.test',
      finalRecipient: '用户@dest.test',
      diagnostic: '550 5.1.1 Kein Empfänger',
    },
  ],
  originalHeader: Buffer.from('From: bób@example.org\r\nSubject: Grüße\r\n\r\n'),
};
const every = {
  plain: facts,
  attacked,
  'a header with bad line ends and a NUL': { ...facts, originalHeader: Buffer.from('Subject: a\rb\nc\0d\r\n\r\nX: y') },
  international,
  'an 8-bit subject': { ...facts, originalHeader: international.originalHeader },
};

describe.each(Object.entries(every))('%s', (_name, given) => {
  const bytes = buildBounce(given);
  const text = bytes.toString('utf8');

  it('has CRLF alone as line end, and no line over 998 octets', () => {
    expect(text.replaceAll('\r\n', '')).not.toMatch(/[\r\n\0]/);
    for (const line of text.split('\r\n')) expect(Buffer.byteLength(line)).toBeLessThanOrEqual(998);
  });

  it('has the ten fields that it should have and no other', () => {
    const names = splitHeader(bytes).fields.map(({ name }) => name);
    const threaded = names.filter((name) => name !== 'In-Reply-To' && name !== 'References');
    expect(threaded).toEqual([
      'From',
      'To',
      'Subject',
      'Date',
      'Message-ID',
      'Auto-Submitted',
      'MIME-Version',
      'Content-Type',
    ]);
  });

  it('is the three parts of RFC 6522 to postal-mime', async () => {
    const mail = await PostalMime.parse(bytes, { forceRfc822Attachments: true });
    expect(mail.headers.find(({ key }) => key === 'content-type')?.value).toMatch(
      /^multipart\/report;\s*report-type=(global-)?delivery-status/,
    );
    expect(mail.text).toContain('could not be delivered');
    expect(text.match(/^Content-Type: .*/gm)).toHaveLength(4);
  });
});

describe('a report in ASCII, to Python', () => {
  const python = spawnSync('python3', ['-c', 'import email'], { encoding: 'utf8' }).status === 0;
  if (!python) console.log('skipped: python3 is absent');
  const read = (bounce: Buffer) => {
    const script = `
import email, email.policy, json, sys
m = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
parts = list(m.iter_parts())
print(json.dumps({
  'type': m.get_content_type(), 'report': m.get_param('report-type'), 'auto': m['Auto-Submitted'], 'to': m['To'], 'reply': m['In-Reply-To'],
  'parts': [p.get_content_type() for p in parts],
  'text': parts[0].get_content(),
  'status': [[[k, str(v)] for k, v in block.items()] for block in parts[1].get_payload()],
  'header': parts[2].get_payload(decode=True).decode(),
  'defects': [str(d) for p in m.walk() for d in p.defects],
}))`;
    const { stdout, stderr, status } = spawnSync('python3', ['-c', script], { input: bounce, encoding: 'utf8' });
    expect(stderr).toBe('');
    expect(status).toBe(0);
    return JSON.parse(stdout) as Record<'type' | 'report' | 'auto' | 'to' | 'reply' | 'text' | 'header', string> & {
      parts: string[];
      status: [string, string][][];
      defects: string[];
    };
  };

  it.skipIf(!python)('is a delivery status (RFC 3464)', () => {
    const seen = read(buildBounce(facts));
    expect(seen).toMatchObject({
      type: 'multipart/report',
      report: 'delivery-status',
      auto: 'auto-replied',
      to: 'bob@example.org',
      reply: '<lunch@example.org>',
      parts: ['text/plain', 'message/delivery-status', 'text/rfc822-headers'],
      defects: [],
    });
    expect(seen.text.replaceAll('\r\n', '\n')).toContain(
      'info@fwd.test\n    mx.dest.test said:\n    550 5.1.1 No such user\n',
    );
    expect(seen.header).toContain('Subject: Lunch');
    expect(seen.status).toEqual([
      [
        ['Reporting-MTA', 'dns; mx.fwd.test'],
        ['Arrival-Date', 'Tue, 24 Nov 2026 08:00:00 +0000'],
      ],
      [
        ['Original-Recipient', 'rfc822; info@fwd.test'],
        ['Final-Recipient', 'rfc822; alice@dest.test'],
        ['Action', 'failed'],
        ['Status', '5.1.1'],
        ['Remote-MTA', 'dns; mx.dest.test'],
        ['Diagnostic-Code', 'smtp; 550 5.1.1 No such user'],
        ['Last-Attempt-Date', 'Tue, 24 Nov 2026 09:00:00 +0000'],
      ],
    ]);
  });

  it.skipIf(!python)('keeps its shape under attack', () => {
    const seen = read(buildBounce(attacked));
    expect(seen.parts).toEqual(['text/plain', 'message/delivery-status', 'text/rfc822-headers']);
    expect(seen.defects).toEqual([]);
    expect(seen.status.map((block) => block.map(([name]) => name))).toEqual([
      ['Reporting-MTA', 'Arrival-Date'],
      [
        'Original-Recipient',
        'Final-Recipient',
        'Action',
        'Status',
        'Remote-MTA',
        'Diagnostic-Code',
        'Last-Attempt-Date',
      ],
    ]);
    expect(seen.status[1]!.find(([name]) => name === 'Status')![1]).toBe('5.0.0');
  });
});

describe('internationalised (RFC 6533)', () => {
  it('names the global types and types the addresses', () => {
    const text = buildBounce(international).toString('utf8');
    expect(text).toContain('report-type=global-delivery-status');
    expect(text).toContain('Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n');
    expect(text).toContain('Content-Type: message/global-headers\r\nContent-Transfer-Encoding: 8bit\r\n');
    expect(text).toContain('Original-Recipient: utf-8; jösé@fwd.test\r\nFinal-Recipient: utf-8; 用户@dest.test\r\n');
    expect(text).toContain('Subject: Grüße\r\n');
  });

  it('stays 7-bit for a sender in ASCII, whose server may not know SMTPUTF8', async () => {
    const bytes = buildBounce({ ...international, sender: 'bob@example.org' });
    expect(bytes.every((byte) => byte < 128)).toBe(true);
    const { attachments } = await PostalMime.parse(bytes, { forceRfc822Attachments: true });
    const contents = attachments.map(
      ({ mimeType, content }) => [mimeType, Buffer.from(content as ArrayBuffer).toString('utf8')] as const,
    );
    expect(contents.map(([type]) => type)).toEqual(['message/global-delivery-status', 'message/global-headers']);
    expect(contents[0]![1]).toContain('utf-8; 用户@dest.test');
    expect(contents[1]![1]).toContain('Subject: Grüße');
  });
});

it('tells a person who waits that nothing is lost yet', () => {
  const text = buildBounce({ ...facts, failures: [{ ...failure, action: 'delayed', status: '4.4.1' }] }).toString();
  expect(text).toContain('Subject: Delivery delayed\r\n');
  expect(text).toContain('It will be tried again');
  expect(text).toContain('Action: delayed\r\nStatus: 4.4.1\r\n');
});

it('writes the same bytes for the same facts, and another boundary for others', () => {
  const boundary = (bytes: Buffer) => /boundary="([^"]+)"/.exec(bytes.toString())![1];
  expect(buildBounce(facts)).toEqual(buildBounce(facts));
  expect(boundary(buildBounce(facts))).not.toBe(boundary(buildBounce({ ...facts, reason: 'other' })));
});
