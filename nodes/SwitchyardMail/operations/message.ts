/** What is done with a message that is there: a reference of an earlier node, or a file of the item. */
import { NodeOperationError, type IDataObject, type IExecuteFunctions } from 'n8n-workflow';
import { toBlobRef, uploadBinary } from '../../shared/blobs.ts';
import type { BlobRef } from '../../shared/contract.ts';

export const parse = {
  step: 'mail.parse',
  input: async (context: IExecuteFunctions, i: number) => ({ message: await messageOf(context, i) }),
};

export const verify = {
  step: 'mail.verify',
  input: async (context: IExecuteFunctions, i: number) => ({
    message: await messageOf(context, i),
    envelope: {
      sourceAddress: text(context, 'sourceAddress', i),
      helo: text(context, 'helo', i),
      sender: text(context, 'sender', i),
    },
  }),
};

export const dkimSign = {
  step: 'mail.dkimSign',
  input: async (context: IExecuteFunctions, i: number) => ({
    message: await messageOf(context, i),
    domain: text(context, 'domain', i),
  }),
};

export const sealArc = {
  step: 'mail.sealArc',
  input: async (context: IExecuteFunctions, i: number) => ({
    message: await messageOf(context, i),
    authentication: authenticationOf(context, i),
    domain: text(context, 'domain', i),
  }),
};

export const deliver = {
  step: 'mail.deliver',
  input: async (context: IExecuteFunctions, i: number) => ({
    message: await messageOf(context, i),
    sender: text(context, 'sender', i),
    recipient: text(context, 'recipient', i),
  }),
};

function text(context: IExecuteFunctions, name: string, itemIndex: number): string {
  // An expression may find nothing, such as the null sender of a bounce.
  const value = context.getNodeParameter(name, itemIndex) as string | null | undefined;
  return (value ?? '').trim();
}

async function messageOf(context: IExecuteFunctions, itemIndex: number): Promise<BlobRef> {
  if (context.getNodeParameter('messageSource', itemIndex) === 'binary') {
    const property = context.getNodeParameter('binaryField', itemIndex) as string;
    return (await uploadBinary(context, itemIndex, property)).blob;
  }
  return toBlobRef(context, context.getNodeParameter('message', itemIndex), itemIndex);
}

function authenticationOf(context: IExecuteFunctions, itemIndex: number): IDataObject {
  const value = context.getNodeParameter('authentication', itemIndex) as unknown;
  const found = typeof value === 'string' ? parsed(value) : value;
  if (typeof found === 'object' && found !== null) return found as IDataObject;
  throw new NodeOperationError(
    context.getNode(),
    'There is no verification in this item, and a seal tells its result.',
    {
      itemIndex,
      description: 'Verify the message before: its output has the field "authentication". Receive Mail has it too.',
    },
  );
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}
