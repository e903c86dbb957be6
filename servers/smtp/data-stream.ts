/**
 * How the bytes after DATA become a message. smtp-server's own way takes a turn of the event loop and a write of a few
 * bytes for every line that begins with a dot: a message of 25 MiB of dots holds every session for a minute.
 */
import type { SMTPServer } from 'smtp-server';
import type { SMTPStream } from 'smtp-server/lib/smtp-stream.js';
import { createDataReader, type DataReader } from '../../protocols/mail/data-reader.ts';

type Connection = SMTPServer['connections'] extends Set<infer One> ? One : never;

/** Parts of smtp-server that are not in its types; the version is pinned, and tests cover each use. */
interface Internals {
  _parser: SMTPStream | false;
  _createParser(): SMTPStream;
}

/**
 * Puts the house's reader into a connection, before its first command.
 * @param tooEarly is called when the client sends its message without waiting for the answer to DATA
 */
export function readDataOf(connection: Connection, tooEarly: () => void): void {
  const internals = connection as unknown as Internals;
  if (internals._parser) useReader(internals._parser, tooEarly);
  // STARTTLS makes another one.
  const create = internals._createParser.bind(connection);
  internals._createParser = () => useReader(create(), tooEarly);
}

function useReader(parser: SMTPStream, tooEarly: () => void): SMTPStream {
  let reader: DataReader;
  let answered = false;
  const start = parser.startDataMode.bind(parser);
  parser.startDataMode = (maxBytes) => {
    reader = createDataReader();
    answered = false;
    // What came in one packet with DATA is read in this turn already.
    setImmediate(() => (answered = true));
    return start(maxBytes);
  };
  parser._feedDataStream = (chunk, done) => {
    if (!answered) {
      tooEarly();
      return done();
    }
    const { data, rest } = reader.push(chunk);
    parser._countDataBytes(data.length);
    if (rest !== null) return parser._endDataMode(data, rest, done);
    const stream = parser._dataStream;
    if (data.length === 0 || !stream?.writable || stream.write(data)) return done();
    // A stream that the receiver destroys never drains, it only closes.
    const go = (): void => {
      stream.off('drain', go);
      stream.off('close', go);
      done();
    };
    stream.on('drain', go);
    stream.on('close', go);
  };
  return parser;
}
