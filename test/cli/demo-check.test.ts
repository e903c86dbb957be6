/** The demo is a judge: it must see when something is not as it must be. */
import { describe, expect, it } from 'vitest';
import type { DemoCase } from '../../cli/demo/cases.ts';
import { check, readBounce, type Observation } from '../../cli/demo/check.ts';
import type { Arrival } from '../../cli/demo/destination.ts';
import type { MailActivity } from '../../stores/records/port.ts';

const MESSAGE = Buffer.from('From: a@signed.test\r\nMessage-ID: <1@signed.test>\r\n\r\nHello\r\n');
const HEADER = Buffer.from('Authentication-Results: mx.forward.test;\r\n dkim=pass\r\n');

const sent: DemoCase = {
  title: 'good',
  sender: { address: '127.0.0.11', helo: 'mail.signed.test' },
  from: 'a@signed.test',
  to: ['b@forward.test'],
  message: MESSAGE,
  must: {
    told: '250 2.',
    verdicts: { spf: 'pass', dkim: 'pass', dmarc: 'pass', arc: 'none' },
    outcomes: { 'b@forward.test': 'delivered' },
    arrivals: [{ to: 'b@mailbox.test', instance: 1, signatures: ['signed.test'], dmarc: 'pass' }],
  },
};

const arrival: Arrival = {
  at: new Date(),
  sender: 'SRS0=abcd=AB=signed.test=a@forward.test',
  recipients: ['b@mailbox.test'],
  sourceAddress: '127.0.0.1',
  helo: 'mx.forward.test',
  tls: true,
  eightBit: false,
  utf8: false,
  raw: Buffer.concat([HEADER, MESSAGE]),
  verdicts: {
    spf: { result: 'pass', domain: 'forward.test' },
    dkim: [
      { domain: 'forward.test', selector: 's', result: 'pass' },
      { domain: 'signed.test', selector: 's', result: 'pass' },
    ],
    arc: { result: 'pass', instance: 1 },
    dmarc: { result: 'pass', domain: 'signed.test', policy: 'reject' },
  },
};

const record = {
  recipient: 'b@forward.test',
  outcome: 'delivered',
  resent: false,
  workflowId: 'mail/1',
  authentication: {
    spf: { result: 'pass', domain: 'signed.test', scope: 'mfrom' },
    dkim: [
      { result: 'pass', domain: 'signed.test', selector: 's', algorithm: 'rsa-sha256', aligned: true, underSized: 0 },
    ],
    dmarc: { result: 'pass', domain: 'signed.test', policy: 'reject', disposition: 'none' },
    arc: { result: 'none', instance: 0 },
    authenticationResults: '',
  },
} as unknown as MailActivity;

function seen(more: Partial<Observation> = {}): Observation {
  return {
    told: { reply: '250 2.6.0 Delivered', code: 250, refused: {} },
    records: [record],
    arrivals: [arrival],
    bounces: [],
    attempts: () => 1,
    ...more,
  };
}

const wrong = (more: Partial<Observation>, one: DemoCase = sent) => check(one, seen(more)).map(({ what }) => what);
const arrived = (more: Partial<Arrival>) => ({ arrivals: [{ ...arrival, ...more }] });
const verdicts = (more: Partial<NonNullable<Arrival['verdicts']>>) =>
  arrived({ verdicts: { ...arrival.verdicts!, ...more } });

