/** Bytes of an XML document to text, in whatever encoding it is; what cannot be read becomes U+FFFD and a warning. */
import { TextDecoder } from 'node:util';
import { byteOrderMark } from './detect.ts';
import type { Warnings } from './warnings.ts';

/** The XML declaration stands at the very beginning and is short. */
const DECLARATION_BYTES = 256;
const REPLACEMENT = '\ufffd';

export class XmlDecoder {
  readonly #warnings: Warnings;
  #decoder: TextDecoder | undefined;
  #head: Uint8Array = new Uint8Array(0);

  constructor(warnings: Warnings) {
    this.#warnings = warnings;
  }

  write(chunk: Uint8Array): string {
    if (this.#decoder) return this.#decode(this.#decoder, chunk);
    this.#head = this.#head.length === 0 ? chunk : Buffer.concat([this.#head, chunk]);
    return this.#head.length < DECLARATION_BYTES ? '' : this.#begin();
  }

  end(): string {
    const rest = this.#decoder ? '' : this.#begin();
    return rest + this.#decode(this.#decoder as TextDecoder);
  }

  #begin(): string {
    this.#decoder = this.#choose();
    const head = this.#head;
    this.#head = new Uint8Array(0);
    // Reporters write declarations that are no XML, or blanks before them. What one may say is known by now.
    return this.#decode(this.#decoder, head).replace(/^\s*(<\?xml\s[^>]{0,200}>)?/, '');
  }

  #choose(): TextDecoder {
    const mark = byteOrderMark(this.#head);
    if (mark) return new TextDecoder(mark);
    const start = Buffer.from(this.#head.subarray(0, DECLARATION_BYTES)).toString('latin1');
    const label = /^\s*<\?xml[^>]*?encoding\s*=\s*["']([^"'>]*)["']/.exec(start)?.[1] ?? 'utf-8';
    try {
      const decoder = new TextDecoder(label);
      // The declaration was read in ASCII: these bytes are no UTF-16, whatever it says.
      if (!decoder.encoding.startsWith('utf-16')) return decoder;
    } catch {
      // No such encoding.
    }
    this.#warnings.add('unknown_encoding', '', label);
    return new TextDecoder('utf-8');
  }

  /** A report that holds U+FFFD already was damaged before it was sent: it gets the same warning. */
  #decode(decoder: TextDecoder, chunk?: Uint8Array): string {
    const text = chunk ? decoder.decode(chunk, { stream: true }) : decoder.decode();
    const at = text.indexOf(REPLACEMENT);
    if (at >= 0) this.#warnings.add('invalid_encoding', '', text.slice(Math.max(0, at - 20), at + 1));
    return text;
  }
}
