/** Steps of Switchyard: at once in its server, or durably as a run. */
import type { IDataObject, IExecuteFunctions } from 'n8n-workflow';
import { callApi } from './api.ts';
import type { Run } from './contract.ts';
import { actId } from './identity.ts';
import { startRun } from './runs.ts';

export interface StepRequest {
  /** Such as `mail.verify`. */
  step: string;
  input: IDataObject;
  durable: boolean;
}

/**
 * Runs a step for an item. A retry of the node has the same key, and so never acts twice.
 * @throws NodeApiError
 */
export async function runStep(
  context: IExecuteFunctions,
  itemIndex: number,
  { step, input, durable }: StepRequest,
): Promise<{ result: unknown } | { run: Run }> {
  const id = actId(context, itemIndex);
  if (durable) return { run: await startRun(context, itemIndex, { workflow: 'runStep', id, input: { step, input } }) };
  return { result: await callStep(context, itemIndex, { step, input, key: id }) };
}

/**
 * Runs a step at once.
 * @param call.key the same for every repeat of the same act; several calls for one item have one each
 * @throws NodeApiError
 */
export async function callStep(
  context: IExecuteFunctions,
  itemIndex: number,
  { step, input, key }: { step: string; input: IDataObject; key: string },
): Promise<unknown> {
  const { body } = await callApi(context, {
    method: 'POST',
    path: `/v1/steps/${encodeURIComponent(step)}`,
    body: input,
    key,
    itemIndex,
  });
  return body;
}
