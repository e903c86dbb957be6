/** Inputs for the fuzz targets: seeds that are cut, joined, repeated and strewn with the tokens on which parsers hang. */

/** A number below the limit; see test/protocols/random.ts. */
type Random = (limit: number) => number;

/** Long enough to cross every buffer that is cut at 64 KB, now and then. */
const MAX_BYTES = 200_000;

/**
 * One more input, the same for the same numbers.
 * @param seeds texts of one byte a character
 */
export function mutate(random: Random, seeds: readonly string[], tokens: readonly string[]): string {
  const pick = <T>(from: readonly T[]): T => from[random(from.length)]!;
  let text = pick(seeds);
  for (let changes = 1 + random(6); changes > 0; changes--) {
    const at = random(text.length + 1);
    const end = Math.min(text.length, at + random(random(4) === 0 ? text.length + 1 : 16));
    switch (random(8)) {
      case 0:
        text = text.slice(0, at) + text.slice(end);
        break;
      case 1:
        text = text.slice(0, at) + String.fromCharCode(random(256)) + text.slice(at + 1);
        break;
      case 2:
        text =
          text.slice(0, end) + text.slice(at, end).repeat(1 + random(random(10) === 0 ? 3_000 : 4)) + text.slice(end);
        break;
      case 3:
        text = text.slice(0, at) + pick(seeds).slice(random(text.length + 1));
        break;
      case 4:
        text = text.slice(0, at) + pick(tokens).repeat(1 + random(random(10) === 0 ? 3_000 : 3)) + text.slice(at);
        break;
      default:
        text = text.slice(0, at) + pick(tokens) + text.slice(at);
    }
    if (text.length > MAX_BYTES) text = text.slice(0, MAX_BYTES);
  }
  return text;
}

/** The bytes in random pieces, as a network brings them. */
export function cut(random: Random, bytes: Buffer): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const next = at + 1 + random(random(2) === 0 ? 4 : 4_096);
    pieces.push(bytes.subarray(at, next));
    at = next;
  }
  return pieces;
}
