import { expect, it } from 'vitest';
import { replyLines } from '../../../servers/smtp/reply.ts';

it('leaves a reply that fits on one line as it is', () => {
  expect(replyLines('5.1.1 No such user', '5.1.1 ')).toEqual(['5.1.1 No such user']);
});

it.each([
  ['words', 'lorem ipsum '.repeat(90).trim()],
  ['words in UTF-8', 'ящик переполнен '.repeat(60).trim()],
  ['one word', 'x'.repeat(1_000)],
  ['one word in UTF-8', 'ш'.repeat(1_000)],
])('puts %s on lines of at most 512 octets, each with the enhanced code', (_what, said) => {
  const lines = replyLines(`5.2.2 ${said}`, '5.2.2 ');
  expect(lines.length).toBeGreaterThan(1);
  for (const line of lines) {
    expect(line).toMatch(/^5\.2\.2 \S/);
    expect(Buffer.byteLength(`552-${line}\r\n`)).toBeLessThanOrEqual(512);
  }
  const joined = lines.map((line) => line.slice(6)).join(said.includes(' ') ? ' ' : '');
  expect(joined).toBe(said);
});
