/**
 * What the demo sends, and what must come of each message. The expectations are written from the standards and from
 * what the forwarder promises, never from what it did.
 */
import type { DNSResolver } from 'mailauth';
import type { Outcome } from '../../stores/records/port.ts';
import type { Behaviour } from './destination.ts';
import { asMailingList, compose, EIGHT_BIT, signed, through, withAttachment } from './messages.ts';
import type { Submission } from './send.ts';
import {
  AUTHOR_DOMAIN,
  BANK_DOMAIN,
  FORGER_DOMAIN,
  FORWARD_DOMAIN,
  INTERNATIONAL_DOMAIN,
  LIST_DOMAIN,
  MAILBOX_DOMAIN,
  NOBODY_DOMAIN,
  PLAIN_DOMAIN,
  SIGNED_DOMAIN,
  type World,
} from './world.ts';

/** What verification must have found, as recorded. */
export interface ExpectedVerdicts {
  spf: string;
  /** The best result of all signatures, `none` without any. */
  dkim: string;
  dmarc: string;
  arc: string;
}

export interface ExpectedArrival {
  /** Destination address. */
  to: string;
  copies?: number;
  /** ARC instance of our seal: one more than the message came with. */
  instance: number;
  /** Domains whose own DKIM signature must still verify at the destination. */
  signatures: string[];
  /** DMARC at the destination. */
  dmarc: string;
}

export interface Expectation {
  /** How the reply to the sender begins: code and enhanced code. */
  told: string;
  /** Recipients that RCPT must refuse, and how. */
  refused?: Record<string, string>;
  verdicts: ExpectedVerdicts | null;
  /** By recipient: how the activity record ends. */
  outcomes: Record<string, Outcome>;
  arrivals: ExpectedArrival[];
  /** The report that the sender must get, about the address that it wrote to: the one behind is its owner's secret (RFC 3464, 4.1). */
  bounce?: { to: string; about: string; status: string };
  /** The record must say that it was sent again after an outcome that nobody knew. */
  resent?: true;
  /** How often a destination must have been tried, where the row is about it. */
  attempts?: Record<string, number>;
}

export interface DemoCase extends Submission {
  title: string;
  must: Expectation;
}

/** 20 MB, in 25 MiB of message. */
const ATTACHMENT_BYTES = 20_000_000;

const ours = (local: string) => `${local}@${FORWARD_DOMAIN}`;
const theirs = (local: string) => `${local}@${MAILBOX_DOMAIN}`;

/** What destinations do with mail; every other address takes it. */
export const BEHAVIOURS: Record<string, Behaviour> = {
  [theirs('gone')]: { does: 'refuse', reply: '550 5.1.1 Mailbox does not exist' },
  [theirs('full')]: { does: 'refuse', reply: '552 5.2.2 Mailbox is full', at: 'data' },
  [theirs('busy')]: { does: 'defer', times: 1, reply: '451 4.7.1 Greylisted, try again later' },
  [theirs('late')]: {
    does: 'defer',
    times: 1,
    reply: '450 4.2.0 Busy',
    then: { does: 'refuse', reply: '550 5.7.1 Not wanted after all' },
  },
  [theirs('cut')]: { does: 'cut', times: 1 },
};

/** The rules of the installation, as in switchyard.yaml. */
export function demoRules(): ({ address: string } & ({ forward: string[] } | { drop: true }))[] {
  const forwarded = [
    'signed',
    'plain',
    'listed',
    'eight',
    '用户',
    'large',
    'kept',
    'gone',
    'full',
    'busy',
    'late',
    'cut',
    'forged',
    'nobody',
  ];
  return [
    ...forwarded.map((local) => ({ address: local, forward: [theirs(local)] })),
    { address: 'team', forward: [theirs('first'), theirs('second')] },
    { address: 'void', drop: true as const },
  ];
}

const PASSED: ExpectedVerdicts = { spf: 'pass', dkim: 'pass', dmarc: 'pass', arc: 'none' };

