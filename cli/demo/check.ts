/** Holds what happened to a message against what must have happened. */
import PostalMime from 'postal-mime';
import type { MailActivity } from '../../stores/records/port.ts';
import type { DemoCase, ExpectedArrival, ExpectedVerdicts } from './cases.ts';
import type { Arrival } from './destination.ts';
import type { Told } from './send.ts';
import { FORWARD_DOMAIN, FORWARD_HOST, MAILBOX_DOMAIN } from './world.ts';

/** Everything that is known of one message. */
export interface Observation {
  /** What the sender was told, or why there was no conversation. */
  told: Told | Error;
  records: MailActivity[];
  /** What arrived at its destinations. */
  arrivals: Arrival[];
  /** How often a destination was tried, as its server counted. */
  attempts(destination: string): number;
  /** Non-delivery reports about it that arrived at the sender's host. */
  bounces: Bounce[];
}

export interface Bounce {
  arrival: Arrival;
  action: string;
  status: string;
  finalRecipient: string;
  /** The report is a multipart/report of type delivery-status (RFC 3464, 2). */
  isReport: boolean;
}

/** One thing that is not as it must be. */
export interface Difference {
  what: string;
  expected: string;
  actual: string;
}

/** @returns what is not as it must be; nothing when all is right */
export function check({ must, ...sent }: DemoCase, seen: Observation): Difference[] {
  const differences: Difference[] = [];
  const expect = (what: string, expected: string | number | boolean, actual: string | number | boolean) => {
    if (expected !== actual) differences.push({ what, expected: String(expected), actual: String(actual) });
  };

  if (seen.told instanceof Error)
    return [{ what: 'the sender was told', expected: must.told, actual: seen.told.message }];
  if (!seen.told.reply.startsWith(must.told)) expect('the sender was told', must.told, seen.told.reply);
  for (const [recipient, reply] of Object.entries(must.refused ?? {})) {
    const actual = seen.told.refused[recipient] ?? 'accepted';
    if (!actual.startsWith(reply)) expect(`RCPT ${recipient}`, reply, actual);
  }

  for (const [recipient, outcome] of Object.entries(must.outcomes)) {
    const record = seen.records.find((one) => sameAddress(one.recipient, recipient));
    expect(`${recipient}: outcome`, outcome, record?.outcome ?? 'no record');
    if (!record) continue;
    if (must.verdicts)
      expect(`${recipient}: recorded verdicts`, verdictText(must.verdicts), verdictText(recordedVerdicts(record)));
    expect(`${recipient}: sent again`, must.resent ?? false, record.resent);
    const hasRun = !['rejected', 'dropped'].includes(record.outcome);
    expect(`${recipient}: has a run`, hasRun, record.workflowId !== null);
  }

  for (const expected of must.arrivals) {
    const copies = seen.arrivals.filter((one) => one.recipients.some((to) => sameAddress(to, expected.to)));
    expect(`${expected.to}: copies`, expected.copies ?? 1, copies.length);
    for (const copy of copies) differences.push(...checkArrival(expected, copy, sent));
  }
  for (const [destination, attempts] of Object.entries(must.attempts ?? {}))
    expect(`${destination}: attempts`, attempts, seen.attempts(destination));
  const wanted = must.arrivals.reduce((sum, one) => sum + (one.copies ?? 1), 0);
  expect('messages that arrived', wanted, seen.arrivals.length);

  expect('reports to the sender', must.bounce ? 1 : 0, seen.bounces.length);
  for (const bounce of must.bounce ? seen.bounces : []) {
    expect('report: multipart/report; report-type=delivery-status', true, bounce.isReport);
    expect('report: sent to', must.bounce?.to ?? '', bounce.arrival.recipients.join(', '));
    expect('report: about', must.bounce?.about ?? '', bounce.finalRecipient);
    const behind = bounce.arrival.raw.includes(`@${MAILBOX_DOMAIN}`);
    expect('report: names the address behind', false, behind);
    expect('report: envelope sender', '', bounce.arrival.sender);
    expect('report: action', 'failed', bounce.action);
    expect('report: status', must.bounce?.status ?? '', bounce.status);
    expect('report: DMARC', 'pass', bounce.arrival.verdicts?.dmarc.result ?? 'none');
  }
  return differences;
}

