/** The activity that ends another run: it needs the Temporal client, which steps do not know. */
import { WorkflowNotFoundError, type Client } from '@temporalio/client';

/** ms for the answer: below the heartbeat time-out, since it beats no heart. */
const DEADLINE = 10_000;

/** Terminates a run; one that is over already, or was never there, is fine. */
export const terminateRun = (client: Client) => ({
  async 'jobs.terminate'({ workflowId, reason }: { workflowId: string; reason: string }): Promise<void> {
    try {
      await client.withDeadline(Date.now() + DEADLINE, () => client.workflow.getHandle(workflowId).terminate(reason));
    } catch (thrown) {
      if (!(thrown instanceof WorkflowNotFoundError)) throw thrown;
    }
  },
});
