/**
 * Settles what nobody closed: records whose run was terminated get their bounce, records whose run is gone get a new
 * one, expired records and blobs that nobody owns go.
 */
import { createHash } from 'node:crypto';
import { WorkflowNotFoundError, type Client } from '@temporalio/client';
import type { Logger } from 'pino';
import type { OpenDependencies } from '../../activities/open.ts';
import { closeRecord } from '../../activities/mail/close-activity.ts';
import { guardBlob } from '../../activities/mail/verify.ts';
import type { BlobRef, BlobStore } from '../../stores/blobs/port.ts';
import { LOCAL_SOURCE, type MailActivity } from '../../stores/records/port.ts';
import { keepBlob, sweepBlobs } from '../../stores/sweep.ts';
import { messageOf, SwitchyardError } from '../../protocols/errors.ts';
import { UNLIMITED } from '../../protocols/mail/limits.ts';
import { needsUtf8 } from '../../protocols/mail/address.ts';
import { protocolName } from '../../protocols/mail/received.ts';
import { routeMailId, type RouteMailInput } from '../../workflows/mail/contract.ts';
import { settleJobs } from '../jobs/settle.ts';
import { inSessionFor, isDirect } from '../mail/direct-record.ts';
import { keptUntil, routeMailInput } from '../mail/run-input.ts';
import { startRun } from '../mail/start-run.ts';
import { closeAbandoned } from './abandoned.ts';
import { expireReports, settleIngestion } from './ingestions.ts';

export interface SweepOptions {
  dependencies: OpenDependencies;
  client: Client;
  log: Logger;
  /** The main task queue. */
  taskQueue: string;
}

const SWEEP_EVERY = 60_000;
/** A session may take this long from its record to its run. */
const SETTLED_AFTER = 120_000;
/** Blobs are listed less often than records. */
const BLOBS_EVERY = 3_600_000;

/** Sweeps at start and then every minute. */
export function startSweep(options: SweepOptions): { stop(): void } {
  let running = false;
  let blobsAt = 0;
  const sweep = async (): Promise<void> => {
    if (running) return;
    running = true;
    try {
      const now = Date.now();
      await settleJobs(options, now);
      await settleOpen(options, now);
      if (now - blobsAt > BLOBS_EVERY) {
        blobsAt = now;
        const { records, blobs, configuration } = options.dependencies;
        await records.activity.expire(new Date(now - configuration.mail.keepActivity).toISOString());
        await records.jobs.expire(new Date(now - configuration.jobs.keep).toISOString());
        await expireReports({ records }, now);
        await sweepBlobs(blobs, records, new Date(now));
      }
    } catch (thrown) {
      options.log.warn({ error: messageOf(thrown) }, 'the sweep will try again');
    } finally {
      running = false;
    }
  };
  const timer = setInterval(() => void sweep(), SWEEP_EVERY);
  void sweep();
  return { stop: () => clearInterval(timer) };
}

/** Looks at every record that is open for a while. Returns how many it settled. */
export async function settleOpen(options: SweepOptions, now: number): Promise<number> {
  const { records } = options.dependencies;
  const before = new Date(now - SETTLED_AFTER).toISOString();
  let settled = 0;
  let page = await records.activity.openBefore(before);
  while (page.length > 0) {
    for (const record of page) if (await settle(record, options, now)) settled += 1;
    page = await records.activity.openBefore(before, page.at(-1));
  }
  return settled;
}

/** One record that cannot be settled does not keep the others from it. */
async function settle(record: MailActivity, options: SweepOptions, now: number): Promise<boolean> {
  const status = record.workflowId ? await statusOf(record.workflowId, options.client) : null;
  if (record.sourceAddress === LOCAL_SOURCE) return closeAbandoned(record, status, options.dependencies, now);
  if (record.action?.type === 'dmarc') return settleIngestion(record, status, options);
  if (isDirect(record))
    return (
      now - Date.parse(record.receivedAt) > inSessionFor(options.dependencies.configuration) &&
      settleDirect(record, options)
    );
  if (status === null) return record.action?.type === 'trigger' && closeUnjudged(record, options.dependencies);
  if (status === 'RUNNING') return false;
  return settleByRun(record, status, options);
}

