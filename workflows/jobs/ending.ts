/** How a job's run ended, as its record says it. */
import {
  ApplicationFailure,
  isCancellation,
  TerminatedFailure,
  TimeoutFailure,
  type TemporalFailure,
} from '@temporalio/workflow';

export interface JobEnd {
  state: 'done' | 'failed' | 'cancelled';
  code: string | null;
  text: string | null;
}

/** Code of a job whose run was terminated. */
export const TERMINATED = 'job.terminated';
/** Characters of the sentence in the record. */
const TEXT = 500;

/** The end that a failure of the child workflow means. A cancellation has its reason in the record already. */
export function endOf(thrown: unknown): JobEnd {
  if (isCancellation(thrown)) return { state: 'cancelled', code: null, text: null };
  const cause = rootOf(thrown);
  if (cause instanceof TerminatedFailure) return failed(TERMINATED, 'Its run was terminated.');
  if (cause instanceof TimeoutFailure) return failed('job.timed_out', `Its run ran out of time: ${cause.message}`);
  const code = cause instanceof ApplicationFailure && /^\w+\.\w+$/.test(cause.type ?? '') ? cause.type : undefined;
  return failed(code ?? 'job.failed', cause instanceof Error ? cause.message : String(cause));
}

const failed = (code: string, text: string): JobEnd => ({ state: 'failed', code, text: text.slice(0, TEXT) });

/** Failures of the child and of its activity wrap what really happened. */
function rootOf(thrown: unknown): unknown {
  let cause = thrown;
  while (cause instanceof Error && !(cause instanceof ApplicationFailure)) {
    const inner = (cause as TemporalFailure).cause;
    if (!(inner instanceof Error)) break;
    cause = inner;
  }
  return cause;
}
