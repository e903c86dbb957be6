/** What every workflow that does a job is built on: whatever becomes of the work, its clean-up runs. */
import { CancellationScope, CancelledFailure, ContinueAsNew, isCancellation } from '@temporalio/workflow';

/**
 * Runs the work, and the clean-up where the work fails or is told to stop. The clean-up itself cannot be cancelled; what
 * takes longer than `jobs.cleanUp` of the configuration is ended.
 */
export async function withCleanUp<T>(
  work: () => Promise<T>,
  cleanUp: (why: { isStopped: boolean }) => Promise<unknown>,
): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    if (thrown instanceof ContinueAsNew) throw thrown;
    const isStopped = CancellationScope.current().consideredCancelled;
    await CancellationScope.nonCancellable(() => cleanUp({ isStopped }));
    // A step that was told to stop and whose worker then died has a time-out for its end, and is not tried again.
    throw isStopped && !isCancellation(thrown) ? new CancelledFailure('stopped') : thrown;
  }
}
