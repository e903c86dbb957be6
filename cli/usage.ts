/** A command line that was typed wrong; the process ends with status 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
