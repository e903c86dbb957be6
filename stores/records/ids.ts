/** UUIDv7 (RFC 9562, section 5.7): ids whose order is the order in time, so that an id is a keyset cursor. */
import { randomBytes } from 'node:crypto';

/** Last millisecond used and the counter within it (section 6.2, method 1). */
let lastMilliseconds = 0;
let counter = 0;

/**
 * A new id: 48 bits of Unix milliseconds, 12 bits of a counter that starts at random below 2^11 in each
 * millisecond, 62 random bits. Ids of one process are strictly ascending, also when the clock steps back.
 */
export function uuidv7(now: number = Date.now()): string {
  if (now > lastMilliseconds) {
    lastMilliseconds = now;
    counter = randomBytes(2).readUInt16BE() & 0x7ff;
  } else if (++counter > 0xfff) {
    lastMilliseconds += 1;
    counter = 0;
  }
  const bytes = randomBytes(16);
  bytes.writeUIntBE(lastMilliseconds, 0, 6);
  bytes.writeUInt16BE(0x7000 | counter, 6);
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
