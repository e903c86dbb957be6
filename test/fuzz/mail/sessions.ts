/**
 * Whole sessions against a real receiver: whatever a client sends, every answer is a reply, the session ends, what was
 * answered with 250 has a record, and nothing is left behind.
 */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import type { MailActivity } from '../../../stores/records/port.ts';
import { byTheBook } from '../../support/by-the-book.ts';
import { startReceiver, type Receiver } from '../../support/receiver.ts';
import { cut } from './inputs.ts';
import seeds from './seeds.json' with { type: 'json' };
import type { Target } from './targets.ts';

/** Between what a client sends at once and what it sends after an answer. */
const TURN = '\x1e';
/** For an answer; a client that gets none goes on, as real ones do. */
const TURN_MS = 300;
/** Each may cost that much; the last two end the session. */
const MAX_TURNS = 20;
/** For a whole session, after its QUIT: one that began TLS and says nothing is closed for its silence. */
const SESSION_MS = 20_000;
const RECORDS = 500;

const COMMANDS = [
  TURN,
  TURN,
  '\r\n',
  '\n',
  '\r',
  '\0',
  '.',
  '\r\n.\r\n',
  ' ',
  '<',
  '>',
  '@',
  '"',
  '\\',
  ':',
  '=',
  '+0D+0A',
  'EHLO a\r\n',
  'HELO a\r\n',
  'MAIL FROM:<sender@plain.test>',
  'MAIL FROM:<>',
  'RCPT TO:<a@own.test>',
  'RCPT TO:<b@other.test>',
  'DATA\r\n',
  'RSET\r\n',
  'NOOP\r\n',
  'QUIT\r\n',
  'VRFY a\r\n',
  'HELP\r\n',
  'AUTH PLAIN AAAA\r\n',
  'BDAT 3 LAST\r\nabc',
  'STARTTLS\r\n',
  'XCLIENT ADDR=127.0.0.1\r\n',
  ' SIZE=1',
  ' SIZE=99999999999',
  ' BODY=8BITMIME',
  ' SMTPUTF8',
  'PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n',
  'From: <sender@plain.test>\r\n\r\nHello.\r\n.\r\n',
  'x@[127.0.0.1]',
  '\xff\xfe',
  'a'.repeat(600),
];
const BODY = [
  '\r\n',
  '\r\n',
  '\n',
  '\r',
  '\0',
  '.',
  '..',
  '\r\n.\r\n',
  '\n.\n',
  '\r.\r',
  '\r\n.\n',
  '\n.\r\n',
  '\r\n..\r\n',
  'MAIL FROM:<smuggled@evil.test>\r\n',
  'RCPT TO:<a@own.test>\r\n',
  'DATA\r\n',
  'From: <sender@plain.test>\r\n',
  'x'.repeat(1_000),
];

export interface SessionTargets {
  targets: Target[];
  /** What must hold once all sessions are over. */
  finish(): Promise<void>;
  close(): Promise<void>;
}

