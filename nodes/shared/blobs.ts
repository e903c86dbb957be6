/** Messages and files between n8n's binary data and Switchyard's blobs, as streams both ways. */
import { NodeOperationError, type IBinaryData, type IExecuteFunctions, type IWebhookFunctions } from 'n8n-workflow';
import { callApi } from './api.ts';
import type { BlobRef } from './contract.ts';

const UPLOAD_TIMEOUT = 300_000;

/**
 * Stores the binary data of an item.
 * @param property name of the binary field
 */
export async function uploadBinary(
  context: IExecuteFunctions,
  itemIndex: number,
  property: string,
): Promise<{ blob: BlobRef; binary: IBinaryData }> {
  const binary = context.helpers.assertBinaryData(itemIndex, property);
  const body = binary.id ? await context.helpers.getBinaryStream(binary.id) : Buffer.from(binary.data, 'base64');
  const { body: blob } = await callApi(context, {
    method: 'POST',
    path: '/v1/blobs',
    body,
    headers: { 'Content-Type': 'application/octet-stream' },
    timeout: UPLOAD_TIMEOUT,
    itemIndex,
  });
  return { blob: blob as BlobRef, binary };
}

/** The first bytes of the binary data of an item, at most so many. */
export async function headOf(
  context: IExecuteFunctions,
  itemIndex: number,
  property: string,
  bytes: number,
): Promise<Buffer> {
  const binary = context.helpers.assertBinaryData(itemIndex, property);
  if (!binary.id) return Buffer.from(binary.data, 'base64').subarray(0, bytes);
  const stream = await context.helpers.getBinaryStream(binary.id);
  let head = Buffer.alloc(0);
  // Leaving the loop closes the stream.
  for await (const chunk of stream) {
    head = Buffer.concat([head, Buffer.from(chunk as Uint8Array)]);
    if (head.length >= bytes) break;
  }
  return head.subarray(0, bytes);
}

/** A stored message as binary data. */
export async function downloadMessage(
  context: IExecuteFunctions | IWebhookFunctions,
  message: BlobRef,
  itemIndex?: number,
): Promise<IBinaryData> {
  const { body } = await callApi(context, {
    method: 'GET',
    path: `/v1/blobs/${message.key.split('/').map(encodeURIComponent).join('/')}`,
    encoding: 'stream',
    timeout: UPLOAD_TIMEOUT,
    ...(itemIndex === undefined ? {} : { itemIndex }),
  });
  // RFC 5322 messages: the type under which mail programs open them.
  return context.helpers.prepareBinaryData(
    body as Parameters<typeof context.helpers.prepareBinaryData>[0],
    'message.eml',
    'message/rfc822',
  );
}

/**
 * A reference as a parameter gives it: an object, or its JSON.
 * @throws NodeOperationError when it is none
 */
export function toBlobRef(context: IExecuteFunctions, value: unknown, itemIndex: number): BlobRef {
  const ref = (typeof value === 'string' ? parse(value) : value) as Partial<BlobRef> | null | undefined;
  if (typeof ref === 'object' && ref !== null && typeof ref.key === 'string' && typeof ref.sha256 === 'string')
    return { key: ref.key, sha256: ref.sha256, size: Number(ref.size) };
  throw new NodeOperationError(context.getNode(), 'There is no message in this item.', {
    itemIndex,
    description:
      'Message must be a reference such as {{ $json.message }} of Receive Mail or of an earlier Switchyard node. To use a file, set Message Source to Binary Field.',
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
