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
/** A message of nothing but short lines has millions of them: a call into the runtime costs more than a few bytes. */
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
      /** Where the bytes begin that are text and not taken yet. */
      let from = 0;
      const take = (end: number): void => {
        if (end - from > FEW) length += chunk.copy(data, length, from, end);
        else while (from < end) data[length++] = chunk[from++]!;
      };
      for (let i = 0; i < chunk.length; i++) {
        if (state === 'text') {
          // Nearly all of a message is this.
          while (i < chunk.length && chunk[i] !== CR) i++;
          if (i < chunk.length) state = 'cr';
          continue;
        }
        const byte = chunk[i]!;
        if (state === 'start' && byte === DOT) {
          take(i);
          state = 'dot';
          from = i + 1;
        } else if (state === 'dot' && byte === CR) {
          state = 'dot-cr';
          from = i + 1;
        } else if (state === 'dot-cr' && byte === LF) {
          return { data: data.subarray(0, length), rest: chunk.subarray(i + 1) };
        } else {
          // The dot was one too many after all, and its CR was text.
          if (state === 'dot-cr') data[length++] = CR;
          if (byte === CR) state = 'cr';
          else state = byte === LF && state !== 'start' && state !== 'dot' ? 'start' : 'text';
        }
      }
      take(chunk.length);
      return { data: data.subarray(0, length), rest: null };
    },
  };
}
