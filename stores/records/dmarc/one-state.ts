/**
 * An answer is made of one state of the records: whatever is published while its statements run, it has all of a report or
 * nothing of it. The sums by address of a large report follow its publication in transactions of their own, since one for
 * all of them would keep the mail waiting for the lock: who asks meanwhile waits for them, and lends a hand, so that
 * nobody waits for a publisher that was killed.
 */
import type { Database } from '../tables.ts';
import { currentGeneration } from './generation.ts';
import { finishSums } from './staged.ts';

/** @param answer asks of the state and of nothing else */
export async function inOneState<Answer>(
  database: Database,
  answer: (state: Database) => Promise<Answer>,
): Promise<Answer> {
  for (;;) {
    const found = await database
      .transaction()
      .setIsolationLevel('repeatable read')
      .setAccessMode('read only')
      .execute(async (state) => {
        const unfinished = await state
          .selectFrom('dmarc_staging')
          .select(['report', 'generation'])
          .where('generation', '=', currentGeneration)
          .where('summed', 'is not', null)
          .executeTakeFirst();
        return unfinished ? { unfinished } : { answer: await answer(state) };
      });
    if (!found.unfinished) return found.answer;
    await finishSums(database, found.unfinished.report, found.unfinished.generation);
  }
}