/** The messages of the first round. */
export async function demoCases(world: World, resolver: DNSResolver): Promise<DemoCase[]> {
  const { senders, keys } = world;
  /** A message of the domain that signs, for the rows that are about delivery. */
  const good = async (
    title: string,
    locals: string[],
    must: Omit<Expectation, 'verdicts'> & { verdicts?: ExpectedVerdicts | null },
  ): Promise<DemoCase> => {
    const from = `alice@${SIGNED_DOMAIN}`;
    const message = compose({ from: `Alice <${from}>`, to: locals.map(ours).join(', '), subject: title });
    return {
      title,
      sender: senders.signed,
      from,
      to: locals.map(ours),
      message: await signed(message, keys.signed),
      must: { verdicts: PASSED, ...must },
    };
  };
  const arrival = (local: string, more: Partial<ExpectedArrival> = {}): ExpectedArrival => ({
    to: theirs(local),
    instance: 1,
    signatures: [SIGNED_DOMAIN],
    dmarc: 'pass',
    ...more,
  });
  const delivered = (local: string): Pick<Expectation, 'told' | 'outcomes' | 'arrivals'> => ({
    told: '250 2.',
    outcomes: { [ours(local)]: 'delivered' },
    arrivals: [arrival(local)],
  });

  return [
    await good('signed with DKIM', ['signed'], delivered('signed')),
    {
      title: 'SPF only',
      sender: senders.plain,
      from: `bob@${PLAIN_DOMAIN}`,
      to: [ours('plain')],
      message: compose({ from: `Bob <bob@${PLAIN_DOMAIN}>`, to: ours('plain'), subject: 'SPF only' }),
      must: {
        ...delivered('plain'),
        verdicts: { spf: 'pass', dkim: 'none', dmarc: 'pass', arc: 'none' },
        // SRS makes SPF pass for us, not for the author: without a signature nothing aligns any more.
        arrivals: [arrival('plain', { signatures: [], dmarc: 'fail' })],
      },
    },
    {
      title: 'forged, p=reject',
      sender: senders.forger,
      from: `mallory@${FORGER_DOMAIN}`,
      to: [ours('forged')],
      message: compose({ from: `Your bank <service@${BANK_DOMAIN}>`, to: ours('forged'), subject: 'Your account' }),
      must: {
        told: '550 5.7.1',
        verdicts: { spf: 'pass', dkim: 'none', dmarc: 'fail', arc: 'none' },
        outcomes: { [ours('forged')]: 'rejected' },
        arrivals: [],
      },
    },
    {
      title: 'neither SPF nor DKIM',
      sender: senders.forger,
      from: `someone@${NOBODY_DOMAIN}`,
      to: [ours('nobody')],
      message: compose({ from: `someone@${NOBODY_DOMAIN}`, to: ours('nobody'), subject: 'Hello' }),
      must: {
        told: '550 5.7.26',
        verdicts: { spf: 'fail', dkim: 'none', dmarc: 'none', arc: 'none' },
        outcomes: { [ours('nobody')]: 'rejected' },
        arrivals: [],
      },
    },
    await listed(world, resolver),
    await eightBit(world),
    await international(world),
    await large(world),
    await good('unknown recipient', ['stranger'], {
      told: '550 5.1.1',
      refused: { [ours('stranger')]: '550 5.1.1' },
      verdicts: null,
      outcomes: { [ours('stranger')]: 'rejected' },
      arrivals: [],
    }),
    await good('refused upstream', ['full'], {
      told: '552 5.2.2 ',
      outcomes: { [ours('full')]: 'refused' },
      arrivals: [],
    }),
    await good('two, one refused upstream', ['kept', 'gone'], {
      told: '250 2.',
      outcomes: { [ours('kept')]: 'delivered', [ours('gone')]: 'bounced' },
      arrivals: [arrival('kept')],
      bounce: { to: `alice@${SIGNED_DOMAIN}`, about: ours('gone'), status: '5.1.1' },
    }),
    await good('deferred upstream first', ['busy'], { ...delivered('busy'), attempts: { [theirs('busy')]: 2 } }),
    await good('queued, then refused', ['late'], {
      told: '250 2.',
      outcomes: { [ours('late')]: 'bounced' },
      arrivals: [],
      bounce: { to: `alice@${SIGNED_DOMAIN}`, about: ours('late'), status: '5.7.1' },
      attempts: { [theirs('late')]: 2 },
    }),
    await good('cut off after the final dot', ['cut'], {
      ...delivered('cut'),
      arrivals: [arrival('cut', { copies: 2 })],
      resent: true,
    }),
    await good('two destinations', ['team'], {
      told: '250 2.',
      outcomes: { [ours('team')]: 'delivered' },
      arrivals: [arrival('first'), arrival('second')],
    }),
    await good('a rule that drops', ['void'], {
      told: '250 2.',
      outcomes: { [ours('void')]: 'dropped' },
      arrivals: [],
    }),
  ];
}

