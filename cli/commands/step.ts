/** `switchyard step NAME`: runs one step here, without a server. JSON in, JSON out. */
import { randomUUID } from 'node:crypto';
import { createReadStream, readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { openDependencies } from '../../activities/open.ts';
import { findStep, publicSteps } from '../../activities/registry.ts';
import type { Step } from '../../activities/step.ts';
import { messageOf } from '../../protocols/errors.ts';
import { createLog } from '../../servers/log.ts';
import type { BlobStore } from '../../stores/blobs/port.ts';
import { resolveAddresses } from '../../stores/configuration/addresses.ts';
import { loadConfiguration } from '../../stores/configuration/load.ts';
import type { Records } from '../../stores/records/port.ts';
import { formatTable } from '../table.ts';
import { applyDeclarations } from '../up/prepare.ts';
import { printHelp, UsageError } from '../usage.ts';

export const summary = 'Run one step here: JSON in, JSON out';

const HELP = `switchyard step                      lists the steps
switchyard step NAME --help          what it takes and what it answers
switchyard step NAME --input JSON | --file FILE | < FILE
switchyard step NAME --message FILE.eml [--input JSON]
switchyard step NAME --report FILE [--input JSON]
                                     stores the file and fills the field of that name with its reference
  --key TEXT                         the idempotency key: the same for every repeat of the same act
`;
/** Fields of steps that take stored bytes, and so an option with a file each. */
const FILE_FIELDS = ['message', 'report'] as const;
/** A file given on the command line may be larger than the servers take, for trying out their limits. */
const MAX_FILE = 100 * 1_048_576;
/** A stored file stays this long, so that the next step can take it. */
const FILE_EXPIRY = 86_400_000;

export async function run(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      input: { type: 'string' },
      file: { type: 'string' },
      message: { type: 'string' },
      report: { type: 'string' },
      key: { type: 'string' },
      config: { type: 'string' },
      verbose: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  const [name, ...rest] = positionals;
  if (rest.length > 0)
    throw new UsageError('One step at a time. The input is JSON: --input, --file or standard input.');
  if (name === undefined) {
    process.stdout.write(values.help ? HELP : listSteps());
    return 0;
  }
  const step = findStep(name);
  if (values.help) return printHelp(describe(step));
  if (step.repeat === 'needs-key' && !values.key)
    throw new UsageError(`${name} acts on the world: give --key TEXT, the same for every repeat of the same act.`);
  const input = await readInput(values);
  const configuration = await loadConfiguration({ file: values.config });
  const log = createLog('step', values.verbose ? 'debug' : 'warn');
  const dependencies = await openDependencies(configuration, resolveAddresses(configuration));
  // In a folder where nothing was ever started, the step meets what the first start would have made.
  if ((await dependencies.keys.list()).length === 0) await applyDeclarations(configuration, dependencies.records);
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  try {
    let complete = input;
    for (const field of FILE_FIELDS) {
      const file = values[field];
      if (file !== undefined) complete = { ...asObject(complete, field), [field]: await storeFile(file, dependencies) };
    }
    const output = await step.call(complete, dependencies, {
      signal: stop.signal,
      report: (progress) => log.debug({ progress }, 'progress'),
      log,
      idempotencyKey: `cli/${values.key ?? randomUUID()}`,
    });
    process.stdout.write(`${JSON.stringify(output, null, 2)}\n`);
  } finally {
    await dependencies.close();
  }
  return 0;
}

function listSteps(): string {
  return `${formatTable(
    [{ title: 'step', fixed: true }, { title: 'what it does' }],
    publicSteps.map((step) => [step.name, step.summary]),
  )}\n  switchyard step NAME --help says what it takes.\n`;
}

function describe(step: Step): string {
  const schema = (type: z.ZodType, io: 'input' | 'output') => {
    const { $schema: _, ...rest } = z.toJSONSchema(type, { io, unrepresentable: 'any' });
    return JSON.stringify(rest, null, 2);
  };
  const { input } = step;
  const fields = FILE_FIELDS.filter((field) => input instanceof z.ZodObject && field in input.shape);
  const lines = [
    `${step.name}: ${step.summary}`,
    '',
    `  scope    ${step.scope}`,
    `  repeat   ${step.repeat === 'safe' ? 'safe' : 'needs --key, the same for every repeat of the same act'}`,
    `  errors   ${step.errors.join(', ')}`,
    '',
    `Input:\n${schema(step.input, 'input')}`,
    '',
    `Output:\n${schema(step.output, 'output')}`,
    '',
    `  switchyard step ${step.name} ${fields.map((field) => `--${field} FILE `).join('')}--input '{...}'`,
    '',
  ];
  return lines.join('\n');
}

async function readInput({
  input,
  file,
  ...files
}: { input?: string; file?: string } & { [Field in (typeof FILE_FIELDS)[number]]?: string }): Promise<unknown> {
  if (input !== undefined && file !== undefined) throw new UsageError('Give --input or --file, not both.');
  // A stored file may be the whole input; and a terminal is not waited for.
  const source =
    input ??
    (file !== undefined
      ? readFileSync(file, 'utf8')
      : FILE_FIELDS.some((field) => files[field] !== undefined) || process.stdin.isTTY
        ? '{}'
        : await text(process.stdin));
  try {
    return JSON.parse(source.trim() || '{}') as unknown;
  } catch (thrown) {
    throw new UsageError(`The input is not JSON: ${messageOf(thrown)}`);
  }
}

function asObject(input: unknown, field: string): object {
  if (typeof input === 'object' && input !== null && !Array.isArray(input)) return input;
  throw new UsageError(`With --${field} the input is a JSON object.`);
}

async function storeFile(file: string, { blobs, records }: { blobs: BlobStore; records: Records }) {
  const ref = await blobs.write(createReadStream(file), { prefix: 'uploads', maxBytes: MAX_FILE });
  await records.blobOwners.own(ref, 'cli', new Date(Date.now() + FILE_EXPIRY).toISOString());
  return ref;
}
