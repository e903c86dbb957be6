/**
 * Tokens as they are presented, under a limit: nobody guesses 256 random bits, but a stranger should not have the
 * records asked without end. A token that was good is looked up at any time: behind a proxy everybody has the address
 * of whoever sends the bad ones.
 */
import { createHash } from 'node:crypto';
import type { TokenRecord, TokenRecords } from '../../stores/records/port.ts';
import { TemporaryError } from '../../protocols/errors.ts';
import { BAD_TOKENS, BAD_TOKENS_WINDOW } from './limits.ts';

export interface TokenGate {
  /**
   * The record of a token, undefined where it is not known.
   * @throws TemporaryError `token.too_many` after too many unknown ones from the address
   */
  find(presented: string, address: string): Promise<TokenRecord | undefined>;
}

/** Addresses that are remembered; an attacker with more of them finds the count begun anew. */
const ADDRESSES = 10_000;

export function createTokenGate(tokens: TokenRecords, now: () => number = Date.now): TokenGate {
  const good = new Set<string>();
  const bad = new Map<string, { count: number; until: number }>();

  const countOf = (address: string): { count: number; until: number } => {
    const known = bad.get(address);
    if (known && known.until > now()) return known;
    if (bad.size >= ADDRESSES) bad.clear();
    const begun = { count: 0, until: now() + BAD_TOKENS_WINDOW };
    bad.set(address, begun);
    return begun;
  };

  return {
    async find(presented, address) {
      const hash = createHash('sha256').update(presented).digest('base64');
      const counted = countOf(address);
      if (counted.count >= BAD_TOKENS && !good.has(hash)) throw tooMany(counted.until - now());
      const token = await tokens.find(presented);
      if (token) good.add(hash);
      else {
        good.delete(hash);
        counted.count += 1;
      }
      return token;
    },
  };
}

function tooMany(retryAfterMs: number): TemporaryError {
  return new TemporaryError({
    code: 'token.too_many',
    message: 'Too many unknown tokens came from this address.',
    fix: 'Correct the token of the client that sends them; after a minute this address is listened to again.',
    retryAfterMs,
  });
}