async function settleByRun(
  record: MailActivity,
  status: string,
  options: SweepOptions,
  settlement: RouteMailInput['settlement'] = 'accepted',
): Promise<boolean> {
  try {
    await restart(record, status, options, settlement);
    return true;
  } catch (thrown) {
    // Without Temporal there is nothing to settle with.
    if (!(thrown instanceof SwitchyardError)) throw thrown;
    options.log.error({ record: record.id, code: thrown.code, fix: thrown.fix }, `not settled: ${thrown.message}`);
    if (thrown.code !== 'blob.missing') return false;
    // Nothing is left that could be sent, to anybody.
    const end = { outcome: 'failed' as const, errorCode: thrown.code, errorText: thrown.message, reply: null };
    await options.dependencies.records.activity.close(record.id, end);
    return true;
  }
}

/**
 * A session ended in the middle of its own delivery, as at a crash. Its sender has no 250 and comes again, so that a
 * refusal needs no bounce; but what was at its final dot may have arrived, and is sent again and marked.
 */
async function settleDirect(record: MailActivity, options: SweepOptions): Promise<boolean> {
  const { blobs, records, configuration } = options.dependencies;
  if (!record.deliveryKey || !record.action || !record.blob) return false;
  const given = await records.activity.giveTo(record.id, routeMailId(record.deliveryKey), record.action);
  if (!given) return false;
  // It lay in the store without a promise: after a power cut the name may be there and not the bytes.
  if (!(await isWhole(blobs, record.blob))) await blobs.remove(record.blob.key);
  // Where it is gone, the run cannot be: `settleByRun` closes the record.
  await keepBlob({ blobs, records }, record.blob, `activity:${record.id}`, keptUntil(configuration)).catch(
    () => undefined,
  );
  return settleByRun(given, 'GONE', options, 'alone');
}

async function isWhole(blobs: BlobStore, { key, sha256 }: BlobRef): Promise<boolean> {
  if ((await blobs.size(key)) === undefined) return true;
  const hash = createHash('sha256');
  for await (const chunk of await blobs.read(key)) hash.update(chunk as Uint8Array);
  return hash.digest('hex') === sha256;
}

/** The session ended before the workflow's verdict, as at a crash: its sender has no 250 and comes again. */
async function closeUnjudged(record: MailActivity, dependencies: OpenDependencies): Promise<boolean> {
  const errorText = 'The session ended before the n8n workflow had decided.';
  const end = { outcome: 'failed' as const, errorCode: 'trigger.no_verdict', errorText, reply: null };
  return (await closeRecord(record.id, end, dependencies, null))?.outcome === 'failed';
}

async function statusOf(workflowId: string, client: Client): Promise<string> {
  try {
    return (await client.workflow.getHandle(workflowId).describe()).status.name;
  } catch (thrown) {
    if (thrown instanceof WorkflowNotFoundError) return 'GONE';
    throw thrown;
  }
}

/** A terminated run was ended by a person: the sender is told. Any other lost run begins again; what was delivered is not sent twice. */
async function restart(
  record: MailActivity,
  status: string,
  { dependencies, client, log, taskQueue }: SweepOptions,
  settlement: RouteMailInput['settlement'],
): Promise<void> {
  const { configuration, blobs } = dependencies;
  if (!record.blob || !record.workflowId) return;
  const facts = await guardBlob(blobs, record.blob.key, { ...configuration.mail.limits, ...UNLIMITED });
  const utf8 = facts.utf8Header || needsUtf8(record.sender) || needsUtf8(record.recipient);
  const protocol = protocolName({ extended: true, tls: record.tls !== null, utf8 });
  const shape = { protocol, eightBit: facts.eightBit, utf8: facts.utf8Header };
  const refusedBefore =
    status === 'TERMINATED'
      ? { code: 554, enhanced: '5.3.0', text: 'The delivery was ended by the operator' }
      : undefined;
  log.warn({ record: record.id, run: record.workflowId, status }, 'an open record had no run: a new one settles it');
  const input = routeMailInput(record, shape, configuration, settlement, refusedBefore);
  await startRun(client, taskQueue, record.workflowId, input);
}
