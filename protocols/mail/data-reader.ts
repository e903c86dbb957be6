/**
 * The bytes after DATA as SMTP sends them: a message whose lines have their leading dot doubled, ended by CRLF.CRLF
 * (RFC 5321, 4.1.1.4 and 4.5.2). Nothing else ends it, no matter how the bytes are cut into packets: a server that
 * also takes LF.LF or CR.CR lets one message carry another.
 */

export interface DataReader {
  /**
   * Takes the next bytes.
   * @returns the bytes of the message in them, and what follows the end of the message: null while it has not come
   */
  push(chunk: Buffer): { data: Buffer; rest: Buffer | null };
}

const CR = 0x0d,
  LF = 0x0a,
  DOT = 0x2e;
const LINE_WITH_DOT = Buffer.from('\r\n.');
const FEW = 16;

/** Where the next byte stands: right after CR, at the start of a line, right after its dot, or after that and CR. */
type State = 'text' | 'cr' | 'start' | 'dot' | 'dot-cr';

/** A reader for one message. What is held back between two calls is at most `.CR`. */
export function createDataReader(): DataReader {
  let state: State = 'start';

  return {
    push(chunk) {
      // Room for a CR that was held back.
      const data = Buffer.allocUnsafe(chunk.length + 1);
      let length = 0;
      let i = 0;
      const take = (end: number): void => {
        // A message of nothing but short lines has millions of them: a call into the runtime costs more than ten bytes.
        if (end - i > FEW) {
          length += chunk.copy(data, length, i, end);
          i = end;
        } else while (i < end) data[length++] = chunk[i++]!;
      };
      while (i < chunk.length) {
        if (state === 'text') {
          // Nearly all of a message is this: one search by the runtime instead of a look at each byte.
          const found = chunk.indexOf(LINE_WITH_DOT, i);
          if (found >= 0) {
            take(found + 2);
            state = 'start';
            continue;
          }
          take(chunk.length);
          if (chunk[i - 1] === CR) state = 'cr';
          else if (chunk[i - 1] === LF && i > 1 && chunk[i - 2] === CR) state = 'start';
          break;
        }
        const byte = chunk[i]!;
        if (state === 'start' && byte === DOT) {
          state = 'dot';
          i++;
        } else if (state === 'dot' && byte === CR) {
          state = 'dot-cr';
          i++;
        } else if (state === 'dot-cr') {
          if (byte === LF) return { data: data.subarray(0, length), rest: chunk.subarray(i + 1) };
          // The dot was one too many after all, and its CR was text.
          data[length++] = CR;
          state = 'cr';
        } else if (state === 'cr' && byte === LF) {
          take(i + 1);
          state = 'start';
        } else if (byte === CR) {
          take(i + 1);
          state = 'cr';
        } else {
          // The byte after a doubled dot, too: it is text whatever it is.
          take(i + 1);
          state = 'text';
        }
      }
      return { data: data.subarray(0, length), rest: null };
    },
  };
}
