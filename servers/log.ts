/** Structured logs: JSON lines on stderr, one logger a process. Secrets never get this far; the redaction is the second lock. */
import { pino, type Logger } from 'pino';

/** Bytes of lines that wait for a full disk to have room; what is over that is lost. */
const WAITING_BYTES = 1_048_576;

export function createLog(name: string, level: string = 'info'): Logger {
  return pino(
    {
      name,
      level,
      redact: {
        paths: [
          'privateKey',
          '*.privateKey',
          'token',
          '*.token',
          'authorization',
          '*.authorization',
          'password',
          '*.password',
        ],
        censor: '[secret]',
      },
      timestamp: pino.stdTimeFunctions.isoTime,
    },
    lines(),
  );
}

/** A log that cannot be written is no reason to end: the mail is what matters. */
function lines() {
  const destination = pino.destination({ fd: 2, sync: true, maxLength: WAITING_BYTES });
  destination.on('error', () => undefined);
  return destination;
}
