/** The loop over items that every acting node has: errors by item, pairs by item, durable or at once. */
import type { IExecuteFunctions, INodeExecutionData } from 'n8n-workflow';
import { settle, type Present } from './durable.ts';
import { asNodeError } from './errors.ts';
import { failedItem, inOrder } from './output.ts';
import type { Awaited, Started } from './runs.ts';

/** What became of one item: a result, a run to wait for, or items that are made already and further runs. */
export type Acted = { result: unknown } | Started | { items: INodeExecutionData[]; runs?: Started[] };

/**
 * @param act for one item
 * @param present makes the item of a result
 * @throws NodeApiError, NodeOperationError unless the node continues on errors
 */
export async function forEachItem(
  context: IExecuteFunctions,
  act: (itemIndex: number) => Promise<Acted>,
  present: Present<IExecuteFunctions>,
): Promise<INodeExecutionData[]> {
  const outputs: INodeExecutionData[] = [];
  const failed: INodeExecutionData[] = [];
  const awaited: Awaited[] = [];
  for (const [itemIndex, input] of context.getInputData().entries()) {
    try {
      const acted = await act(itemIndex);
      if ('run' in acted) awaited.push({ itemIndex, ...acted });
      else if ('items' in acted) {
        outputs.push(...acted.items);
        awaited.push(...(acted.runs ?? []).map((one) => ({ itemIndex, ...one })));
      } else outputs.push(...[await present(context, input, { itemIndex, result: acted.result, run: null })].flat());
    } catch (error) {
      if (!context.continueOnFail()) throw asNodeError(context.getNode(), error, itemIndex);
      failed.push(failedItem(error, itemIndex));
    }
  }
  if (awaited.length === 0) return inOrder([...outputs, ...failed]);
  // A node acts in one way only: where some items wait, no other has output but for what failed.
  return settle(context, awaited, [...outputs, ...failed], present);
}
