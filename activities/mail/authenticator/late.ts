/** The end of a verification or a signature that takes too long, said in the thread or by whoever waits for it. */
import { TemporaryError } from '../../../protocols/errors.ts';

/** @param done `verified` or `signed` */
export function tooLate(done: string, deadline: number, cause?: unknown): TemporaryError {
  return new TemporaryError({
    code: 'mail.verification_timeout',
    message: `The message was not ${done} within ${deadline} ms.`,
    fix: 'Try again; if it stays so, look at DNS and at mail.limits.verification.',
    cause,
  });
}
