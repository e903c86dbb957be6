/** `switchyard dmarc quarantine` and `reread`: what came as a report and was not taken, and reading it again. */
import { plural } from '../../protocols/figures.ts';
import { PermanentError, messageOf, TemporaryError } from '../../protocols/errors.ts';
import { startIngestion } from '../../servers/dmarc/ingestion.ts';
import { readAgainRun } from '../../servers/dmarc/read-again.ts';
import { lazyTemporal } from '../../servers/temporal.ts';
import { openBlobs } from '../../stores/blobs/open.ts';
import { resolveAddresses } from '../../stores/configuration/addresses.ts';
import type { Configuration } from '../../stores/configuration/schema.ts';
import type { Quarantined } from '../../stores/records/dmarc/port.ts';
import type { Records } from '../../stores/records/port.ts';
import type { IngestDmarcReportResult, IngestedReport } from '../../workflows/dmarc/contract.ts';
import { taskQueues } from '../../workflows/mail/contract.ts';
import { createProgress } from '../progress.mjs';
import { formatTable, type Cell } from '../table.ts';

/** Entries that are listed; the page has the older ones. */
const LISTED = 100;
/** ms for the Temporal server to take the run. */
const START_WITHIN = 10_000;

/** Newest first. */
export async function listQuarantine(
  { domain, json }: { domain?: string; json: boolean },
  { dmarc }: Pick<Records, 'dmarc'>,
): Promise<number> {
  const entries = await dmarc.quarantine.list({ domain: domain?.toLowerCase(), limit: LISTED });
  if (json) process.stdout.write(`${JSON.stringify(entries, null, 2)}\n`);
  else if (entries.length === 0) process.stdout.write('Nothing: everything that came was read.\n');
  else {
    const columns = [
      { title: 'came (UTC)', fixed: true as const },
      { title: 'for' },
      { title: 'from' },
      { title: 'why' },
      { title: 'id', fixed: true as const },
    ];
    process.stdout.write(formatTable(columns, entries.map(rowOf)));
    process.stdout.write('Read one again:  switchyard dmarc reread ID\n');
  }
  return 0;
}

const rowOf = ({ receivedAt, domain, sender, mail, code, id }: Quarantined): Cell[] => [
  receivedAt.slice(0, 16).replace('T', ' '),
  domain ?? '-',
  oneLine(mail === null && sender === null ? '-' : sender || '<>'),
  oneLine(code),
  id,
];

/**
 * Gives the original to a run, and says what came of it.
 * @returns the exit status: 1 where anything was refused again
 * @throws PermanentError `dmarc.quarantine_missing` and those of `readAgainRun`; TemporaryError `temporal.unavailable`
 */
export async function reread(
  { id, domain, json, detach }: { id: string; domain?: string; json: boolean; detach: boolean },
  { records, configuration, actor }: { records: Records; configuration: Configuration; actor: string },
): Promise<number> {
  const entry = await records.dmarc.quarantine.get(id);
  if (!entry)
    throw new PermanentError({
      code: 'dmarc.quarantine_missing',
      message: `Nothing with the id ${JSON.stringify(id)} is in quarantine.`,
      fix: 'switchyard dmarc quarantine lists what is there.',
    });
  const blobs = await openBlobs(configuration);
  const client = lazyTemporal(configuration, resolveAddresses(configuration));
  try {
    const { id: run, input } = await readAgainRun(entry, { domain, by: actor }, { blobs, records });
    const { main } = taskQueues(configuration.temporal.taskQueue);
    await client
      .withDeadline(Date.now() + START_WITHIN, () => startIngestion(client, main, run, input))
      .catch((thrown: unknown) => {
        throw new TemporaryError({
          code: 'temporal.unavailable',
          message: `The Temporal server does not take the run: ${messageOf(thrown)}`,
          fix: 'Start it with the rest:  switchyard up',
          cause: thrown,
        });
      });
    if (detach) {
      process.stdout.write(`Run ${run}\n`);
      return 0;
    }
    const step = createProgress().step(`Reading it again, run ${run}`);
    const result = (await client.workflow
      .getHandle(run)
      .result()
      .finally(() => step.fail())) as IngestDmarcReportResult;
    process.stdout.write(json ? `${JSON.stringify(result, null, 2)}\n` : result.reports.map(lineOf).join(''));
    return result.refused > 0 ? 1 : 0;
  } finally {
    await client.connection.close();
    await blobs.close();
  }
}

function lineOf({ state, id, organization, day, messages, code, message }: IngestedReport): string {
  const about = oneLine(`${organization ?? 'a reporter without a name'}, ${day ?? 'no day'}`);
  if (state === 'published') return `published: ${about}, ${plural(messages, 'message')}, report ${id}\n`;
  if (state === 'repeated') return `counted before: ${about}, report ${id}\n`;
  return `refused again: ${oneLine(message ?? '')} (${code}), in quarantine as ${id ?? 'nothing: its bytes are gone'}\n`;
}

/** What strangers wrote does nothing to a terminal. */
const oneLine = (text: string): string => text.replace(/\p{Cc}+/gu, ' ');
