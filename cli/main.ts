/**
 * `switchyard <command>`. A command is a file in cli/commands that exports `summary` and `run`; it is loaded when it
 * is typed. Exit status: 0 done, 1 it failed, 2 it was typed wrong.
 */
import { existsSync, realpathSync } from 'node:fs';
import { extname, join } from 'node:path';
import { SwitchyardError } from '../protocols/errors.ts';
import { UsageError } from './usage.ts';
import { packageVersion } from './version.ts';

export interface Command {
  /** One line for the list. */
  summary: string;
  /** Resolves with the exit status. */
  run(args: string[]): Promise<number>;
}

/** The commands in the order in which a newcomer needs them. */
const GROUPS: { title: string; commands: string[] }[] = [
  { title: 'Start', commands: ['up', 'demo', 'init', 'doctor', 'editor'] },
  { title: 'Mail', commands: ['send-test', 'rules', 'triggers', 'activity', 'keys', 'dmarc'] },
  { title: 'Steps, jobs and access', commands: ['step', 'jobs', 'tokens'] },
  { title: 'One process at a time', commands: ['smtp', 'http', 'worker', 'inbox'] },
  { title: 'In a checkout', commands: ['test', 'build', 'lint', 'bench', 'fuzz', 'fault'] },
];

const extension = extname(import.meta.filename);
const fileOf = (name: string) => join(import.meta.dirname, 'commands', `${name}${extension}`);
const load = async (name: string): Promise<Command> => (await import(fileOf(name))) as Command;

/** Runs one command line and ends the process with its status. */
export async function main(argv: string[]): Promise<void> {
  // Someone closed the pipe (`switchyard activity | head`): that is no failure.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
  process.exitCode = await statusOf(argv);
  // Commands close what they opened; a connection that lingers must not keep the terminal.
  await new Promise<void>((resolve) => process.stdout.write('', () => resolve()));
  process.exit();
}

async function statusOf(argv: string[]): Promise<number> {
  const [name, ...args] = argv;
  const known = GROUPS.flatMap((group) => group.commands).filter((one) => existsSync(fileOf(one)));
  try {
    if (name === undefined || name === '--help' || name === '-h' || name === 'help') return await printHelp(known);
    if (name === '--version' || name === '-v' || name === 'version') return printVersion();
    if (!known.includes(name)) throw unknownCommand(name, known);
    return await (await load(name)).run(args);
  } catch (error) {
    return report(error, argv);
  }
}

function printVersion(): number {
  process.stdout.write(`${packageVersion()}\n`);
  return 0;
}

async function printHelp(known: string[]): Promise<number> {
  const lines = ['switchyard <command>', ''];
  for (const group of GROUPS) {
    const names = group.commands.filter((name) => known.includes(name));
    if (names.length === 0) continue;
    lines.push(`  ${group.title}`);
    const commands = await Promise.all(names.map(load));
    commands.forEach(({ summary }, index) => lines.push(`    ${names[index]?.padEnd(12)}${summary}`));
    lines.push('');
  }
  lines.push('  switchyard <command> --help says more, --version the version.', '');
  process.stdout.write(lines.join('\n'));
  return 0;
}

function unknownCommand(name: string, known: string[]): UsageError {
  const [nearest] = known
    .map((one) => ({ one, distance: editDistance(name, one) }))
    .sort((a, b) => a.distance - b.distance);
  const hint =
    nearest && nearest.distance <= 3
      ? `Did you mean: switchyard ${nearest.one}?`
      : 'switchyard --help lists the commands.';
  return new UsageError(`There is no command ${JSON.stringify(name)}. ${hint}`);
}

/** Levenshtein: how many letters to insert, remove or replace. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(
        (row[j] ?? 0) + 1,
        (next[j - 1] ?? 0) + 1,
        (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1),
      );
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

/** Says what happened and what to do; a stack only for who asks. */
function report(error: unknown, argv: string[]): number {
  const verbose = argv.includes('--verbose') || Boolean(process.env.DEBUG);
  const isUsage =
    error instanceof UsageError ||
    (error instanceof TypeError && String((error as NodeJS.ErrnoException).code).startsWith('ERR_PARSE_ARGS'));
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`switchyard: ${message}\n`);
  if (error instanceof SwitchyardError) process.stderr.write(`  ${error.fix}\n`);
  else if (!isUsage && !verbose) process.stderr.write('  Run it again with DEBUG=1 to see where.\n');
  if (verbose && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  return isUsage ? 2 : 1;
}

if (process.argv[1] && realpathSync(process.argv[1]) === import.meta.filename) await main(process.argv.slice(2));
