/**
 * The life of a durable item: the run is awaited for a while; what takes longer puts the n8n execution to wait, and
 * Switchyard resumes it once for all of its runs. What is needed then lies in the execution and in Switchyard, so that
 * it survives the end of n8n in between.
 */
import {
  WAIT_INDEFINITELY,
  type IDataObject,
  type IExecuteFunctions,
  type INodeExecutionData,
  type INodeProperties,
  type IWebhookDescription,
  type IWebhookFunctions,
  type IWebhookResponseData,
  type NodeApiError,
} from 'n8n-workflow';
import { callApi } from './api.ts';
import { receiveCallback } from './callback.ts';
import type { ClosedRun, ResumeMessage } from './contract.ts';
import { isAway } from './errors.ts';
import { executionPage, itemOf, waitId } from './identity.ts';
import { failedItem, inOrder, type End } from './output.ts';
import { awaitRuns, resultOf, runError, runLink, withRun, type Awaited, type Ended } from './runs.ts';

/** The switch that every acting node has. */
export const DURABLE: INodeProperties = {
  displayName: 'Durable',
  name: 'durable',
  type: 'boolean',
  default: false,
  noDataExpression: true,
  description:
    'Whether to run it as a Temporal workflow, which survives crashes, retries by itself and can be looked at. The output then has the link to the run.',
};

/** Where Switchyard resumes an execution. In a variable: n8n's lint rule takes a literal for that of a trigger. */
export const RESUME_WEBHOOKS: IWebhookDescription[] = [
  {
    name: 'default',
    httpMethod: 'POST',
    path: '',
    responseMode: 'onReceived',
    responseData: 'noData',
    restartWebhook: true,
    isFullPath: true,
    ndvHideUrl: true,
    ndvHideMethod: true,
  },
];

/** Makes the output of an item whose run ended well, in the first call and after a wait alike: one item, or several. */
export type Present<Context> = (
  context: Context,
  input: INodeExecutionData,
  end: End,
) => Promise<INodeExecutionData | INodeExecutionData[]>;

/** Kept in the execution while it waits. */
interface Plan extends IDataObject {
  runs: { itemIndex: number; run: { id: string; url: string | null }; about?: IDataObject }[];
  /** Items that failed before the wait, where the node continues on errors. */
  failed: INodeExecutionData[];
}

const PLAN = 'switchyard';

/**
 * The output of items that wait for runs, in the order of the items. When one takes long, the execution is put to
 * wait and `resume` makes the output.
 * @param failed items that did not get as far as a run
 * @throws NodeApiError of the first run that failed, unless the node continues on errors
 */
export async function settle(
  context: IExecuteFunctions,
  awaited: Awaited[],
  failed: INodeExecutionData[],
  present: Present<IExecuteFunctions>,
): Promise<INodeExecutionData[]> {
  const items = context.getInputData();
  const ended = await awaitRuns(context, awaited);
  const open = awaited.filter(({ run }) => !ended.some((end) => end.run.id === run.id));
  const failure = ended.find((end) => 'error' in end);
  if (failure && !context.continueOnFail()) throw failure.error;
  if (open.length > 0 && !context.isToolExecution()) {
    await putToWait(context, awaited, open, failed);
    // A copy: n8n empties the list where it sorts out errors.
    return [...items];
  }
  linkRuns(context, awaited);
  const { outputs, error } = await outputsOf(context, ended, items, present);
  if (error && !context.continueOnFail()) throw error;
  // An agent gets the handle at once, and may look again.
  const handles = open.map(({ itemIndex, run: { id, url } }) => ({
    json: { status: 'RUNNING', id, runUrl: url },
    pairedItem: { item: itemIndex },
  }));
  return inOrder([...outputs, ...handles, ...failed]);
}

async function putToWait(
  context: IExecuteFunctions,
  awaited: Awaited[],
  open: Awaited[],
  failed: INodeExecutionData[],
): Promise<void> {
  await callApi(context, {
    method: 'PUT',
    path: `/v1/triggers/${encodeURIComponent(waitId(context))}`,
    body: {
      kind: 'resume',
      callbackUrl: String(context.evaluateExpression('{{ $execution.resumeUrl }}', 0)),
      link: executionPage(context),
      runs: open.map(({ run }) => run.id),
    },
  });
  const runs = awaited.map(({ run: { id, url }, ...rest }) => ({ ...rest, run: { id, url } }));
  context.getContext('node')[PLAN] = { runs, failed } satisfies Plan;
  await context.putExecutionToWait(WAIT_INDEFINITELY);
}

