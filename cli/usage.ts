/** A command line that was typed wrong; the process ends with status 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** @param help of the command, which is what to type instead */
export const typedWrong = (help: string): UsageError => new UsageError(`Write it like this:\n${help}`);

/** @returns the exit status */
export function printHelp(help: string): number {
  process.stdout.write(help);
  return 0;
}
