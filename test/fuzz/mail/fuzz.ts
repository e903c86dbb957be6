/** Tries a target with its seeds and then with mutations of them, until the time or the number is over. */
import { randomNumbers } from '../../protocols/random.ts';
import { mutate } from './inputs.ts';
import type { Target } from './targets.ts';

export interface Limit {
  /** Inputs after the seeds. @default no limit */
  count?: number;
  /** ms since the epoch. @default no limit */
  until?: number;
}

/** Characters of an input that a terminal can take. */
const SHOWN = 2_000;

/** An input that broke something. */
export class Finding extends Error {
  readonly target: string;
  /** One byte a character. */
  readonly input: string;

  constructor(target: string, seed: number, input: string, cause: unknown) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const shown =
      input.length > SHOWN
        ? `The input has ${input.length} bytes; --seed ${seed} makes it again.`
        : JSON.stringify(input);
    super(
      `${target}, seed ${seed}: ${why.slice(0, SHOWN)}\nThe input, for ${target} in test/fuzz/mail/seeds.json:\n${shown}`,
      { cause },
    );
    this.target = target;
    this.input = input;
  }
}

/**
 * @param first number of the first mutation: the same number is the same input
 * @param lanes inputs at once, for targets that wait
 * @returns how many inputs were tried
 * @throws Finding
 */
export async function fuzz(
  target: Target,
  first: number,
  { count = Infinity, until = Infinity }: Limit,
  lanes = 1,
): Promise<number> {
  let tried = 0;
  let found: Finding | undefined;
  const attempt = async (number: number, input: string, random: (limit: number) => number): Promise<void> => {
    tried++;
    try {
      await target.attempt(input, random);
    } catch (thrown) {
      found ??= new Finding(target.name, number, input, thrown);
    }
  };
  const seeds = target.seeds.entries();
  let next = first;
  const lane = async (): Promise<void> => {
    for (const [index, seed] of seeds) if (!found) await attempt(-index, seed, randomNumbers(index));
    while (!found && next < first + count && Date.now() < until) {
      const number = next++;
      const random = randomNumbers(number);
      await attempt(number, mutate(random, target.seeds, target.tokens), random);
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  if (found) throw found;
  return tried;
}
