/**
 * The first start without a click: the credential and the templates are in the editor before a person opens it, and
 * later starts bring only what is new. Works on n8n's database through n8n's own command line, while n8n does not run.
 */
import { execFile } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { PermanentError } from '../../protocols/errors.ts';
import { allows, SCOPES } from '../../servers/http/authentication.ts';
import type { Records } from '../../stores/records/port.ts';
import { readPresent } from './database.ts';
import { decide, type Imported, type Plan } from './decide.ts';
import type { EditorProgram } from './provide.ts';
import { writeSecret } from './secrets.ts';
import { withCredential, type Template } from './templates.ts';

/** The one credential of the pack. Its id is fixed, so that templates find it. */
export const CREDENTIAL = { type: 'switchyardApi', id: 'switchyardApi001', name: 'Switchyard' };
/** What the nodes may do: all but make tokens. */
const TOKEN_SCOPES = SCOPES.filter((scope) => !scope.startsWith('tokens:'));
const TOKEN_NAME = 'editor';

/** n8n's command line starts half of n8n each time, and migrates its database the first time. */
const COMMAND_TIMEOUT_MS = 300_000;
const IMPORTED_FILE = 'imported.json';

export interface SetUp {
  program: EditorProgram;
  /** n8n's user folder. */
  folder: string;
  /** Of n8n: see editorEnvironment. */
  environment: NodeJS.ProcessEnv;
  /** Base URL of the API as the editor reaches it. */
  baseUrl: string;
  records: Pick<Records, 'tokens' | 'audit'>;
  /** Mail domains of this Switchyard. */
  domains: readonly string[];
  templates: Template[];
  /** Where n8n's command line is written down. */
  logFile: string;
  onDetail?: (text: string) => void;
  signal?: AbortSignal | undefined;
}

/**
 * Brings what is missing; see decide.ts.
 * @throws PermanentError `editor.set_up_failed`; the next start begins where it ended
 */
export async function setUp(options: SetUp): Promise<Plan> {
  const { folder, records, baseUrl, domains, templates } = options;
  mkdirSync(join(folder, 'files'), { recursive: true, mode: 0o700 });
  const imported = readImported(folder);
  const tokens = await records.tokens.list();
  const plan = decide(imported, readPresent(folder), {
    credentialId: CREDENTIAL.id,
    baseUrl,
    tokenCounts: tokens.some(
      ({ id, scopes }) => id === imported.credential?.tokenId && TOKEN_SCOPES.every((scope) => allows(scopes, scope)),
    ),
    domains,
    templates,
  });
  if (plan.credential === 'import') await importCredential(options, imported);
  if (plan.workflows.length > 0) await importWorkflows(options, imported, plan);
  return plan;
}

async function importCredential(options: SetUp, imported: Imported): Promise<void> {
  const { folder, records, baseUrl } = options;
  options.onDetail?.('the credential');
  const former = imported.credential?.tokenId;
  const { id: tokenId, token, scopes } = await records.tokens.create(TOKEN_NAME, TOKEN_SCOPES);
  await audit(records, 'token.added', null, { id: tokenId, scopes });
  imported.credential = { baseUrl, tokenId, fingerprint: null };
  writeImported(folder, imported);
  const { type, id, name } = CREDENTIAL;
  await handOver(options, 'import:credentials', [{ id, name, type, data: { baseUrl, token } }]);

  const fingerprint = readPresent(folder).credentials.get(id);
  if (fingerprint === undefined) throw failed(options, 'n8n did not take the credential');
  imported.credential.fingerprint = fingerprint;
  writeImported(folder, imported);
  // The old token lay in the credential alone, and that was replaced.
  if (former !== undefined && (await records.tokens.remove(former)))
    await audit(records, 'token.removed', { id: former }, null);
}

async function importWorkflows(options: SetUp, imported: Imported, plan: Plan): Promise<void> {
  const { folder } = options;
  for (const { id } of plan.workflows) imported.workflows[id] = 'pending';
  writeImported(folder, imported);
  options.onDetail?.(`${plan.workflows.length} workflows`);
  await handOver(
    options,
    'import:workflow',
    plan.workflows.map((template) => withCredential(template, CREDENTIAL)),
  );
  for (const id of plan.publish) {
    options.onDetail?.(`publishing ${plan.workflows.find((template) => template.id === id)?.name}`);
    await runN8n(options, ['publish:workflow', `--id=${id}`]);
  }

  // Its command line ends with 0 and a line in the log when something was wrong.
  const present = readPresent(folder).workflows;
  for (const { id, name } of plan.workflows) {
    if (!present.has(id)) throw failed(options, `n8n did not take the workflow ${JSON.stringify(name)}`);
    if (plan.publish.includes(id) && !present.get(id)?.isPublished)
      throw failed(options, `n8n did not publish the workflow ${JSON.stringify(name)}`);
    imported.workflows[id] = 'done';
  }
  writeImported(folder, imported);
}

/** Through a file that only its owner can read, and that is gone after. */
async function handOver(options: SetUp, command: string, entries: unknown[]): Promise<void> {
  const file = join(options.folder, '.import.json');
  try {
    writeSecret(file, JSON.stringify(entries));
    await runN8n(options, [command, `--input=${file}`]);
  } finally {
    rmSync(file, { force: true });
  }
}

async function runN8n(options: SetUp, args: string[]): Promise<void> {
  const { program, folder, environment, logFile, signal } = options;
  const run = promisify(execFile)(process.execPath, [program.script, ...args], {
    cwd: folder,
    env: environment,
    timeout: COMMAND_TIMEOUT_MS,
    signal,
  });
  const ended = await run.catch((error: unknown) => error as { stdout?: string; stderr?: string });
  appendFileSync(logFile, `${ended.stdout ?? ''}${ended.stderr ?? ''}`, { mode: 0o600 });
  signal?.throwIfAborted();
  if (ended instanceof Error) throw failed(options, `n8n ${args[0]} ended with an error`, ended);
}

function readImported(folder: string): Imported {
  const file = join(folder, IMPORTED_FILE);
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Imported) : { workflows: {} };
}

function writeImported(folder: string, imported: Imported): void {
  const file = join(folder, IMPORTED_FILE);
  writeSecret(`${file}.part`, `${JSON.stringify(imported, null, 2)}\n`);
  renameSync(`${file}.part`, file);
}

function audit(records: SetUp['records'], action: string, before: unknown, after: unknown): Promise<unknown> {
  return records.audit.write({ actor: 'up', action, subject: TOKEN_NAME, before, after });
}

function failed({ logFile }: SetUp, what: string, cause?: unknown): PermanentError {
  return new PermanentError({
    code: 'editor.set_up_failed',
    message: `The editor could not be set up: ${what}.`,
    fix: `What n8n said is in ${logFile}; the next start tries again.`,
    cause,
  });
}
