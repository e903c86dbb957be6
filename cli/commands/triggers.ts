/** `switchyard triggers`: which n8n workflows are called when mail comes or runs end. */
import { parseArgs } from 'node:util';
import type { Records, Trigger } from '../../stores/records/port.ts';
import { showTrigger } from '../../servers/http/routes/triggers.ts';
import { DEFAULT_OUTCOMES } from '../../servers/triggers/outcomes.ts';
import { PermanentError } from '../../protocols/errors.ts';
import { COMMON_OPTIONS, withRecords } from '../records-command.ts';
import { formatTable } from '../table.ts';
import { printHelp, typedWrong } from '../usage.ts';

export const summary = 'List and remove what n8n workflows have registered for';

const HELP = `switchyard triggers [list] [--json]
switchyard triggers remove ID

  A workflow that is active registers again within minutes: deactivate it in n8n. Remove what an n8n that is gone for
  good has left behind.
`;
const ACTOR = 'command line';

export async function run(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      ...COMMON_OPTIONS,
    },
  });
  if (values.help) return printHelp(HELP);
  const [action = 'list', subject] = positionals;
  return withRecords(values.config, async (records) => {
    if (action === 'list' && subject === undefined) return await list(records, values.json);
    if (action === 'remove' && subject) return await remove(records, subject);
    throw typedWrong(HELP);
  });
}

async function list(records: Records, json: boolean): Promise<number> {
  const triggers = await records.triggers.list();
  if (json) process.stdout.write(`${JSON.stringify(triggers.map(showTrigger), null, 2)}\n`);
  else if (triggers.length === 0)
    process.stdout.write(
      'Nothing is registered. Activate an n8n workflow that starts with Receive Mail or Run Finished.\n',
    );
  else {
    const columns = [
      { title: 'workflow' },
      { title: 'is called for' },
      { title: 'at' },
      { title: 'lease', fixed: true as const },
      { title: 'id' },
    ];
    process.stdout.write(
      formatTable(
        columns,
        triggers.map((one) => [
          one.test ? `${one.name} (a try)` : one.name,
          subjectOf(one),
          new URL(one.callbackUrl).origin,
          leaseOf(one),
          one.id,
        ]),
      ),
    );
  }
  return 0;
}

function subjectOf(trigger: Trigger): string {
  if (trigger.kind === 'mail')
    return `mail to ${trigger.addresses.join(', ')}, ${trigger.mode === 'taken' ? 'taken' : 'with a verdict'}`;
  if (trigger.kind === 'resume') return `the end of ${trigger.runs.join(', ')}`;
  const runs = trigger.workflows.length > 0 ? `runs of ${trigger.workflows.join(', ')}` : 'runs';
  const isDefault = trigger.outcomes.join(' ') === DEFAULT_OUTCOMES.join(' ');
  return isDefault ? `${runs} that do not end well` : `${runs} that end as ${trigger.outcomes.join(', ')}`;
}

/** An execution that waits has no lease to renew. */
function leaseOf({ kind, leaseUntil }: Trigger): string {
  if (kind === 'resume') return 'once';
  const left = Date.parse(leaseUntil) - Date.now();
  return left > 0 ? `${Math.ceil(left / 60_000)} min` : 'over';
}

async function remove(records: Records, id: string): Promise<number> {
  if (!(await records.triggers.remove(id, ACTOR)))
    throw new PermanentError({
      code: 'trigger.missing',
      message: `Nothing is registered under ${JSON.stringify(id)}.`,
      fix: 'switchyard triggers lists what is.',
    });
  process.stdout.write('Removed.\n');
  return 0;
}
