/** Structured logs: JSON lines on stderr, one logger a process. Secrets never get this far; the redaction is the second lock. */
import { pino, type Logger } from 'pino';

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
    pino.destination({ fd: 2, sync: true }),
  );
}
