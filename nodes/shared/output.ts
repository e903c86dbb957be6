/** Items as they leave a node: paired with what they came from, in its order. */
import type { IDataObject, IExecuteFunctions, INodeExecutionData, IWebhookFunctions } from 'n8n-workflow';
import { downloadMessage } from './blobs.ts';
import type { BlobRef } from './contract.ts';

export interface Presentation {
  /** Whether the fields of the input stay beside the result. */
  keepInput: boolean;
  /** Binary field to load the message of the result into. */
  binaryProperty?: string;
}

/** What came of an item. */
export interface End {
  itemIndex: number;
  result: unknown;
  /** The run that it came of, if there was one. */
  run: { id: string; url: string | null } | null;
  /** What the run was started with for its output. */
  about?: IDataObject;
}

/** The item of a result. */
export async function present(
  context: IExecuteFunctions | IWebhookFunctions,
  input: INodeExecutionData,
  { itemIndex, result, run }: End,
  { keepInput, binaryProperty }: Presentation,
): Promise<INodeExecutionData> {
  const json: IDataObject = {
    ...(keepInput ? input.json : {}),
    ...toFields(result),
    ...(run?.url ? { runUrl: run.url } : {}),
  };
  const message = json.message as BlobRef | undefined;
  const binary = {
    ...(keepInput ? input.binary : {}),
    ...(binaryProperty && message?.key ? { [binaryProperty]: await downloadMessage(context, message, itemIndex) } : {}),
  };
  return {
    json,
    ...(Object.keys(binary).length > 0 ? { binary } : {}),
    pairedItem: { item: itemIndex },
  };
}

/** The item that stands for a failure where the node continues on errors. */
export function failedItem(error: unknown, itemIndex: number): INodeExecutionData {
  const { message, context } = error as { message: string; context?: { switchyard?: object } };
  return {
    // n8n's error output takes an item for a failure by exactly these two fields.
    json: { error: message, ...(context?.switchyard ? { details: { ...context.switchyard } } : {}) },
    pairedItem: { item: itemIndex },
  };
}

/** In the order of the input. */
export function inOrder(items: INodeExecutionData[]): INodeExecutionData[] {
  const position = ({ pairedItem }: INodeExecutionData) => (pairedItem as { item: number }).item;
  return items.sort((a, b) => position(a) - position(b));
}

function toFields(result: unknown): IDataObject {
  return typeof result === 'object' && result !== null && !Array.isArray(result)
    ? (result as IDataObject)
    : { result: result as IDataObject[string] };
}
