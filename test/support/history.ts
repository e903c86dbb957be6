/** Histories of runs that happened: they replay with the code as it is, and are kept for later builds. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { WorkflowHandle } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { Worker } from '@temporalio/worker';
import { workflowBundle } from '../../servers/worker/bundle.ts';
import { eventually } from './house.ts';

export const HISTORIES = join(import.meta.dirname, '../fixtures/histories');

/**
 * Waits for the end of a run and replays its history. `RECORD_HISTORIES=1` keeps it for test/workflows/replay.test.ts.
 * @param name `<workflow>.<ending>`
 */
export async function replayEnded(handle: WorkflowHandle, name: string): Promise<void> {
  await eventually(async () => (await handle.describe()).status.name !== 'RUNNING', 'the end of the run');
  const history = await handle.fetchHistory();
  await Worker.runReplayHistory({ workflowBundle: await workflowBundle() }, history, handle.workflowId);
  if (!process.env.RECORD_HISTORIES) return;
  // Where the code lay when it was recorded is nobody's business.
  const kept = JSON.parse(historyToJSON(history), (key, value: unknown) =>
    key === 'stackTrace' ? '' : value,
  ) as unknown;
  await writeFile(join(HISTORIES, `${name}.json`), `${JSON.stringify(kept, null, 1)}\n`);
}
