/** A new message from the fields of the item, with files of it as attachments. */
import { NodeOperationError, type IDataObject, type IExecuteFunctions } from 'n8n-workflow';
import { uploadBinary } from '../../shared/blobs.ts';

interface MoreFields {
  cc?: string;
  bcc?: string;
  replyTo?: string;
  attachments?: string;
  headers?: { header?: { name: string; value: string }[] };
}

export const compose = { step: 'mail.compose', input: newMail };
export const send = { step: 'mail.send', input: newMail };

async function newMail(context: IExecuteFunctions, itemIndex: number): Promise<IDataObject> {
  const field = (name: string): string => ((context.getNodeParameter(name, itemIndex) as string | null) ?? '').trim();
  const format = field('emailFormat');
  const more = context.getNodeParameter('additionalFields', itemIndex, {}) as MoreFields;
  const text = format === 'html' ? '' : field('text');
  const html = format === 'text' ? '' : field('html');
  const headers = (more.headers?.header ?? []).filter(({ name }) => name.trim() !== '');
  const attachments = [];
  for (const property of listOf(more.attachments)) attachments.push(await attachmentOf(context, itemIndex, property));
  return {
    from: field('from'),
    to: addresses(context, field('to'), itemIndex),
    subject: field('subject'),
    ...(text ? { text } : {}),
    ...(html ? { html } : {}),
    ...(more.cc?.trim() ? { cc: listOf(more.cc) } : {}),
    ...(more.bcc?.trim() ? { bcc: listOf(more.bcc) } : {}),
    ...(more.replyTo?.trim() ? { replyTo: more.replyTo.trim() } : {}),
    ...(attachments.length > 0 ? { attachments } : {}),
    ...(headers.length > 0
      ? { headers: Object.fromEntries(headers.map(({ name, value }) => [name.trim(), value])) }
      : {}),
  };
}

async function attachmentOf(context: IExecuteFunctions, itemIndex: number, property: string): Promise<IDataObject> {
  const { blob, binary } = await uploadBinary(context, itemIndex, property);
  return { content: blob, filename: binary.fileName ?? property, contentType: binary.mimeType };
}

function addresses(context: IExecuteFunctions, value: string, itemIndex: number): string[] {
  const list = listOf(value);
  if (list.length > 0) return list;
  throw new NodeOperationError(context.getNode(), 'There is no address to send to.', {
    itemIndex,
    description: 'Fill in To: one or more addresses, with commas between them.',
  });
}

/** Split at commas and semicolons, but not within the quotes of a display name (RFC 5322, 3.4). */
function listOf(value: string | undefined): string[] {
  return (value?.match(/(?:"(?:[^"\\]|\\.)*"|[^",;])+/g) ?? []).map((one) => one.trim()).filter((one) => one !== '');
}