export async function openSessionTargets(): Promise<SessionTargets> {
  const receiver = await startReceiver({
    mail: {
      policy: { unauthenticated: 'accept', dmarcReject: 'accept' },
      limits: { connectionsPerAddress: 500, idle: '5s' },
    },
  });
  /** Ids of messages that were answered with 250. */
  let accepted = 0;
  const counted = async (script: string, random: Random, patience = TURN_MS): Promise<string[]> => {
    const { replies, whole } = await converse(receiver, script, random, patience);
    assert.ok(whole, `no end within ${SESSION_MS} ms: ${JSON.stringify(replies.slice(-3))}`);
    accepted += replies.filter((reply) => reply.startsWith('250 2.6.0 ')).length;
    return replies;
  };
  const session: Target = {
    name: 'session',
    seeds: seeds.session,
    tokens: COMMANDS,
    async attempt(input, random) {
      // Wherever it stands, the end of a message and QUIT end it.
      await counted(`${input}${TURN}\r\n.\r\n${TURN}QUIT\r\n`, random);
    },
  };
  const smuggling: Target = {
    name: 'smuggling',
    seeds: seeds.smuggling,
    tokens: BODY,
    async attempt(input, random) {
      // A pause in the message shows nothing here but the patience of the server.
      const message = input.replaceAll(TURN, 'x');
      const body = `${message}\r\n.\r\n`;
      const before = ['EHLO a\r\n', 'MAIL FROM:<sender@plain.test>\r\n', 'RCPT TO:<a@own.test>\r\n', 'DATA\r\n'];
      const replies = await counted([...before, body, 'QUIT\r\n'].join(TURN), random, SESSION_MS);
      assert.match(replies[4] ?? '', /^354 /);
      // Greeting, four commands, one answer to the message, QUIT: more only where the book says that it ended before.
      if (byTheBook(body).rest === '') assert.equal(replies.length, 7, `one message: ${JSON.stringify(replies)}`);
    },
  };
  return {
    targets: [session, smuggling],
    async finish() {
      assert.match(
        (await receiver.send({ message: 'From: <sender@plain.test>\r\n\r\nStill there.\r\n' })).data ?? '',
        /^250 /,
      );
      accepted += 1;
      assert.deepEqual(await receiver.unfinished(), [], 'no half of a message is left');
      const records = await all(receiver);
      assert.ok(
        records.every(({ outcome }) => outcome === 'dropped' || outcome === 'rejected'),
        'every record is final',
      );
      const kept = new Set(records.filter(({ outcome }) => outcome === 'dropped').map(({ messageId }) => messageId));
      assert.equal(kept.size, accepted, 'a record for every 250, and no other');
      for (const record of records)
        for (const text of [
          record.sender,
          record.recipient,
          record.helo,
          record.subject,
          record.headerFrom,
          record.errorText,
        ])
          assert.doesNotMatch(text ?? '', /\p{Cc}/u, 'no control character in a record');
    },
    close: () => receiver.close(),
  };
}

type Random = (limit: number) => number;

/** Sends the script turn by turn and reads to the end. @param patience ms for an answer before the next turn */
async function converse(
  receiver: Receiver,
  script: string,
  random: Random,
  patience: number,
): Promise<{ replies: string[]; whole: boolean }> {
  const socket = connect({ ...receiver.endpoint, localAddress: receiver.world.senders.plain.address });
  let received = '';
  let answered = (): void => undefined;
  let closed = false;
  socket.on('data', (chunk) => {
    received += chunk.toString('latin1');
    answered();
  });
  const end = new Promise<void>((resolve) => socket.once('close', () => resolve((closed = true) as never)));
  socket.on('error', () => undefined);
  void end.then(() => answered());
  /** The next answer, or none in time. */
  const answer = (): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, patience);
      answered = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  await answer();
  const turns = script.split(TURN);
  for (const turn of turns.length > MAX_TURNS ? [...turns.slice(0, MAX_TURNS), ...turns.slice(-2)] : turns) {
    if (closed) break;
    const next = answer();
    for (const piece of cut(random, Buffer.from(turn, 'latin1'))) socket.write(piece);
    await next;
  }
  const timer = setTimeout(() => socket.destroy(), SESSION_MS);
  const inTime = await Promise.race([
    end.then(() => true),
    new Promise<false>((resolve) => setTimeout(() => resolve(false), SESSION_MS).unref()),
  ]);
  clearTimeout(timer);
  // What comes after the answer to STARTTLS is TLS, such as an alert.
  const lines = (/^[^]*?\r\n220 2\.0\.0 Ready to start TLS\r\n/.exec(received)?.[0] ?? received).split('\r\n');
  assert.equal(lines.pop(), '', `whole lines: ${JSON.stringify(received.slice(-100))}`);
  for (const line of lines) {
    assert.match(line, /^[2-5]\d\d[ -][^\0-\x1f\x7f]*$/, 'a reply');
    assert.ok(line.length <= 510, 'of at most 512 octets');
  }
  return { replies: lines.filter((line) => line[3] === ' '), whole: inTime };
}

async function all(receiver: Receiver): Promise<MailActivity[]> {
  const records: MailActivity[] = [];
  for (let before: string | undefined; ;) {
    const page = await receiver.records.activity.list({ limit: RECORDS, before });
    records.push(...page);
    before = page.at(-1)?.id;
    if (page.length < RECORDS) return records;
  }
}
