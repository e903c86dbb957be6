/** One activity proxy per time-out class. Options live here, so that a step says only which class it is of. */
import {
  ActivityCancellationType,
  proxyActivities,
  proxyLocalActivities,
  type ActivityOptions,
} from '@temporalio/workflow';
import type { StepActivity } from '../activities/step.ts';
import type { enrich } from '../activities/dmarc/enrich.ts';
import type { extractReports } from '../activities/dmarc/extract-reports.ts';
import type { parseReport } from '../activities/dmarc/parse-report.ts';
import type { publishReport } from '../activities/dmarc/publish-report.ts';
import type { quarantineReport, releaseQuarantined } from '../activities/dmarc/quarantine.ts';
import type { storeReport } from '../activities/dmarc/store-report.ts';
import type { relay } from '../activities/mail/relay.ts';
import type { bounce } from '../activities/mail/bounce.ts';
import type { closeActivity } from '../activities/mail/close-activity.ts';
import type { notify } from '../activities/triggers/notify.ts';
import type { beginReread } from '../activities/dmarc/begin-reread.ts';
import type { clearReread } from '../activities/dmarc/clear-reread.ts';
import type { clearImport } from '../activities/dmarc/clear-import.ts';
import type { importSome } from '../activities/dmarc/import-some.ts';
import type { rereadSome } from '../activities/dmarc/reread-some.ts';
import type { endJob } from '../activities/jobs/end-job.ts';
import type { lookAfterJob } from '../activities/jobs/look-after-job.ts';
import type { takeJob } from '../activities/jobs/take-job.ts';

/** The steps that workflows call by name, typed by their definitions. */
export interface HouseActivities {
  'mail.relay': StepActivity<typeof relay>;
  'mail.bounce': StepActivity<typeof bounce>;
  'mail.closeActivity': StepActivity<typeof closeActivity>;
  'trigger.notify': StepActivity<typeof notify>;
  'jobs.take': StepActivity<typeof takeJob>;
  'jobs.look': StepActivity<typeof lookAfterJob>;
  'jobs.end': StepActivity<typeof endJob>;
  'dmarc.beginReread': StepActivity<typeof beginReread>;
  'dmarc.rereadSome': StepActivity<typeof rereadSome>;
  'dmarc.clearReread': StepActivity<typeof clearReread>;
  'dmarc.importSome': StepActivity<typeof importSome>;
  'dmarc.clearImport': StepActivity<typeof clearImport>;
  /** No step, since it is about Temporal itself: servers/worker/terminate.ts. */
  'jobs.terminate'(input: { workflowId: string; reason: string }): Promise<void>;
  'dmarc.extractReports': StepActivity<typeof extractReports>;
  'dmarc.storeReport': StepActivity<typeof storeReport>;
  'dmarc.parseReport': StepActivity<typeof parseReport>;
  'dmarc.enrich': StepActivity<typeof enrich>;
  'dmarc.publishReport': StepActivity<typeof publishReport>;
  'dmarc.quarantineReport': StepActivity<typeof quarantineReport>;
  'dmarc.releaseQuarantined': StepActivity<typeof releaseQuarantined>;
}

/** A step that stands still this long without a heartbeat has lost its worker. The worker beats every few seconds. */
const HEARTBEAT = '15 seconds';

export const CLASS_OPTIONS: Record<'cpu' | 'network' | 'delivery' | 'long', ActivityOptions> = {
  cpu: {
    startToCloseTimeout: '1 minute',
    retry: { initialInterval: '500 milliseconds', maximumInterval: '30 seconds' },
  },
  network: {
    startToCloseTimeout: '2 minutes',
    heartbeatTimeout: HEARTBEAT,
    retry: { initialInterval: '1 second', maximumInterval: '1 minute', maximumAttempts: 10 },
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  },
  // RFC 5321, 4.5.3.2 allows a destination ten minutes for the final dot alone.
  delivery: {
    startToCloseTimeout: '30 minutes',
    heartbeatTimeout: HEARTBEAT,
    retry: { initialInterval: '1 second', maximumInterval: '1 minute' },
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  },
  long: {
    startToCloseTimeout: '24 hours',
    heartbeatTimeout: '1 minute',
    retry: { initialInterval: '1 second', maximumInterval: '5 minutes', maximumAttempts: 20 },
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  },
};

