/** `npm run fault:mail`: see test/fault/mail/fault.ts. Exit status 1 when a promise broke, 2 when it was typed wrong. */
import { parseArgs } from 'node:util';
import { hasPostfix, NO_POSTFIX } from '../../support/postfix.ts';
import { hasPostgres } from '../../support/postgres.ts';
import { hasS3 } from '../../support/s3.ts';
import { runFault } from './fault.ts';
import { reportText } from './report.ts';
import { MACHINE_NAMES } from './site.ts';

const USAGE = `npm run fault:mail -- [options]

  --messages N      how many are sent (500)
  --seconds N       about how long the faults go on (half a second a message)
  --lane NAME       run: every message a run (the default); direct: delivered in its session
  --stores LIST     postgres, s3, or both with a comma between; else SQLite and a folder
  --temporal NAME   postgres: a full server, on the same PostgreSQL; else the one that up starts
  --machines N      that share the stores and that server (1): each with smtp, worker and http of its own
  --seed N          the seed of an earlier run
  --keep            keep logs and records, also when every promise held
  --json            the report as JSON on the standard output; the text goes to stderr
`;

const { values } = parseArgs({
  options: {
    messages: { type: 'string', default: '500' },
    seconds: { type: 'string' },
    lane: { type: 'string', default: 'run' },
    stores: { type: 'string', default: '' },
    temporal: { type: 'string', default: 'own' },
    machines: { type: 'string', default: '1' },
    seed: { type: 'string' },
    keep: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
const messages = Number(values.messages);
const seconds = Number(values.seconds ?? messages / 2);
const seed = Number(values.seed ?? Date.now() % 1_000_000_000);
const stores = values.stores.split(',').filter(Boolean);
const { lane, temporal } = values;
const machines = Number(values.machines);
const sharesAll = stores.includes('postgres') && stores.includes('s3') && temporal === 'postgres';
const isRight =
  Number.isInteger(messages) &&
  messages > 0 &&
  seconds > 0 &&
  Number.isInteger(seed) &&
  ['run', 'direct'].includes(lane) &&
  ['own', 'postgres'].includes(temporal) &&
  (temporal === 'own' || stores.includes('postgres')) &&
  MACHINE_NAMES.slice(0, sharesAll ? undefined : 1)[machines - 1] !== undefined;
if (values.help || !isRight || stores.some((one) => !['postgres', 's3'].includes(one))) {
  (values.help ? process.stdout : process.stderr).write(USAGE);
  process.exit(values.help ? 0 : 2);
}
const missing = [
  ...(hasPostfix ? [] : [NO_POSTFIX]),
  ...(stores.includes('postgres') && !hasPostgres ? ['PostgreSQL is absent'] : []),
  ...(stores.includes('s3') && !hasS3 ? ['the S3 server is absent: node test/support/s3-build.ts'] : []),
];
if (missing.length > 0) {
  process.stderr.write(`The fault run cannot begin: ${missing.join('; ')}.\n`);
  process.exit(2);
}

const say = (line: string): void => void process.stderr.write(`${line}\n`);
say(`seed ${seed}`);
const report = await runFault({
  messages,
  seconds,
  seed,
  lane: lane as 'run' | 'direct',
  postgres: stores.includes('postgres'),
  s3: stores.includes('s3'),
  temporal: temporal as 'own' | 'postgres',
  machines,
  keep: values.keep,
  say,
});
(values.json ? process.stderr : process.stdout).write(`\n${reportText(report)}`);
if (values.json) process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
process.exit(report.broken.length > 0 ? 1 : 0);
