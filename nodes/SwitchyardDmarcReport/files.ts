/** Which files of an item are mails and which are reports: by what their bytes are, for names and types are often wrong. */
import { NodeOperationError, type IExecuteFunctions } from 'n8n-workflow';
import { headOf } from '../shared/blobs.ts';

export type Kind = 'mail' | 'report' | 'other';

export interface ItemFile {
  /** Its binary field. */
  property: string;
  kind: Kind;
}

/** Longer than the first field of a header is where mail is real. */
const HEAD_BYTES = 512;

/**
 * The files to read: those named, or all that the item has. Pictures and texts beside a report are left out; where there
 * is nothing but these they are kept, since a report that a mailer has spoilt must not go unseen.
 * @param names binary fields with commas between them; empty for all
 * @throws NodeOperationError the item has none of them
 */
export async function filesOf(context: IExecuteFunctions, itemIndex: number, names: string): Promise<ItemFile[]> {
  const there = Object.keys(context.getInputData()[itemIndex]?.binary ?? {});
  const named = names
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
  const missing = named.find((name) => !there.includes(name));
  if (missing !== undefined || there.length === 0)
    throw new NodeOperationError(
      context.getNode(),
      missing === undefined ? 'This item has no file.' : `This item has no file in the field "${missing}".`,
      {
        itemIndex,
        description:
          'A report comes in a binary field: the attachment of a mail trigger (with Download Attachments on), a whole mail, or a file that was read.',
      },
    );
  const files: ItemFile[] = [];
  for (const property of named.length > 0 ? named : there)
    files.push({ property, kind: kindOf(await headOf(context, itemIndex, property, HEAD_BYTES)) });
  const wanted = files.filter(({ kind }) => kind !== 'other');
  return named.length > 0 || wanted.length === 0 ? files : wanted;
}

/** What the first bytes of a file are the beginning of. */
export function kindOf(head: Uint8Array): Kind {
  const [first, second] = head;
  // A zip (PKWARE APPNOTE, 4.3.7) and a gzip (RFC 1952, 2.3.1).
  if ((first === 0x50 && second === 0x4b) || (first === 0x1f && second === 0x8b)) return 'report';
  const text = decode(head).trimStart();
  if (/^<(!doctype\s+html|html|head|body)\b/i.test(text)) return 'other';
  // XML, the JSON of a TLS report, and the machine's part of a failure report (RFC 5965, 3.1).
  if (/^(<|\{|\[)/.test(text) || /^(feedback-type|user-agent|version)[ \t]*:/i.test(text)) return 'report';
  // A header field (RFC 5322, 2.2), or the line that mailboxes put before it.
  return /^(>?From |[\x21-\x39\x3b-\x7e]+[ \t]*:)/.test(text) ? 'mail' : 'other';
}

function decode(head: Uint8Array): string {
  const isUtf16 = (head[0] === 0xff && head[1] === 0xfe) || (head[0] === 0xfe && head[1] === 0xff);
  if (!isUtf16)
    return Buffer.from(head)
      .toString('utf8')
      .replace(/^\ufeff/, '');
  // The order of the bytes does not matter for what is looked for: all of it is ASCII.
  return Buffer.from(head.filter((byte) => byte !== 0 && byte < 0x80)).toString('latin1');
}
