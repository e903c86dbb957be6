/** One long step that is being shown. */
export interface ProgressStep {
  /** What it is at now, such as the module being compiled; shown beside the elapsed time. */
  detail(text: string): void;
  /** Ends the step; says how long it took when that was noticeable. `text` replaces the title. */
  done(text?: string): void;
  /** Ends the step without a word: the error that follows says it. */
  fail(): void;
}
export interface Progress {
  step(title: string): ProgressStep;
  /** A line of its own, printed above a running step. */
  line(text: string): void;
}
/** Shows long steps on a terminal as one moving line, elsewhere as plain lines. */
export function createProgress(stream?: NodeJS.WritableStream & { isTTY?: boolean; columns?: number }): Progress;
/** Shows nothing: for tests and `--quiet`. */
export const silentProgress: Progress;
/** `4.1 s`, `34 s` or `3 min 12 s`. */
export function elapsedText(milliseconds: number): string;
