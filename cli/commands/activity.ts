/** `switchyard activity`: what came in and what became of it, straight from the records. */
import { parseArgs } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';
import { activityPage, Outcomes } from '../../servers/http/activity.ts';
import { TimeOrAge } from '../../servers/http/schemas.ts';
import type { ActivityFilter, MailActivity, Outcome, Records } from '../../stores/records/port.ts';
import { COMMON_OPTIONS, withRecords } from '../records-command.ts';
import { columnWidths, formatRow, formatTable, terminalWidth, type Column } from '../table.ts';
import { printHelp, UsageError } from '../usage.ts';

export const summary = 'Show what came in and what became of it';

const HELP = `switchyard activity [filters] [--limit 20] [--json] [--follow]

  --sender A  --recipient A  --domain D       exact
  --outcome accepted,delivered,dropped,rejected,refused,bounced,failed
  --since 2h  --until 30m                     an age, or a time such as 2026-11-24T08:00:00Z
  --follow                                    goes on with what comes, until Ctrl-C
`;
const DEFAULT_LIMIT = 20;
const MAX_LIMIT = 500;
/** Between two looks while following. */
const FOLLOW_EVERY = 1_000;

const COLUMNS: Column[] = [
  { title: 'received', fixed: true },
  { title: 'outcome', fixed: true },
  { title: 'from' },
  { title: 'to' },
  { title: 'dmarc', fixed: true },
  { title: 'subject' },
  { title: 'reply' },
];

export async function run(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      sender: { type: 'string' },
      recipient: { type: 'string' },
      domain: { type: 'string' },
      outcome: { type: 'string' },
      since: { type: 'string' },
      until: { type: 'string' },
      limit: { type: 'string' },
      follow: { type: 'boolean', short: 'f' },
      ...COMMON_OPTIONS,
    },
  });
  if (values.help) return printHelp(HELP);
  const limit = Number(values.limit ?? DEFAULT_LIMIT);
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT)
    throw new UsageError(`--limit is a number from 1 to ${MAX_LIMIT}.`);
  const filter = {
    sender: values.sender,
    recipient: values.recipient,
    domain: values.domain,
    since: time(values.since, '--since'),
    until: time(values.until, '--until'),
    limit,
  };
  const outcomes = outcomesOf(values.outcome);
  return withRecords(values.config, async (records) => {
    const { items, next } = await activityPage(records, filter, outcomes);
    print(items, values.json, values.follow ?? false);
    if (next && !values.json && !values.follow && process.stdout.isTTY)
      process.stderr.write(`\n  Older ones:  --limit ${Math.min(limit * 5, MAX_LIMIT)}\n`);
    if (values.follow) await follow(records, filter, outcomes, items, values.json);
    return 0;
  });
}

function time(text: string | undefined, option: string): string | undefined {
  if (text === undefined) return undefined;
  const checked = TimeOrAge.safeParse(text);
  if (checked.success) return checked.data;
  throw new UsageError(`${option}: write an age such as 30m, 2h or 7d, or a time such as 2026-11-24T08:00:00Z.`);
}

function outcomesOf(text: string | undefined): Outcome[] {
  const checked = Outcomes.safeParse(text ?? '');
  if (checked.success) return checked.data;
  throw new UsageError(
    '--outcome is one or more of accepted, delivered, dropped, rejected, refused, bounced, failed, with commas.',
  );
}

function print(items: MailActivity[], json: boolean, oldestFirst: boolean): void {
  const ordered = oldestFirst ? items.toReversed() : items;
  if (json) process.stdout.write(ordered.map((one) => `${JSON.stringify(one)}\n`).join(''));
  else if (ordered.length > 0 || oldestFirst) process.stdout.write(formatTable(COLUMNS, ordered.map(rowOf)));
  else process.stdout.write('No message matches. To see one:  switchyard send-test\n');
}

function rowOf(one: MailActivity): string[] {
  const reply = one.reply
    ? [one.reply.code, one.reply.enhanced, one.reply.text].filter(Boolean).join(' ')
    : (one.errorText ?? '');
  return [
    one.receivedAt.slice(0, 19).replace('T', ' '),
    one.outcome,
    one.sender || '<>',
    one.recipient,
    one.authentication?.dmarc.result ?? '-',
    one.subject ?? '',
    reply,
  ];
}

/** New records, and old ones again when their outcome has changed; until the process is ended. */
async function follow(
  records: Records,
  filter: ActivityFilter,
  outcomes: Outcome[],
  shown: MailActivity[],
  json: boolean,
): Promise<void> {
  const known = new Map(shown.map((one) => [one.id, one.outcome]));
  const widths = columnWidths(COLUMNS, shown.map(rowOf), terminalWidth());
  for (;;) {
    await sleep(FOLLOW_EVERY);
    const { items } = await activityPage(records, { ...filter, limit: MAX_LIMIT }, outcomes);
    const oldest = items.at(-1)?.id ?? '';
    // What fell off the page is not looked at again.
    for (const id of known.keys()) if (id < oldest) known.delete(id);
    for (const one of items.toReversed()) {
      if (known.get(one.id) === one.outcome || (!known.has(one.id) && one.id < (shown.at(-1)?.id ?? ''))) continue;
      known.set(one.id, one.outcome);
      process.stdout.write(
        json
          ? `${JSON.stringify(one)}\n`
          : formatRow(
              COLUMNS,
              rowOf(one),
              widths.map((width, index) => Math.max(width, COLUMNS[index]?.fixed ? 19 : 24)),
            ),
      );
    }
  }
}