/** Work on our own stores: it goes on trying until they are back. */
export const bookkeeping = proxyActivities<Pick<HouseActivities, 'mail.bounce' | 'mail.closeActivity'>>(
  CLASS_OPTIONS.cpu,
);

/**
 * The same work inside the workflow task that asks for it: no events and no way over the server, which is most of what
 * a run costs. While our stores are away it waits by timers and holds no task.
 */
export const bookkeepingNow = proxyLocalActivities<Pick<HouseActivities, 'mail.closeActivity'>>({
  ...CLASS_OPTIONS.cpu,
  localRetryThreshold: '2 seconds',
});

/**
 * A delivery attempt inside the workflow task. One try: what cannot end here soon, or fails, is done by `deliveries`.
 * Killed on the way it is tried again with its task, ten seconds later.
 */
export const deliveriesNow = proxyLocalActivities<Pick<HouseActivities, 'mail.relay'>>({
  startToCloseTimeout: CLASS_OPTIONS.delivery.startToCloseTimeout,
  retry: { maximumAttempts: 1 },
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
});

/** The same for jobs: what a killed worker had begun is begun again as soon as it is missed, not after a minute. */
export const jobKeeping = proxyActivities<
  Pick<HouseActivities, 'jobs.take' | 'jobs.look' | 'jobs.end' | 'jobs.terminate'>
>({ ...CLASS_OPTIONS.cpu, heartbeatTimeout: HEARTBEAT });

/** Options of the steps of a job, which beat by a timer: a dead worker is missed within seconds. */
const JOB_STEP: ActivityOptions = { ...CLASS_OPTIONS.long, heartbeatTimeout: HEARTBEAT };

/** What reads no bytes of strangers. */
export const preparing =
  proxyActivities<Pick<HouseActivities, 'dmarc.beginReread' | 'dmarc.clearReread' | 'dmarc.clearImport'>>(JOB_STEP);

/**
 * What reads the bytes of strangers: the run hears when the worker was lost meanwhile, and counts it. Temporal alone would
 * give a report that ends workers to the next one for ever. The names of time-outs are those of Temporal's server.
 */
const hearingOfLoss = (options: ActivityOptions): ActivityOptions => ({
  ...options,
  retry: { ...options.retry, nonRetryableErrorTypes: ['TemporalTimeout:Heartbeat', 'TemporalTimeout:StartToClose'] },
});

export const readingMany = proxyActivities<Pick<HouseActivities, 'dmarc.rereadSome' | 'dmarc.importSome'>>(
  hearingOfLoss(JOB_STEP),
);

/** Deliveries on a task queue of their own. */
export const deliveries = (taskQueue: string) =>
  proxyActivities<Pick<HouseActivities, 'mail.relay'>>({ ...CLASS_OPTIONS.delivery, taskQueue });

/** Reports on their way into the store: tried until it is back. A report of 500,000 records takes minutes. */
const INGESTION: ActivityOptions = {
  startToCloseTimeout: '1 hour',
  heartbeatTimeout: HEARTBEAT,
  retry: { initialInterval: '500 milliseconds', maximumInterval: '1 minute' },
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
};

export const ingestion = proxyActivities<
  Pick<HouseActivities, 'dmarc.extractReports' | 'dmarc.storeReport' | 'dmarc.parseReport' | 'dmarc.publishReport'>
>(hearingOfLoss(INGESTION));

/** What reads none of them, and must be done: whatever was refused is lost otherwise. */
export const quarantining =
  proxyActivities<Pick<HouseActivities, 'dmarc.quarantineReport' | 'dmarc.releaseQuarantined'>>(INGESTION);

/** Questions whose answers help people and that nothing waits for. */
export const lookUps = proxyActivities<Pick<HouseActivities, 'dmarc.enrich'>>({
  startToCloseTimeout: '10 minutes',
  heartbeatTimeout: HEARTBEAT,
  retry: { initialInterval: '1 second', maximumInterval: '10 seconds', maximumAttempts: 3 },
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
});

/** Messages to those who registered: an n8n that was away for an hour hears within a minute of its return. */
export const notifications = (giveUpAfter: number) =>
  proxyActivities<Pick<HouseActivities, 'trigger.notify'>>({
    startToCloseTimeout: '1 minute',
    scheduleToCloseTimeout: giveUpAfter,
    retry: { initialInterval: '1 second', maximumInterval: '1 minute' },
  });
