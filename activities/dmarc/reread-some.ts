/** Reads stored reports anew into a generation of answers, some of them a step; with the last one the new answers count. */
import { z } from 'zod';
import { defineStep } from '../step.ts';
import type { Dependencies } from '../dependencies.ts';
import { inJob, type JobWork } from '../jobs/in-job.ts';
import { leftBy, LostWorkers, wordsOfPace } from './lost-worker.ts';
import { leaveReport, rereadReport } from './reread-report.ts';
import { goOn, workerLostWords, type Pace } from '../../protocols/dmarc/lost-worker.ts';
import { inLanes, type Turn } from './turns.ts';
import { PermanentError, TemporaryError } from '../../protocols/errors.ts';
import type { DmarcReport } from '../../stores/records/dmarc/port.ts';

/** Reports that are asked for at once. */
const BATCH = 100;
/** ms of one step: what the death of a worker costs at most, and what a history of an hour has in events. */
const BUDGET = 20_000;
/** Refused reports that the log names, and as many that are kept; refused ones are in quarantine. */
const NAMED = 100;

export const JobId = z.string().describe('Id of the job.');
export const Position = z.object({
  generation: z.number().int(),
  after: z.string().nullable().describe('Id of the last report that was looked at.'),
  done: z.number().int(),
  refused: z.number().int(),
  kept: z.number().int().default(0).describe('Reports whose old answer stays, since their reading ends workers.'),
});
export type RereadPosition = z.output<typeof Position>;

export const rereadSome = defineStep({
  name: 'dmarc.rereadSome',
  summary: 'Read some of the stored reports anew; with the last one the new answers count.',
  input: Position.extend({ job: JobId, lost: LostWorkers }),
  output: Position.extend({ isCurrent: z.boolean().describe('All are read, and the answers are the new ones.') }),
  needs: ['configuration', 'blobs', 'records'],
  takes: 'long',
  repeat: 'safe',
  scope: 'dmarc:write',
  internal: true,
  errors: ['blob.missing', 'dmarc.generation_over', 'records.unavailable', 'blob.unavailable'],
  async run({ job, lost, ...begin }, dependencies, step) {
    return inJob(job, dependencies.records, step, async (at) => {
      const { position, pace } = goOn(begin, lost, leftBy(at, Position));
      if (pace !== 'together') await at.log(wordsOfPace(lost, pace));
      return fill(position, pace, dependencies, at);
    });
  },
});

async function fill(
  from: RereadPosition,
  pace: Pace,
  dependencies: Pick<Dependencies, 'configuration' | 'blobs' | 'records'>,
  at: JobWork,
): Promise<RereadPosition & { isCurrent: boolean }> {
  const { generations, queries } = dependencies.records.dmarc;
  const now = { ...from };
  // Of every day; what comes in meanwhile makes it a few more.
  const total = (await queries.domains('0000-01-01')).reduce((sum, { reports }) => sum + reports, 0);
  const show = () => at.progress({ done: now.done, total, words: wordsOf(now) });
  show();
  const begin = (isAlone: boolean) => at.place({ position: now, isAlone });
  const until = Date.now() + BUDGET;
  while (Date.now() < until) {
    at.check();
    const most = { together: BATCH, 'one by one': BATCH, one: 1, aside: 1 }[pace];
    const batch = await generations.missing(now.generation, now.after ?? undefined, most);
    if (pace === 'together') await begin(false);
    if (batch.length === 0) {
      const left = await generations.switchTo(now.generation);
      if (left === 0) {
        at.progress({ done: total, total, words: wordsOf(now) });
        return { ...now, isCurrent: true };
      }
      // They came in while these were read; their ids may lie before the last one.
      now.after = null;
    }
    const read = async (report: DmarcReport, inTurn?: Turn['take']): Promise<void> => {
      at.check();
      const step = { signal: at.signal, report: () => undefined };
      const state =
        pace === 'aside'
          ? await leaveReport(report, now.generation, dependencies).catch(fatalIfOver)
          : await rereadReport(report, now.generation, dependencies, step, inTurn).catch(fatalIfOver);
      now.done += 1;
      if (state !== 'published') {
        now[state] += 1;
        if (now[state] <= NAMED) await at.log(WORDS[state](report));
      }
      show();
    };
    if (pace === 'together') await inLanes(batch, (report, turn) => read(report, turn.take));
    else
      for (const report of batch) {
        await begin(true);
        await read(report);
        now.after = report.id;
      }
    now.after = batch.at(-1)?.id ?? now.after;
    // Whatever ended the worker was among them, and it is not known of what comes next.
    if (pace !== 'together' && batch.length > 0) break;
  }
  return { ...now, isCurrent: false };
}

const WORDS = {
  refused: ({ id, domain }: DmarcReport) => `Report ${id} of ${domain} is not taken any more.`,
  kept: ({ id, domain }: DmarcReport) =>
    `Report ${id} of ${domain} could not be read anew, and its old answer stays. ${workerLostWords()}`,
};

/** Another build has begun a generation of its own: to try again is to fail again. */
function fatalIfOver(thrown: unknown): never {
  if (!(thrown instanceof TemporaryError) || thrown.code !== 'dmarc.generation_over') throw thrown;
  const { code, message, details } = thrown;
  throw new PermanentError({ code, message, fix: 'Run switchyard dmarc reparse again.', details, cause: thrown });
}

const wordsOf = ({ refused, kept }: RereadPosition): string =>
  [
    'reports read anew',
    refused > 0 && `${refused.toLocaleString('en')} of them now in quarantine`,
    kept > 0 && `${kept.toLocaleString('en')} left as they were`,
  ]
    .filter(Boolean)
    .join(', ');
