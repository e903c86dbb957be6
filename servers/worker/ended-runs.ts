/** Runs that ended, as triggers are told of them. */
import type { Client, WorkflowExecutionInfo } from '@temporalio/client';
import { WorkflowFailedError, WorkflowNotFoundError } from '@temporalio/client';
import type { Addresses } from '../../stores/configuration/addresses.ts';
import type { Trigger } from '../../stores/records/port.ts';
import { SEARCH_ATTRIBUTES } from '../../workflows/contract.ts';
import { failureOf, filterStatus, WORKFLOWS } from '../http/runs.ts';
import { runUrl } from '../temporal.ts';
import { RUN_STATUSES } from '../triggers/outcomes.ts';

export interface RunSource {
  client: Client;
  addresses: Addresses;
  namespace: string;
}

export interface RunError {
  code: string;
  message: string;
  fix: string;
}

export interface EndedRun {
  id: string;
  /** A status of `RUN_STATUSES`, or `missing` for one that Temporal does not know any more. */
  status: string;
  /** Null also where it is larger than 16 KB; `truncated` says so. */
  result: unknown;
  truncated: boolean;
  error: RunError | null;
  runUrl: string | null;
}

/** A history holds the message: larger results are read from the run. */
const RESULT_BYTES = 16_384;

/** The list filter (Temporal's visibility query) for what a trigger wants to hear, closed since a time. */
export function endedQuery({ workflows, outcomes }: Pick<Trigger, 'workflows' | 'outcomes'>, since: Date): string {
  // Names out of our own lists, which hold no quotes.
  const list = (values: readonly string[]) => `(${values.map((one) => `'${one}'`).join(', ')})`;
  const types = WORKFLOWS.filter((name) => workflows.length === 0 || workflows.includes(name));
  const statuses = RUN_STATUSES.filter((name) => outcomes.includes(name)).map(filterStatus);
  const ends = [
    ...(statuses.length > 0 ? [`ExecutionStatus IN ${list(statuses)}`] : []),
    `SwitchyardOutcome IN ${list(outcomes)}`,
  ];
  return `WorkflowType IN ${list(types)} AND CloseTime >= '${since.toISOString()}' AND (${ends.join(' OR ')})`;
}

/** The message of kind `run` about one run. */
export async function runMessage(
  trigger: Trigger,
  info: WorkflowExecutionInfo,
  source: RunSource,
): Promise<{ type: 'run' } & Record<string, unknown>> {
  const { workflowId, runId } = info;
  const described = await source.client.workflow.getHandle(workflowId, runId).describe();
  const attributes = Object.entries(described.searchAttributes).flatMap(([name, value]) =>
    SEARCH_ATTRIBUTES.some((known) => known === name) ? [[name, String(Array.isArray(value) ? value[0] : value)]] : [],
  );
  const shown = Object.fromEntries(attributes) as Record<string, string>;
  return {
    type: 'run',
    trigger: trigger.id,
    runId,
    workflow: described.type,
    outcome: shown.SwitchyardOutcome ?? null,
    startedAt: described.startTime.toISOString(),
    closedAt: described.closeTime?.toISOString() ?? null,
    summary: (await described.staticSummary()) ?? null,
    attributes: shown,
    ...(await endOf(workflowId, runId, described.status.name, source)),
  };
}

/** How a run ended, or undefined while it goes on. One that is not ours is not there. */
export async function findEnd(workflowId: string, source: RunSource): Promise<EndedRun | undefined> {
  try {
    const described = await source.client.workflow.getHandle(workflowId).describe();
    if (!WORKFLOWS.some((name) => name === described.type)) return missing(workflowId);
    if (described.status.name === 'RUNNING' || described.status.name === 'PAUSED') return undefined;
    return await endOf(workflowId, described.runId, described.status.name, source);
  } catch (thrown) {
    if (thrown instanceof WorkflowNotFoundError) return missing(workflowId);
    throw thrown;
  }
}

async function endOf(id: string, runId: string, status: string, source: RunSource): Promise<EndedRun> {
  const ended = {
    id,
    status: status.toLowerCase(),
    result: null,
    truncated: false,
    error: null,
    runUrl: runUrl(source.addresses, source.namespace, id),
  };
  try {
    const result: unknown = await source.client.workflow.getHandle(id, runId, { followRuns: false }).result();
    const truncated = Buffer.byteLength(JSON.stringify(result) ?? '') > RESULT_BYTES;
    return { ...ended, result: truncated ? null : (result ?? null), truncated };
  } catch (thrown) {
    if (!(thrown instanceof WorkflowFailedError)) throw thrown;
    const { code, message, fix } = failureOf(id, thrown);
    return { ...ended, error: { code, message, fix } };
  }
}

const missing = (id: string): EndedRun => ({
  id,
  status: 'missing',
  result: null,
  truncated: false,
  error: {
    code: 'run.missing',
    message: `There is no run ${id}, or Temporal has forgotten it.`,
    fix: 'Temporal forgets closed runs after its retention time.',
  },
  runUrl: null,
});
