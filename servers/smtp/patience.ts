/** Sessions that take a place and bring no mail: commands that lead nowhere, and messages that drip. */
import type { SMTPServer, SMTPServerDataStream } from 'smtp-server';

type Connection = SMTPServer['connections'] extends Set<infer One> ? One : never;

/** A part of smtp-server that is not in its types; the version is pinned, and a test covers it. */
interface Internals {
  _onCommand(command: Buffer, callback?: () => void): void;
}

/**
 * Ends a session with more commands than `most` since its last message. Recipients do not count: they have limits of
 * their own.
 */
export function limitCommands(connection: Connection, most: number): void {
  const internals = connection as unknown as Internals;
  const take = internals._onCommand.bind(connection);
  let since = 0;
  internals._onCommand = (command, callback) => {
    const verb = command.toString('latin1', 0, 4).toUpperCase();
    if (verb === 'DATA') since = 0;
    else if (verb !== 'RCPT' && ++since > most)
      return connection.send(421, '4.7.0 Too many commands without a message, closing the connection');
    take(command, callback);
  };
}

/** ms between two looks. */
const LOOK_EVERY = 1_000;

/**
 * Watches a message while it comes in.
 * @param bytesPerSecond that it must have on average, after the first `grace` ms; time in which we were slow is not counted
 * @param tooSlow is called once, at most
 * @returns ends the watch
 */
export function watchRate(
  stream: SMTPServerDataStream,
  { bytesPerSecond, grace }: { bytesPerSecond: number; grace: number },
  tooSlow: () => void,
): () => void {
  let waited = 0;
  const timer = setInterval(() => {
    // What has come and was not read yet, or came to its end, is not for the sender to hurry up.
    if (stream.readableLength > 0 || stream.writableNeedDrain || stream.writableEnded) return;
    waited += LOOK_EVERY;
    if (waited <= grace || stream.byteLength >= (bytesPerSecond * waited) / 1_000) return;
    clearInterval(timer);
    tooSlow();
  }, LOOK_EVERY);
  return () => clearInterval(timer);
}
