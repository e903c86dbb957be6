/**
 * `npm run fuzz:mail -- [--seconds N] [--seed N]`: the mail path against inputs that nobody would send. Half of the time
 * is for sessions over SMTP, the rest for the reader of messages and the SRS decoder. Ends with 1 at the first finding,
 * and prints the input.
 */
import { parseArgs } from 'node:util';
import { Finding, fuzz } from './fuzz.ts';
import { openSessionTargets } from './sessions.ts';
import { reader, srs } from './targets.ts';

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '60' }, seed: { type: 'string' } } });
const seconds = Number(values.seconds);
const seed = Number(values.seed ?? Date.now() % 1_000_000_000);
if (!(seconds > 0) || !Number.isInteger(seed)) {
  process.stderr.write('usage: npm run fuzz:mail -- [--seconds N] [--seed N]\n');
  process.exit(2);
}
/** Sessions wait for a greeting and for answers. */
const LANES = 16;

const say = (line: string): void => void process.stdout.write(`${line}\n`);
say(`seed ${seed}, ${seconds} s`);
const quarter = (): number => Date.now() + (seconds * 1_000) / 4;
try {
  for (const target of [reader, srs]) say(`${target.name}: ${await fuzz(target, seed, { until: quarter() })} inputs`);
  const sessions = await openSessionTargets();
  try {
    for (const target of sessions.targets)
      say(`${target.name}: ${await fuzz(target, seed, { until: quarter() }, LANES)} inputs`);
    await sessions.finish();
  } finally {
    await sessions.close();
  }
  say('nothing found');
} catch (thrown) {
  process.stderr.write(
    `${thrown instanceof Finding ? thrown.message : String(thrown instanceof Error ? thrown.stack : thrown)}\n`,
  );
  process.exitCode = 1;
}