async function listed({ senders, keys }: World, resolver: DNSResolver): Promise<DemoCase> {
  const author = `carol@${AUTHOR_DOMAIN}`;
  const written = await signed(
    compose({ from: `Carol <${author}>`, to: `all@${LIST_DOMAIN}`, subject: 'Minutes' }),
    keys.author,
  );
  const list = {
    from: senders.author,
    envelopeSender: author,
    host: `mx.${LIST_DOMAIN}`,
    key: keys.list,
    change: asMailingList,
  };
  const relay = {
    from: senders.relay,
    envelopeSender: `owner@${LIST_DOMAIN}`,
    host: senders.relay.helo,
    key: keys.relay,
  };
  return {
    title: 'ARC chain of two hops',
    sender: senders.relay,
    from: `owner@${LIST_DOMAIN}`,
    to: [ours('listed')],
    message: await through(await through(written, list, resolver), relay, resolver),
    must: {
      told: '250 2.',
      // The list's footer broke the author's signature; the list is not the author, so DMARC fails, under p=none.
      verdicts: { spf: 'pass', dkim: 'fail', dmarc: 'fail', arc: 'pass' },
      outcomes: { [ours('listed')]: 'delivered' },
      arrivals: [{ to: theirs('listed'), instance: 3, signatures: [], dmarc: 'fail' }],
    },
  };
}

async function eightBit({ senders, keys }: World): Promise<DemoCase> {
  const from = `alice@${SIGNED_DOMAIN}`;
  const message = compose({ from, to: ours('eight'), subject: '8-bit body', ...EIGHT_BIT });
  return {
    title: '8-bit body',
    sender: senders.signed,
    from,
    to: [ours('eight')],
    eightBit: true,
    message: await signed(message, keys.signed),
    must: {
      told: '250 2.',
      verdicts: PASSED,
      outcomes: { [ours('eight')]: 'delivered' },
      arrivals: [{ to: theirs('eight'), instance: 1, signatures: [SIGNED_DOMAIN], dmarc: 'pass' }],
    },
  };
}

async function international({ senders, keys }: World): Promise<DemoCase> {
  const from = `jürgen@${INTERNATIONAL_DOMAIN}`;
  const message = compose({ from: `Jürgen <${from}>`, to: ours('用户'), subject: 'Grüße 日本', ...EIGHT_BIT });
  return {
    title: 'internationalised addresses',
    sender: senders.international,
    from,
    to: [ours('用户')],
    eightBit: true,
    message: await signed(message, keys.international),
    must: {
      told: '250 2.',
      verdicts: PASSED,
      outcomes: { [ours('用户')]: 'delivered' },
      arrivals: [{ to: theirs('用户'), instance: 1, signatures: [keys.international.domain], dmarc: 'pass' }],
    },
  };
}

async function large({ senders, keys }: World): Promise<DemoCase> {
  const from = `alice@${SIGNED_DOMAIN}`;
  const message = compose({ from, to: ours('large'), subject: 'The log', ...withAttachment(ATTACHMENT_BYTES) });
  return {
    title: '20 MB attachment',
    sender: senders.signed,
    from,
    to: [ours('large')],
    message: await signed(message, keys.signed),
    must: {
      told: '250 2.',
      verdicts: PASSED,
      outcomes: { [ours('large')]: 'delivered' },
      arrivals: [{ to: theirs('large'), instance: 1, signatures: [SIGNED_DOMAIN], dmarc: 'pass' }],
    },
  };
}

/** The second round: the same bytes again, which must meet the run that is over and arrive no second time. */
export function sentAgain(first: DemoCase): DemoCase {
  return { ...first, title: 'the same message again' };
}

/** The second round: a report to the rewritten sender of something that arrived, which must go home. */
export async function bounceToSrs({ senders, keys }: World, rewrittenSender: string, home: string): Promise<DemoCase> {
  const message = compose({
    from: `MAILER-DAEMON@${MAILBOX_DOMAIN}`,
    to: rewrittenSender,
    subject: 'Returned to sender',
    header: ['Content-Type: text/plain', 'Auto-Submitted: auto-replied'],
  });
  return {
    title: 'a bounce to an SRS address',
    sender: senders.mailbox,
    from: '',
    to: [rewrittenSender],
    message: await signed(message, keys.mailbox),
    must: {
      told: '250 2.',
      verdicts: PASSED,
      outcomes: { [rewrittenSender]: 'delivered' },
      arrivals: [{ to: home, instance: 1, signatures: [MAILBOX_DOMAIN], dmarc: 'pass' }],
    },
  };
}