/** What n8n keeps of the node that waits; its type does not say so. */
interface Waiting {
  executeData?: {
    data: Record<string, (INodeExecutionData[] | null)[]>;
    metadata?: { resumeError?: NodeApiError };
  };
}

/**
 * The webhook that resumes: makes the output from what Switchyard tells of the runs.
 *
 * It never throws: n8n would forget the whole run of the execution then. A failure is handed over as n8n does it for
 * its own sub-workflows.
 */
export async function resume(
  context: IWebhookFunctions,
  present: Present<IWebhookFunctions>,
): Promise<IWebhookResponseData> {
  const message = await receiveCallback<ResumeMessage>(context);
  if (message === undefined) return { noWebhookResponse: true };
  const waiting = (context as unknown as Waiting).executeData;
  const items = waiting?.data.main?.find((input) => input?.length) ?? [];
  const plan = readPlan(context, message);
  const ends: Ended[] = [];
  for (const awaited of plan.runs) ends.push(await endOf(context, awaited as Awaited, message.runs));
  const { outputs, error } = await outputsOf(context, ends, items, present);
  if (error && !continuesOnFail(context) && waiting) {
    waiting.metadata = { ...waiting.metadata, resumeError: error };
    return { workflowData: [[...items]] };
  }
  return { workflowData: [inOrder([...outputs, ...plan.failed])] };
}

function readPlan(context: IWebhookFunctions, { runs }: ResumeMessage): Plan {
  const name = JSON.stringify(context.getNode().name);
  const kept = context.evaluateExpression(`{{ $node[${name}].context.${PLAN} }}`) as unknown as Plan | undefined;
  return (
    kept ?? { runs: runs.map(({ id, runUrl }) => ({ itemIndex: itemOf(id), run: { id, url: runUrl } })), failed: [] }
  );
}

async function endOf(context: IWebhookFunctions, awaited: Awaited, told: ClosedRun[]): Promise<Ended> {
  const run = told.find(({ id }) => id === awaited.run.id);
  if (run?.status.toLowerCase() === 'completed' && !run.truncated) return { ...awaited, result: run.result };
  try {
    // It failed, ended before the wait, or its result is too large for a callback.
    const answer = await resultOf(context, awaited, 1);
    return answer ? { ...awaited, ...answer } : { ...awaited, error: runError(context, awaited, run) };
  } catch (error) {
    return {
      ...awaited,
      error: isAway(error) && run ? runError(context, awaited, run) : withRun(error as NodeApiError, awaited.run),
    };
  }
}

function continuesOnFail(context: IWebhookFunctions): boolean {
  const { onError, continueOnFail } = context.getNode();
  return onError === undefined ? continueOnFail === true : onError !== 'stopWorkflow';
}

/** One item for each end, and the first error among them. */
async function outputsOf<Context>(
  context: Context,
  ends: Ended[],
  items: INodeExecutionData[],
  present: Present<Context>,
): Promise<{ outputs: INodeExecutionData[]; error: NodeApiError | undefined }> {
  const outputs: INodeExecutionData[] = [];
  let error: NodeApiError | undefined;
  for (const end of ends) {
    const { itemIndex, run, about } = end;
    try {
      if ('error' in end) throw end.error;
      const input = items[itemIndex] ?? { json: {} };
      const made = await present(context, input, { itemIndex, result: end.result, run, ...(about ? { about } : {}) });
      outputs.push(...[made].flat());
    } catch (thrown) {
      error ??= thrown as NodeApiError;
      outputs.push(failedItem(thrown, itemIndex));
    }
  }
  return { outputs, error };
}

/** A link above the output. */
function linkRuns(context: IExecuteFunctions, awaited: Awaited[]): void {
  const urls = awaited.flatMap(({ run: { url } }) => (url ? [url] : []));
  const [first] = urls;
  if (first === undefined) return;
  const link = runLink(first, `Open ${urls.length === 1 ? 'the run' : 'the first run'} in Temporal`);
  context.addExecutionHints({
    message: urls.length === 1 ? link : `${link}; the links of all ${urls.length} are in runUrl.`,
    type: 'info',
    location: 'outputPane',
  });
}
