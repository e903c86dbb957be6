/** The operations by name: which step each is, and its input. */
import type { IDataObject, IExecuteFunctions } from 'n8n-workflow';
import { compose, send } from './new-mail.ts';
import { deliver, dkimSign, parse, sealArc, verify } from './message.ts';

export interface MailOperation {
  step: string;
  /** @throws NodeApiError, NodeOperationError what is wrong with the item */
  input(context: IExecuteFunctions, itemIndex: number): Promise<IDataObject>;
}

export const operations = { compose, deliver, dkimSign, parse, sealArc, send, verify } satisfies Record<
  string,
  MailOperation
>;
export type Operation = keyof typeof operations;