function checkArrival(expected: ExpectedArrival, copy: Arrival, sent: Omit<DemoCase, 'must'>): Difference[] {
  const { verdicts } = copy;
  const added = copy.raw.subarray(0, Math.max(0, copy.raw.length - sent.message.length));
  const hasSignature = (domain: string) =>
    verdicts?.dkim.some((one) => one.domain === domain && one.result === 'pass') ?? false;
  const eightBit = sent.message.some((byte) => byte > 127);
  const facts: [string, string | number | boolean, string | number | boolean][] = [
    [
      'the message itself',
      'byte for byte',
      copy.raw.subarray(added.length).equals(sent.message) ? 'byte for byte' : 'changed',
    ],
    ['envelope sender', sent.from === '' ? 'null' : 'SRS', senderKind(copy.sender)],
    ['SPF of the forwarder', 'pass', verdicts?.spf.result ?? 'none'],
    ['DKIM of the forwarder', true, hasSignature(FORWARD_DOMAIN)],
    ...expected.signatures.map((domain): [string, boolean, boolean] => [
      `DKIM of ${domain}`,
      true,
      hasSignature(domain),
    ]),
    ['ARC', 'pass', verdicts?.arc.result ?? 'none'],
    ['ARC instance', expected.instance, verdicts?.arc.instance ?? 0],
    ['DMARC', expected.dmarc, verdicts?.dmarc.result ?? 'none'],
    [
      'Authentication-Results of the forwarder',
      true,
      new RegExp(`^Authentication-Results: ${FORWARD_HOST};`, 'm').test(added.toString()),
    ],
    ['TLS', true, copy.tls],
    ['BODY=8BITMIME', eightBit, copy.eightBit],
  ];
  return facts.flatMap(([what, must, actual]) =>
    must === actual ? [] : [{ what: `${expected.to}: ${what}`, expected: String(must), actual: String(actual) }],
  );
}

function senderKind(sender: string): string {
  if (sender === '') return 'null';
  return new RegExp(`^SRS[01][=+-].+@${FORWARD_DOMAIN.replace('.', '\\.')}$`, 'i').test(sender) ? 'SRS' : sender;
}

/** Reads a non-delivery report (RFC 3464); undefined when the arrival is none. */
export async function readBounce(arrival: Arrival): Promise<Bounce | undefined> {
  const mail = await PostalMime.parse(arrival.raw, { attachmentEncoding: 'utf8' });
  const status = mail.attachments.find((one) => /^message\/(global-)?delivery-status$/.test(one.mimeType));
  if (!status) return undefined;
  const text = String(status.content);
  const field = (name: string) => new RegExp(`^${name}:\\s*(.*?)\\s*$`, 'im').exec(text)?.[1] ?? '';
  const type = mail.headers.find((one) => one.key === 'content-type')?.value ?? '';
  return {
    arrival,
    action: field('Action').toLowerCase(),
    status: field('Status'),
    finalRecipient: field('Final-Recipient').replace(/^[^;]*;\s*/, ''),
    isReport: /^multipart\/report/i.test(type) && /report-type="?delivery-status/i.test(type),
  };
}

export function recordedVerdicts({ authentication }: MailActivity): ExpectedVerdicts {
  const results = authentication?.dkim.map((one) => one.result) ?? [];
  return {
    spf: authentication?.spf.result ?? 'none',
    dkim: results.includes('pass') ? 'pass' : (results[0] ?? 'none'),
    dmarc: authentication?.dmarc.result ?? 'none',
    arc: authentication?.arc.result ?? 'none',
  };
}

function verdictText({ spf, dkim, dmarc, arc }: ExpectedVerdicts): string {
  return `spf=${spf} dkim=${dkim} dmarc=${dmarc} arc=${arc}`;
}

/** Addresses as people mean them: without case, in NFC. */
export function sameAddress(one: string, other: string): boolean {
  return one.normalize('NFC').toLowerCase() === other.normalize('NFC').toLowerCase();
}
