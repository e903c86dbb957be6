/** The operations by name: which step each is, and its input; those of the activity are calls of their own. */
import type { IDataObject, IExecuteFunctions } from 'n8n-workflow';
import type { Acted } from '../../shared/items.ts';
import { get, getAll } from './activity.ts';
import { compose, send } from './new-mail.ts';
import { deliver, dkimSign, parse, sealArc, verify } from './message.ts';

export type MailOperation = StepOperation | CallOperation;

interface StepOperation {
  step: string;
  /** @throws NodeApiError, NodeOperationError what is wrong with the item */
  input(context: IExecuteFunctions, itemIndex: number): Promise<IDataObject>;
}

interface CallOperation {
  /** @throws NodeApiError, NodeOperationError */
  act(context: IExecuteFunctions, itemIndex: number): Promise<Acted>;
}

export const operations = { compose, deliver, dkimSign, get, getAll, parse, sealArc, send, verify } satisfies Record<
  string,
  MailOperation
>;
export type Operation = keyof typeof operations;
