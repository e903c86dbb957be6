/** How a step over many reports goes on where workers were lost at it: protocols/dmarc/lost-worker.ts has the rule. */
import { z } from 'zod';
import type { JobWork } from '../jobs/in-job.ts';
import { MOST_LOST, type Pace, type Place } from '../../protocols/dmarc/lost-worker.ts';

export const LostWorkers = z.number().int().default(0).describe('Workers that were lost at this step in a row.');

/** What an attempt before this one was at when its worker was lost. */
export function leftBy<Position extends z.ZodType>(
  { left }: Pick<JobWork, 'left'>,
  position: Position,
): Place<z.output<Position>> | undefined {
  return z.object({ position, isAlone: z.boolean() }).safeParse(left).data as Place<z.output<Position>> | undefined;
}

/** For the log of the job. */
export function wordsOfPace(lost: number, pace: Exclude<Pace, 'together'>): string {
  const words = {
    'one by one': 'what it was at is read one by one',
    one: 'what it was at is read alone',
    aside: 'what it was at is set aside',
  }[pace];
  return `The worker was lost, ${lost} of ${MOST_LOST} times: ${words}.`;
}
