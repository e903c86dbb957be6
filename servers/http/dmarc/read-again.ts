/** Reading again what is in quarantine, over HTTP: the run, and what came of it. For the API and the pages. */
import { taskQueues } from '../../../workflows/mail/contract.ts';
import type { IngestDmarcReportResult } from '../../../workflows/dmarc/contract.ts';
import { startIngestion } from '../../dmarc/ingestion.ts';
import { readAgainId, readAgainRun } from '../../dmarc/read-again.ts';
import type { HttpContext } from '../context.ts';
import { askTemporal, awaitResult, findRun } from '../runs.ts';
import type { Run } from '../schemas.ts';
import { findQuarantined } from './find.ts';

/**
 * @param wanted.domain that it must be about, where it is another one than that of the address
 * @throws PermanentError `dmarc.quarantine_missing`, `dmarc.domain_needed`, `dmarc.domain_missing`, `blob.missing`;
 * TemporaryError `temporal.unavailable`
 */
export async function readAgain(
  context: HttpContext,
  entry: string,
  wanted: { domain?: string; by: string },
): Promise<void> {
  const { dependencies, temporal, configuration } = context;
  const found = await findQuarantined(dependencies.records.dmarc, entry);
  const { id, input } = await readAgainRun(found, wanted, dependencies);
  const { main } = taskQueues(configuration.temporal.taskQueue);
  await askTemporal(context, () => startIngestion(temporal, main, id, input));
}

/**
 * What came of it.
 * @param wait ms for its end, if it has none yet
 * @returns without a result while it still runs
 * @throws PermanentError `run.missing`, `run.failed`, `run.cancelled`; TemporaryError `temporal.unavailable`
 */
export async function readingOf(
  context: HttpContext,
  entry: string,
  wait: number,
  caller: AbortSignal,
): Promise<{ run: Run; result: IngestDmarcReportResult | null }> {
  const id = readAgainId(entry);
  const run = await findRun(context, id);
  if (run.status === 'RUNNING' && wait === 0) return { run, result: null };
  const ended = await awaitResult(context, id, Math.max(wait, LEAST_WAIT), caller);
  if (!ended) return { run, result: null };
  return { run: await findRun(context, id), result: ended.result as IngestDmarcReportResult };
}

/** ms in which the result of a run that is over comes. */
const LEAST_WAIT = 1_000;
