/** Mail to report addresses whose run is gone: it begins again; and what of reports is past its time goes. */
import type { Client } from '@temporalio/client';
import type { Logger } from 'pino';
import type { OpenDependencies } from '../../activities/open.ts';
import { quarantine } from '../../activities/dmarc/quarantine.ts';
import { closeRecord } from '../../activities/mail/close-activity.ts';
import type { MailActivity } from '../../stores/records/port.ts';
import { ingestionInput, startIngestion } from '../dmarc/ingestion.ts';

export interface IngestionSweep {
  dependencies: OpenDependencies;
  client: Client;
  log: Logger;
  taskQueue: string;
}

/** ms after which records that were written ahead of a report are given up: longer than any attempt. */
const STAGED = 86_400_000;

/**
 * A run that was terminated was ended by a person: its mail goes into quarantine, where it can be seen. Any other begins
 * again; what was published counts once.
 * @param status of its run, which does not run any more
 * @returns whether something was done
 */
export async function settleIngestion(
  record: MailActivity,
  status: string | null,
  { dependencies, client, log, taskQueue }: IngestionSweep,
): Promise<boolean> {
  if (status === 'RUNNING' || !record.workflowId || !record.blob) return false;
  const input = ingestionInput(record);
  if (status !== 'TERMINATED') {
    log.warn(
      { record: record.id, run: record.workflowId, status },
      'a mail with reports had no run: a new one reads it',
    );
    await startIngestion(client, taskQueue, record.workflowId, input);
    return true;
  }
  const why = {
    code: 'dmarc.terminated',
    message: 'The run was ended by the operator before it had read the reports.',
  };
  const { domain, address, sender, headerFrom, authentication, receivedAt } = input;
  const mail = { activityId: record.id, sender, headerFrom, authentication };
  const act = `${record.workflowId}/terminated`;
  await quarantine(
    { act, domain, address, sender, receivedAt, ...why, blob: record.blob, file: null, mail },
    dependencies,
  );
  const end = { outcome: 'failed' as const, errorCode: why.code, errorText: why.message, reply: null };
  await closeRecord(record.id, end, dependencies);
  return true;
}

export async function expireReports({ records }: Pick<OpenDependencies, 'records'>, now: number): Promise<void> {
  await records.dmarc.quarantine.expire(new Date(now).toISOString());
  await records.dmarc.reports.expireStaged(new Date(now - STAGED).toISOString());
  await records.dmarc.intake.expire(new Date(now).toISOString());
}
