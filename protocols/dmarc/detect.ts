/** What bytes are, by the bytes alone: names and MIME types of report mails are wrong too often to be asked. */
export type Format = 'empty' | 'zip' | 'gzip' | 'xml' | 'html' | 'json' | 'feedback' | 'text' | 'binary';

/** So many bytes of the beginning decide. */
export const DETECT_BYTES = 512;

/**
 * @param head the first bytes, at least `DETECT_BYTES` where there are as many
 */
export function detectFormat(head: Uint8Array): Format {
  if (head.length === 0) return 'empty';
  // PKWARE APPNOTE, 4.3.7; 4.3.16 is the archive without members.
  if (head[0] === 0x50 && head[1] === 0x4b && ((head[2] === 3 && head[3] === 4) || (head[2] === 5 && head[3] === 6)))
    return 'zip';
  // RFC 1952, 2.3.1
  if (head[0] === 0x1f && head[1] === 0x8b) return 'gzip';
  // `<?`, as nearly all reports begin: no text has to be made to see it.
  if (head[0] === 0x3c && head[1] === 0x3f) return 'xml';
  const text = decodeHead(head.subarray(0, DETECT_BYTES)).trimStart();
  if (text === '') return 'empty';
  if (/^<(!doctype\s+html|html|head|body|title)\b/i.test(text)) return 'html';
  if (/^<[?!\p{L}_]/u.test(text)) return 'xml';
  if (/^[{[]/.test(text)) return 'json';
  // RFC 5965, 3.1: a field that every such part has, as good as always its first.
  if (/^feedback-type[ \t]*:/im.test(text)) return 'feedback';
  return /[\x00-\x08\x0e-\x1a]/.test(text) ? 'binary' : 'text';
}

/** The encodings that XML must be readable in (XML 1.0, appendix F). */
export function byteOrderMark(head: Uint8Array): 'utf-8' | 'utf-16le' | 'utf-16be' | undefined {
  if (head[0] === 0xef && head[1] === 0xbb && head[2] === 0xbf) return 'utf-8';
  if (head[0] === 0xff && head[1] === 0xfe) return 'utf-16le';
  if (head[0] === 0xfe && head[1] === 0xff) return 'utf-16be';
  return undefined;
}

const decodeHead = (head: Uint8Array): string => new TextDecoder(byteOrderMark(head) ?? 'utf-8').decode(head);
