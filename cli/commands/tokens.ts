/** `switchyard tokens`: who may call the API. */
import { parseArgs } from 'node:util';
import { resolveScopes } from '../../servers/http/authentication.ts';
import type { Records } from '../../stores/records/port.ts';
import { PermanentError } from '../../protocols/errors.ts';
import { COMMON_OPTIONS, withRecords } from '../records-command.ts';
import { formatTable } from '../table.ts';
import { printHelp, typedWrong, UsageError } from '../usage.ts';

export const summary = 'List, add and remove the tokens of the API';

const HELP = `switchyard tokens [list] [--json]
switchyard tokens add NAME --scope SCOPE [--scope SCOPE]
switchyard tokens remove ID

  Scopes: * or an area such as mail:* or one of
  mail:read mail:write dmarc:read dmarc:write runs:read runs:write jobs:read jobs:write blobs:read blobs:write rules:write triggers:write tokens:write
`;

export async function run(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      scope: { type: 'string', multiple: true },
      ...COMMON_OPTIONS,
    },
  });
  if (values.help) return printHelp(HELP);
  const [action = 'list', subject] = positionals;
  return withRecords(values.config, async (records) => {
    if (action === 'list') return await list(records, values.json);
    if (action === 'add' && subject) return await add(records, subject, values.scope ?? []);
    if (action === 'remove' && subject) return await remove(records, subject);
    throw typedWrong(HELP);
  });
}

async function list(records: Records, json: boolean): Promise<number> {
  const tokens = await records.tokens.list();
  if (json) process.stdout.write(`${JSON.stringify(tokens, null, 2)}\n`);
  else if (tokens.length === 0)
    process.stdout.write('No token yet. Make one:  switchyard tokens add NAME --scope mail:read\n');
  else {
    const columns = [
      { title: 'id', fixed: true as const },
      { title: 'name' },
      { title: 'scopes' },
      { title: 'last used', fixed: true as const },
    ];
    process.stdout.write(
      formatTable(
        columns,
        tokens.map((one) => [
          one.id,
          one.name,
          one.scopes.join(' '),
          one.lastUsedAt?.slice(0, 16).replace('T', ' ') ?? 'never',
        ]),
      ),
    );
  }
  return 0;
}

async function add(records: Records, name: string, scopes: string[]): Promise<number> {
  if (scopes.length === 0)
    throw new UsageError('Say what the token may do, such as --scope mail:read; --scope "*" is everything.');
  const made = await records.tokens.create(name, resolveScopes(scopes));
  await records.audit.write({
    actor: 'command line',
    action: 'token.added',
    subject: name,
    before: null,
    after: { id: made.id, scopes: made.scopes },
  });
  process.stdout.write(`${made.token}\n`);
  if (process.stdout.isTTY) process.stderr.write('This is the only time that it is shown.\n');
  return 0;
}

async function remove(records: Records, id: string): Promise<number> {
  if (!(await records.tokens.remove(id)))
    throw new PermanentError({
      code: 'token.missing',
      message: `There is no token with the id ${JSON.stringify(id)}.`,
      fix: 'switchyard tokens lists them.',
    });
  await records.audit.write({
    actor: 'command line',
    action: 'token.removed',
    subject: id,
    before: { id },
    after: null,
  });
  process.stdout.write('Removed.\n');
  return 0;
}
