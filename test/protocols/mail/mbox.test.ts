/** Mailboxes as programs write them, in pieces of any size. */
import { describe, expect, test } from 'vitest';
import { isMbox, readMbox } from '../../../protocols/mail/mbox.ts';

const LINE = 'From alice@example.com Thu Nov 26 11:30:55 2026';

async function read(mailbox: string, piece = 7, most = 1_000): Promise<{ text: string | null; slice: string }[]> {
  const bytes = Buffer.from(mailbox, 'latin1');
  const source = (async function* () {
    for (let at = 0; at < bytes.length; at += piece) yield bytes.subarray(at, at + piece);
  })();
  const found = [];
  for await (const { bytes: message, at, end } of readMbox(source, most))
    found.push({ text: message && message.toString('latin1'), slice: bytes.subarray(at, end).toString('latin1') });
  return found;
}
const texts = async (mailbox: string, piece?: number) => (await read(mailbox, piece)).map(({ text }) => text);

describe.each([
  ['LF', '\n'],
  ['CRLF', '\r\n'],
])('with %s', (_, eol) => {
  const lines = (...some: string[]) => some.map((line) => `${line}${eol}`).join('');
  const one = lines('Subject: 1', '', 'one', '');
  const two = lines('Subject: 2', '', 'From here on it is text.', '', 'two');
  const mailbox = lines(LINE) + one + lines(LINE) + two;

  test('messages are what stands between the lines, however the bytes are cut', async () => {
    for (const piece of [1, 2, 3, 5, 6, 49, 1_000]) expect(await texts(mailbox, piece)).toEqual([one, two]);
  });

  test('the bytes of each are told, so that reading can begin at any of them', async () => {
    const found = await read(mailbox);
    expect(found.map(({ slice }) => slice).join('')).toBe(mailbox);
    expect(await texts(found[1]?.slice ?? '')).toEqual([two]);
  });

  test('a line that was quoted gets its ">" off, one of them', async () => {
    const quoted = lines('Subject: 1', '', '>From the start', '>>From a quotation', '> From afar', '>Frommage');
    const plain = lines('Subject: 1', '', 'From the start', '>From a quotation', '> From afar', '>Frommage');
    expect(await texts(lines(LINE) + quoted)).toEqual([plain]);
  });

  test.each([
    'From ',
    'From - Thu Nov 26 11:30:55 2026',
    'From bob 2026-11-26 11:30:55',
    'From MAILER-DAEMON Thu, 26 Nov 2026 11:30 +0000',
  ])('%j parts messages after an empty line', async (line) => {
    expect(await texts(lines(line) + one + lines(line) + two)).toEqual([one, two]);
    expect(isMbox(Buffer.from(lines(line)))).toBe(true);
  });

  test('without an empty line before it only the line of a program does', async () => {
    const cut = one.slice(0, -eol.length);
    expect(await texts(lines(LINE) + cut + lines(LINE) + two)).toEqual([cut, two]);
    const text = lines('Subject: 1', '', 'See', 'From 10:30 in 2026 on');
    expect(await texts(lines(LINE) + text)).toEqual([text]);
  });
});

test('a message that is too large costs no other, and no memory', async () => {
  const large = `Subject: x\n\n${'y'.repeat(5_000)}\n`;
  expect(await texts(`${LINE}\n${large}\n${LINE}\nSubject: 2\n\n`)).toEqual([null, 'Subject: 2\n\n']);
});

test('nothing, a line alone, and a line without end', async () => {
  expect(await texts('')).toEqual([]);
  expect(await texts(`${LINE}\n`)).toEqual(['']);
  expect(await texts(LINE)).toEqual(['']);
  expect(await texts(`${LINE}\nA: b\n\nFrom ${'z'.repeat(3_000)}`)).toEqual([null]);
});

test.each(['From: alice@example.com', 'Fromage 11:30 2026', 'From the start', '', 'Return-Path: <a@b>'])(
  '%j begins no mailbox',
  (line) => expect(isMbox(Buffer.from(`${line}\n`))).toBe(false),
);
