import { expect, test } from 'vitest';
import { number, plural, share } from '../../protocols/figures.ts';

test.each([
  [0, 0, 'none yet'],
  [0, 5, '0 %'],
  [5, 5, '100 %'],
  [999_999, 1_000_000, 'over 99.9 %'],
  [1, 1_000_000, 'under 0.1 %'],
  [978, 1_000, '97.8 %'],
])('%i of %i is %s', (part, whole, text) => {
  expect(share(part, whole)).toBe(text);
});

test('thousands are separated, and one is one', () => {
  expect([number(482_930), plural(1, 'message'), plural(2, 'day'), plural(1_000, 'is', 'are')]).toEqual([
    '482,930',
    '1 message',
    '2 days',
    '1,000 are',
  ]);
});