describe('the demo', () => {
  it('is content with what is as it must be', () => {
    expect(check(sent, seen())).toEqual([]);
  });

  it.each<[string, Partial<Observation>, string]>([
    ['another reply', { told: { reply: '451 4.3.0 Later', code: 451, refused: {} } }, 'the sender was told'],
    ['no conversation', { told: new Error('connection refused') }, 'the sender was told'],
    ['no record', { records: [] }, 'b@forward.test: outcome'],
    ['an open record', { records: [{ ...record, outcome: 'accepted' }] }, 'b@forward.test: outcome'],
    [
      'another verdict',
      { records: [{ ...record, authentication: { ...record.authentication!, arc: { result: 'fail', instance: 1 } } }] },
      'b@forward.test: recorded verdicts',
    ],
    ['a resend', { records: [{ ...record, resent: true }] }, 'b@forward.test: sent again'],
    ['no run', { records: [{ ...record, workflowId: null }] }, 'b@forward.test: has a run'],
    ['nothing arrived', { arrivals: [] }, 'b@mailbox.test: copies'],
    ['two copies', { arrivals: [arrival, arrival] }, 'b@mailbox.test: copies'],
    [
      'a copy for somebody else',
      { arrivals: [arrival, { ...arrival, recipients: ['c@mailbox.test'] }] },
      'messages that arrived',
    ],
    [
      'a changed byte',
      arrived({ raw: Buffer.from(arrival.raw.toString().replace('Hello', 'Hallo')) }),
      'b@mailbox.test: the message itself',
    ],
    ['a sender that was not rewritten', arrived({ sender: 'a@signed.test' }), 'b@mailbox.test: envelope sender'],
    [
      'SPF that fails',
      verdicts({ spf: { result: 'fail', domain: 'forward.test' } }),
      'b@mailbox.test: SPF of the forwarder',
    ],
    [
      'no signature of ours',
      verdicts({ dkim: [{ domain: 'signed.test', selector: 's', result: 'pass' }] }),
      'b@mailbox.test: DKIM of the forwarder',
    ],
    [
      'a broken original signature',
      verdicts({
        dkim: [
          { domain: 'forward.test', selector: 's', result: 'pass' },
          { domain: 'signed.test', selector: 's', result: 'fail' },
        ],
      }),
      'b@mailbox.test: DKIM of signed.test',
    ],
    ['a broken seal', verdicts({ arc: { result: 'fail', instance: 1 } }), 'b@mailbox.test: ARC'],
    ['a chain too short', verdicts({ arc: { result: 'pass', instance: 0 } }), 'b@mailbox.test: ARC instance'],
    ['no Authentication-Results', arrived({ raw: MESSAGE }), 'b@mailbox.test: Authentication-Results of the forwarder'],
    ['plain text', arrived({ tls: false }), 'b@mailbox.test: TLS'],
  ])('sees %s', (_title, more, what) => {
    expect(wrong(more)).toContain(what);
  });

  it('sees a report that is missing, one too many, and one that says something else', async () => {
    const report = Buffer.from(
      [
        'From: MAILER-DAEMON@forward.test',
        'Content-Type: multipart/report; report-type=delivery-status; boundary=b',
        '',
        '--b',
        'Content-Type: text/plain',
        '',
        'Sorry.',
        '--b',
        'Content-Type: message/delivery-status',
        '',
        'Reporting-MTA: dns; mx.forward.test',
        '',
        'Final-Recipient: rfc822; b@forward.test',
        'Action: failed',
        'Status: 5.1.1',
        '',
        '--b--',
        '',
      ].join('\r\n'),
    );
    const bounce = await readBounce({ ...arrival, sender: '', recipients: ['a@signed.test'], raw: report });
    if (!bounce) throw new Error('the report was not read');
    expect(bounce).toMatchObject({
      action: 'failed',
      status: '5.1.1',
      finalRecipient: 'b@forward.test',
      isReport: true,
    });
    const owed: DemoCase = {
      ...sent,
      must: { ...sent.must, bounce: { to: 'a@signed.test', about: 'b@forward.test', status: '5.1.1' } },
    };
    expect(wrong({ bounces: [bounce] }, owed)).toEqual([]);
    expect(wrong({}, owed)).toEqual(['reports to the sender']);
    expect(wrong({ bounces: [bounce] })).toEqual(['reports to the sender']);
    expect(wrong({ bounces: [{ ...bounce, status: '5.7.1' }] }, owed)).toEqual(['report: status']);
    expect(
      wrong({ bounces: [{ ...bounce, arrival: { ...bounce.arrival, recipients: ['x@signed.test'] } }] }, owed),
    ).toEqual(['report: sent to']);
    expect(wrong({ bounces: [{ ...bounce, finalRecipient: 'x@mailbox.test' }] }, owed)).toEqual(['report: about']);
    const raw = Buffer.from(report.toString().replace('Sorry.', 'b@mailbox.test does not want it.'));
    expect(wrong({ bounces: [{ ...bounce, arrival: { ...bounce.arrival, raw } }] }, owed)).toEqual([
      'report: names the address behind',
    ]);
  });
});
