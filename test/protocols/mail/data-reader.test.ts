import { describe, expect, it } from 'vitest';
import { createDataReader } from '../../../protocols/mail/data-reader.ts';
import { byTheBook } from '../../support/by-the-book.ts';
import { randomNumbers } from '../random.ts';
import { sharedJson } from '../shared-data.ts';

/** What a reader makes of the chunks: the message, and what follows its end. */
function read(chunks: Buffer[]): { data: string; rest: string | null } {
  const reader = createDataReader();
  let data = '';
  for (const [index, chunk] of chunks.entries()) {
    const now = reader.push(chunk);
    data += now.data.toString('latin1');
    if (now.rest !== null)
      return { data, rest: Buffer.concat([now.rest, ...chunks.slice(index + 1)]).toString('latin1') };
  }
  return { data, rest: null };
}
const readText = (text: string) => read([Buffer.from(text, 'latin1')]);

it.each([
  ['a message', 'Subject: a\r\n\r\nb\r\n.\r\nQUIT\r\n', 'Subject: a\r\n\r\nb\r\n', 'QUIT\r\n'],
  ['an empty message', '.\r\n', '', ''],
  ['a message that begins with a doubled dot', '..\r\n.\r\n', '.\r\n', ''],
  ['doubled dots', 'a\r\n..b\r\n...\r\n.\r\n', 'a\r\n.b\r\n..\r\n', ''],
  ['a dot that should have been doubled', 'a\r\n.b\r\n.\r\n', 'a\r\nb\r\n', ''],
  ['dots inside lines', 'a.\r\n b.c\r\n.\r\n', 'a.\r\n b.c\r\n', ''],
])('reads %s', (_what, sent, data, rest) => {
  expect(readText(sent)).toEqual({ data, rest });
  expect(byTheBook(sent)).toEqual({ data, rest });
});

describe('the 14 end-of-data sequences of the smuggling scanners', () => {
  const sequences =
    sharedJson<{ sequences: Record<string, number[]> }>('mail/smtp-smuggling/sequences.json')?.sequences ?? null;

  it.skipIf(sequences === null)('only CRLF.CRLF ends the message, wherever the bytes are cut', () => {
    const ending: string[] = [];
    for (const [name, bytes] of Object.entries(sequences!)) {
      const sent = Buffer.concat([
        Buffer.from('a\r\n\r\nbody'),
        Buffer.from(bytes),
        Buffer.from('MAIL FROM:<b@c>\r\n'),
      ]);
      const whole = read([sent]);
      for (let cut = 0; cut <= sent.length; cut++)
        expect(read([sent.subarray(0, cut), sent.subarray(cut)]), `${name}, cut at ${cut}`).toEqual(whole);
      if (whole.rest !== null) ending.push(name);
    }
    expect(Object.keys(sequences!)).toHaveLength(14);
    expect(ending).toEqual(['control CRLF.CRLF']);
  });
});

it('reads what the standard says, however the bytes are cut', () => {
  const random = randomNumbers(3);
  const parts = ['\r\n', '\r\n', '\r\n.', '.', '.', '\r', '\n', '\0', 'a', 'bc', '\xe4', 'x'.repeat(40)];
  let ended = 0;
  for (let i = 0; i < 3_000; i++) {
    const text = Array.from({ length: random(16) }, () => parts[random(parts.length)]).join('');
    const bytes = Buffer.from(text, 'latin1');
    const expected = byTheBook(text);
    // Up to `.CR` may be held back while nobody knows what follows.
    const held = expected.rest === null ? (/(?:^|\r\n)(\.\r?)$/.exec(text)?.[1] ?? '') : '';
    if (held === '.\r') expected.data = expected.data.slice(0, -1);
    if (expected.rest !== null) ended++;
    expect(read([bytes]), JSON.stringify(text)).toEqual(expected);
    expect(read([...bytes].map((byte) => Buffer.from([byte]))), JSON.stringify(text)).toEqual(expected);
    const cut = random(bytes.length + 1);
    expect(read([bytes.subarray(0, cut), bytes.subarray(cut)]), JSON.stringify(text)).toEqual(expected);
  }
  expect(ended).toBeGreaterThan(300);
});
