/** Reads stored reports anew into a generation of answers, some of them a step; with the last one the new answers count. */
import { z } from 'zod';
import { defineStep } from '../step.ts';
import type { Dependencies } from '../dependencies.ts';
import { inJob, type JobWork } from '../jobs/in-job.ts';
import { rereadReport } from './reread-report.ts';
import { PermanentError, TemporaryError } from '../../protocols/errors.ts';

/** Reports that are asked for at once. */
const BATCH = 100;
/** ms of one step: what the death of a worker costs at most, and what a history of an hour has in events. */
const BUDGET = 20_000;
/** Refused reports that the log names; all are in quarantine. */
const NAMED = 100;

export const JobId = z.string().describe('Id of the job.');
export const Position = z.object({
  generation: z.number().int(),
  after: z.string().nullable().describe('Id of the last report that was looked at.'),
  done: z.number().int(),
  refused: z.number().int(),
});
export type RereadPosition = z.output<typeof Position>;

export const rereadSome = defineStep({
  name: 'dmarc.rereadSome',
  summary: 'Read some of the stored reports anew; with the last one the new answers count.',
  input: Position.extend({ job: JobId }),
  output: Position.extend({ isCurrent: z.boolean().describe('All are read, and the answers are the new ones.') }),
  needs: ['configuration', 'blobs', 'records'],
  takes: 'long',
  repeat: 'safe',
  scope: 'dmarc:write',
  internal: true,
  errors: ['blob.missing', 'dmarc.generation_over', 'records.unavailable', 'blob.unavailable'],
  async run({ job, ...position }, dependencies, step) {
    return inJob(job, dependencies.records, step, (at) => fill(position, dependencies, at));
  },
});

async function fill(
  from: RereadPosition,
  dependencies: Pick<Dependencies, 'configuration' | 'blobs' | 'records'>,
  at: JobWork,
): Promise<RereadPosition & { isCurrent: boolean }> {
  const { generations, queries } = dependencies.records.dmarc;
  const now = { ...from };
  // Of every day; what comes in meanwhile makes it a few more.
  const total = (await queries.domains('0000-01-01')).reduce((sum, { reports }) => sum + reports, 0);
  const show = () => at.progress({ done: now.done, total, words: wordsOf(now) });
  show();
  const until = Date.now() + BUDGET;
  while (Date.now() < until) {
    at.check();
    const batch = await generations.missing(now.generation, now.after ?? undefined, BATCH);
    if (batch.length === 0) {
      const left = await generations.switchTo(now.generation);
      if (left === 0) {
        at.progress({ done: total, total, words: wordsOf(now) });
        return { ...now, isCurrent: true };
      }
      // They came in while these were read; their ids may lie before the last one.
      now.after = null;
    }
    for (const report of batch) {
      at.check();
      const state = await rereadReport(report, now.generation, dependencies, {
        signal: at.signal,
        report: () => undefined,
      }).catch(fatalIfOver);
      now.after = report.id;
      now.done += 1;
      if (state === 'refused') {
        now.refused += 1;
        if (now.refused <= NAMED) await at.log(`Report ${report.id} of ${report.domain} is not taken any more.`);
      }
      show();
    }
  }
  return { ...now, isCurrent: false };
}

/** Another build has begun a generation of its own: to try again is to fail again. */
function fatalIfOver(thrown: unknown): never {
  if (!(thrown instanceof TemporaryError) || thrown.code !== 'dmarc.generation_over') throw thrown;
  const { code, message, details } = thrown;
  throw new PermanentError({ code, message, fix: 'Run switchyard dmarc reparse again.', details, cause: thrown });
}

const wordsOf = ({ refused }: RereadPosition): string =>
  refused === 0 ? 'reports read anew' : `reports read anew, ${refused.toLocaleString('en')} of them now in quarantine`;
