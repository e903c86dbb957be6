/** Runs: started under the name of their act, met again by a retry, awaited for a while in this call. */
import {
  sleep,
  type IDataObject,
  type IExecuteFunctions,
  type IWebhookFunctions,
  type NodeApiError,
} from 'n8n-workflow';
import { callApi } from './api.ts';
import type { ClosedRun, Run } from './contract.ts';
import { isAway, toNodeError } from './errors.ts';
import { executionPage, workflowName } from './identity.ts';

/** A run that was started, and what its output is made with beside its result. */
export interface Started {
  run: Run;
  about?: IDataObject;
}

/** One that an item waits for. */
export interface Awaited extends Started {
  itemIndex: number;
}

/** How it ended for the item. */
export type Ended = Awaited & ({ result: unknown } | { error: NodeApiError });

/** How long one call of a node waits before it puts the execution to wait. ms */
const PATIENCE = 20_000;
/** Between two looks while Switchyard is away. ms */
const PAUSE = 1_000;
/** What one registration may name: while more are open, the node stays awake. */
export const MOST_AWAITED = 100;

/** Starts a run, or meets the one that an earlier try of the same act started. */
export async function startRun(
  context: IExecuteFunctions,
  itemIndex: number,
  request: { workflow: string; id: string; input: unknown },
): Promise<Run> {
  const { body } = await callApi(context, {
    method: 'POST',
    path: '/v1/runs',
    body: { ...request, origin: { name: workflowName(context).slice(0, 200), url: executionPage(context) } },
    itemIndex,
  });
  return body as Run;
}

/** A slash in an id would be read as part of the path. */
export function runPath({ id }: { id: string }): string {
  return `/v1/runs/${encodeURIComponent(id)}`;
}

/**
 * The result of a run, waiting at most so long.
 * @param seconds whole ones
 * @returns undefined while it runs
 * @throws NodeApiError when it failed, was cancelled, or cannot be asked
 */
export async function resultOf(
  context: IExecuteFunctions | IWebhookFunctions,
  { itemIndex, run }: Awaited,
  seconds: number,
): Promise<{ result: unknown } | undefined> {
  const { status, body } = await callApi(context, {
    method: 'GET',
    path: `${runPath(run)}/result`,
    query: { wait: `${seconds}s` },
    timeout: (seconds + 15) * 1_000,
    itemIndex,
  });
  return status === 202 ? undefined : { result: (body as IDataObject).result };
}

/** Waits for all of them, for a while. What is still open after that is not in the answer. */
export async function awaitRuns(context: IExecuteFunctions, awaited: Awaited[]): Promise<Ended[]> {
  const deadline = Date.now() + PATIENCE;
  const ended: Ended[] = [];
  let open = awaited;
  for (;;) {
    const still: Awaited[] = [];
    for (const one of open) {
      const left = Math.max(0, deadline - Date.now());
      const end = await look(context, one, Math.floor(left / 1_000));
      if (end) ended.push(end);
      else still.push(one);
    }
    open = still;
    const isPatienceOver = Date.now() >= deadline - 1_000;
    if (open.length === 0 || (isPatienceOver && open.length <= MOST_AWAITED)) return ended;
    await sleep(PAUSE);
  }
}

async function look(context: IExecuteFunctions, awaited: Awaited, seconds: number): Promise<Ended | undefined> {
  try {
    const answer = await resultOf(context, awaited, seconds);
    return answer && { ...awaited, ...answer };
  } catch (error) {
    // The run goes on without us; only its end counts.
    return isAway(error) ? undefined : { ...awaited, error: withRun(error as NodeApiError, awaited.run) };
  }
}

/** The error of a closed run, as a callback tells of it. */
export function runError(
  context: IExecuteFunctions | IWebhookFunctions,
  { itemIndex, run }: Awaited,
  closed: ClosedRun | undefined,
): NodeApiError {
  const { code, message, fix } = closed?.error ?? {
    code: 'run.failed',
    message: `The run ended as ${closed?.status.toLowerCase() ?? 'unknown'}.`,
  };
  return withRun(
    toNodeError(context.getNode(), { code, message, fix: fix || 'Look at the run in the Temporal UI.' }, itemIndex),
    run,
  );
}

/** The error with the link to its run. */
export function withRun(error: NodeApiError, { id, url }: Run): NodeApiError {
  // The id is long and says nothing to a person; the link does.
  error.message = error.message.replace(`The run ${id} failed: `, '');
  if (!url) return error;
  error.description = `${error.description ?? ''} ${runLink(url, 'Open the run in Temporal')}`.trim();
  error.context.switchyard = { ...(error.context.switchyard as IDataObject), runUrl: url };
  return error;
}

/** A link as n8n shows it in hints and errors. */
export function runLink(url: string, text: string): string {
  const href = url.replace(/[<>"']/g, (sign) => `%${sign.charCodeAt(0).toString(16)}`);
  return `<a href="${href}" target="_blank">${text}</a>`;
}
