/** The message as it is read during DATA, and the moment between its last byte and the final dot. */
import { Readable } from 'node:stream';
import type { Transmission } from './dialer.ts';

export interface MessageData {
  /** Is read from the moment the server has said 354, and ends, which sends the dot, after `beforeFinalDot`. */
  stream: Readable;
  begun(): boolean;
  dotSent(): boolean;
  /** What `open` or `beforeFinalDot` threw. */
  failure(): unknown;
  /** Resolves when no call of `beforeFinalDot` is under way: its record must not be overtaken by that of the result. */
  settled(): Promise<void>;
}

export function createData(
  message: Omit<Transmission, 'route'>,
  host: string,
  on: { progress(): void; committing(): void; dot(): void },
): MessageData {
  const state: { begun: boolean; dotSent: boolean; failure?: unknown; committing?: Promise<void> } = {
    begun: false,
    dotSent: false,
  };
  async function* read() {
    state.begun = true;
    try {
      for await (const chunk of await message.open()) {
        yield chunk as Buffer;
        on.progress();
      }
      on.committing();
      state.committing = message.beforeFinalDot(host);
      await state.committing;
    } catch (error) {
      state.failure = error;
      // A new one: nodemailer puts its own code on whatever the stream throws.
      throw new Error('the message could not be read or recorded', { cause: error });
    }
    // A connection that broke meanwhile has no dot any more.
    if (stream.destroyed) return;
    state.dotSent = true;
    on.dot();
  }
  const stream: Readable = Readable.from(read(), { objectMode: false });
  return {
    stream,
    begun: () => state.begun,
    dotSent: () => state.dotSent,
    failure: () => state.failure,
    settled: async () => void (await Promise.allSettled([state.committing])),
  };
}
