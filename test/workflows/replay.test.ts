/** Histories that an earlier build recorded replay with the code as it is: a change of order or kind of a command fails here. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { historyFromJSON } from '@temporalio/common/lib/proto-utils.js';
import { DeterminismViolationError } from '@temporalio/workflow';
import { Worker } from '@temporalio/worker';
import { expect, it } from 'vitest';
import { workflowBundle } from '../../servers/worker/bundle.ts';
import { HISTORIES } from '../support/history.ts';

const recorded = readdirSync(HISTORIES).filter((name) => name.endsWith('.json'));
const read = (name: string): { events: { eventType: string }[] } =>
  JSON.parse(readFileSync(join(HISTORIES, name), 'utf8'));

it('has a history of every ending', () => {
  expect(recorded.sort()).toEqual(
    [
      ...[
        'cancelled',
        'no-report',
        'published',
        'quarantined',
        'read-again',
        'reading-again-cancelled',
        'refused-again',
        'repeated',
        'worker-lost',
      ].map((ending) => `ingestDmarcReport.${ending}.json`),
      ...['cancelled', 'done', 'failed', 'worker-lost'].map((ending) => `importReports.${ending}.json`),
      ...['given-up', 'gone', 'taken'].map((ending) => `notifyTrigger.${ending}.json`),
      ...[
        'abandoned',
        'cancelled',
        'cancelled-in-temporal',
        'clean-up-ended',
        'continued-as-new',
        'done',
        'failed',
        'replaced',
      ].map((ending) => `oneAtATime.${ending}.json`),
      ...['cancelled', 'done', 'failed', 'worker-lost'].map((ending) => `rereadReports.${ending}.json`),
      ...[
        'cancelled',
        'deferred-in-task',
        'delivered',
        'delivered-in-task',
        'expired-with-bounce',
        'moved',
        'refused',
        'refused-in-task',
        'retried',
        'session-timer-first',
        'session-timer-in-task',
        'taken-by-n8n',
      ].map((ending) => `routeMail.${ending}.json`),
    ].sort(),
  );
});

it.for(recorded)('%s replays', async (name) => {
  await Worker.runReplayHistory(
    { workflowBundle: await workflowBundle() },
    historyFromJSON(read(name)),
    'mail/replayed',
  );
});

it('notices a history that the code would not have made', async () => {
  const history = read('routeMail.retried.json');
  const broken = { events: history.events.filter(({ eventType }) => !/TIMER/.test(eventType)) };
  // Without its timers the retried run cannot have waited.
  broken.events.forEach((event, i) => Object.assign(event, { eventId: String(i + 1) }));
  await expect(
    Worker.runReplayHistory({ workflowBundle: await workflowBundle() }, historyFromJSON(broken), 'mail/broken'),
  ).rejects.toThrow(DeterminismViolationError);
});
