/** How a run ended, in the words that a trigger chooses by. */
import { INGESTION_OUTCOMES } from '../../workflows/dmarc/contract.ts';

/** Statuses of closed runs. One that was continued as new goes on. */
export const RUN_STATUSES = ['completed', 'failed', 'cancelled', 'terminated', 'timed_out'] as const;

/** Statuses, and the values of the search attribute SwitchyardOutcome that routeMail and ingestDmarcReport set. */
export const RUN_OUTCOMES = [...RUN_STATUSES, 'delivered', 'refused', 'bounced', ...INGESTION_OUTCOMES] as const;

/**
 * Everything that did not end well and that a person should look at; `failed` is a status and an outcome. `refused` is
 * not among them: its sender was told.
 */
export const DEFAULT_OUTCOMES = ['failed', 'cancelled', 'terminated', 'timed_out', 'bounced', 'quarantined'] as const;
