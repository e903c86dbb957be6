/**
 * The lock of long jobs while its parts die: the worker in each phase, a worker that was only paused, the Temporal
 * server. Never two at a time, no request lost, no key stuck.
 */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { oneAtATimeId } from '../../workflows/jobs/contract.ts';
import { sharedTemporal } from '../setup/temporal.ts';
import { eventually } from '../support/house.ts';
import { replayEnded } from '../support/history.ts';
import { FINAL, openJobBench, runsOf, type JobBench } from '../support/jobs/bench.ts';
import { onEachStore, type JobStore } from '../support/jobs/stores.ts';
import { startOwnTemporal, type OwnTemporal } from '../support/jobs/temporal.ts';

const TIMEOUT = 240_000;

onEachStore((store) => describe('a worker is killed', () => killsOf(store)));

function killsOf(store: JobStore): void {
  const benches: JobBench[] = [];
  const open = async (): Promise<JobBench> => {
    const bench = await openJobBench(await sharedTemporal(), { jobs: { cleanUp: '60s' }, records: store.records() });
    benches.push(bench);
    return bench;
  };
  afterAll(() => Promise.all(benches.map((bench) => bench.close())));

  /** The first job works until a second one takes its place; the worker is killed at `moment`, and another comes. */
  async function killAt(
    moment: (bench: JobBench, key: string, first: string) => Promise<void>,
    first: { cleanUp?: number; deaf?: number } = {},
  ): Promise<{ bench: JobBench; key: string; jobs: [string, string] }> {
    const bench = await open();
    const key = randomUUID();
    const worker = await bench.startWorker();
    const one = await bench.ask(key, { work: -1, cleanUp: 30, ...first });
    await bench.beating(key, one.job.id, 'work');
    const two = await bench.ask(key, { work: 5 });
    await moment(bench, key, one.job.id);
    await bench.kill(worker);
    await bench.startWorker();
    const ends = [await bench.job(one.job.id, ...FINAL), await bench.job(two.job.id, ...FINAL)];
    expect(ends.map(({ state, errorCode }) => [state, errorCode])).toEqual([
      ['cancelled', 'job.replaced'],
      ['done', null],
    ]);
    expect(runsOf(bench.beats(key))).toEqual([one.job.id, two.job.id]);
    await bench.idle(key);
    return { bench, key, jobs: [one.job.id, two.job.id] };
  }

  it.concurrent(
    'while nothing runs: what is asked for meanwhile starts with the next worker',
    { timeout: TIMEOUT },
    async () => {
      const bench = await open();
      await bench.kill(await bench.startWorker());
      const key = randomUUID();
      const asked = [await bench.ask(key), await bench.ask(key)];
      expect(asked.map(({ isHeard }) => isHeard)).toEqual([true, true]);
      await bench.startWorker();
      const ends = await Promise.all(asked.map(({ job }) => bench.job(job.id, ...FINAL)));
      expect(ends.map(({ state }) => state)).toEqual(['superseded', 'done']);
      await bench.idle(key);
    },
  );

  it.concurrent('while it works: the next worker goes on with the same job', { timeout: TIMEOUT }, async () => {
    const bench = await open();
    const worker = await bench.startWorker();
    const key = randomUUID();
    const { job } = await bench.ask(key, { work: 100 });
    await bench.beating(key, job.id, 'work');
    await bench.kill(worker);
    await bench.startWorker();
    expect((await bench.job(job.id, ...FINAL)).state).toBe('done');
    const beats = bench.beats(key);
    expect(new Set(beats.map(({ attempt }) => attempt)).size).toBe(2);
    expect(runsOf(beats)).toEqual([job.id]);
    await bench.idle(key);
  });

  it.concurrent('while the job has yet to hear that it is to stop', { timeout: TIMEOUT }, async () => {
    await killAt((bench, _, first) => bench.job(first, 'cancelling').then(() => undefined), { deaf: 400 });
  });

  it.concurrent('while it cleans up', { timeout: TIMEOUT }, async () => {
    const { bench, key, jobs } = await killAt((bench, key, first) => bench.beating(key, first, 'clean-up'), {
      cleanUp: 200,
    });
    const cleaning = bench.beats(key).filter(({ job, phase }) => job === jobs[0] && phase === 'clean-up');
    expect(new Set(cleaning.map(({ attempt }) => attempt)).size).toBe(2);
  });

  it.concurrent('between the end of one job and the start of the next', { timeout: TIMEOUT }, async () => {
    let between = 0;
    let tries = 0;
    for (; tries < 5 && between === 0; tries += 1) {
      const atKill = { beats: 0 };
      const { bench, key, jobs } = await killAt(
        async (bench, key, first) => {
          // Not by `job`, which looks ten times a second: this moment is short.
          for (;;) {
            const job = await bench.records.jobs.get(first);
            if (job?.state === 'cancelled') break;
          }
          atKill.beats = bench.beats(key).length;
        },
        { cleanUp: 1 },
      );
      const before = bench.beats(key).slice(0, atKill.beats);
      if (!before.some(({ job }) => job === jobs[1])) between += 1;
    }
    console.log(`killed between two jobs: ${between} of ${tries}`);
    expect(between).toBeGreaterThan(0);
  });

  // It takes over a minute, and asks nothing of the records but time. Not registered for the others: none may be skipped.
  const onFirst = store.isFirst ? it.concurrent : () => undefined;
  onFirst(
    'or only paused for longer than its lease: it does nothing more when it wakes',
    { timeout: TIMEOUT },
    async () => {
      const bench = await open();
      const paused = await bench.startWorker();
      const key = randomUUID();
      const { job } = await bench.ask(key, { work: -1 });
      await bench.beating(key, job.id, 'work');
      paused.kill('SIGSTOP');
      await bench.startWorker();
      const attempts = () => new Set(bench.beats(key).map(({ attempt }) => attempt)).size;
      await eventually(() => attempts() === 2, 'another worker has taken over', 120_000);
      const woken = bench.beats(key).length;
      paused.kill('SIGCONT');
      await eventually(() => bench.beats(key).length > woken + 100, 'the other goes on', 120_000);
      const { job: next } = await bench.ask(key);
      expect((await bench.job(next.id, ...FINAL)).state).toBe('done');
      expect(runsOf(bench.beats(key))).toEqual([job.id, next.id]);
      await bench.idle(key);
    },
  );
}

describe('the Temporal server', () => {
  let temporal: OwnTemporal;
  let bench: JobBench;
  beforeAll(async () => {
    // So few events that a lock hands over to a new run of itself after every second job or so.
    temporal = await startOwnTemporal(['limit.historyCount.suggestContinueAsNew=30']);
    bench = await openJobBench(temporal.address, { jobs: { cleanUp: '60s' } });
    await bench.startWorker();
  });
  afterAll(async () => {
    await bench?.close();
    await temporal?.close();
  });

  it(
    'asks the lock to continue as new while requests go on coming: none is lost, each has its end',
    { timeout: TIMEOUT },
    async () => {
      const key = randomUUID();
      const asked = [];
      for (let round = 0; round < 25; round += 1) {
        const { job } = await bench.ask(key, { work: 3 });
        asked.push(job.id);
        // Some come while it works, some while it ends, some while it hands over.
        if (round % 3 > 0) await bench.job(job.id, ...FINAL);
      }
      const ends = await Promise.all(asked.map((id) => bench.job(id, ...FINAL)));
      expect(ends.at(-1)?.state).toBe('done');
      for (const { state } of ends) expect(['done', 'cancelled', 'superseded']).toContain(state);
      runsOf(bench.beats(key));
      await bench.idle(key);
      const query = `WorkflowId = '${oneAtATimeId(bench.desk.taskQueue, key)}' AND ExecutionStatus = 'ContinuedAsNew'`;
      const handedOver = await eventually(async () => {
        const runs = [];
        for await (const run of bench.client.workflow.list({ query })) runs.push(run);
        return runs.length > 0 && runs;
      }, 'a run that continued as new');
      const handle = bench.client.workflow.getHandle(oneAtATimeId(bench.desk.taskQueue, key), handedOver[0]?.runId);
      await replayEnded(handle, 'oneAtATime.continued-as-new');
    },
  );

  it.each([
    ['works', 'work', 30],
    ['cleans up', 'clean-up', 200],
  ] as const)(
    'is killed while a job %s: requests are kept, and all comes to its end',
    { timeout: TIMEOUT },
    async (_, phase, cleanUp) => {
      const key = randomUUID();
      const first = await bench.ask(key, { work: -1, cleanUp });
      await bench.beating(key, first.job.id, 'work');
      if (phase === 'clean-up') await bench.ask(key, { work: 1 });
      await bench.beating(key, first.job.id, phase);
      await temporal.kill();
      const meanwhile = [await bench.ask(key, { work: 3 }), await bench.ask(key, { work: 3 })];
      expect(meanwhile.map(({ isHeard, job }) => [isHeard, job.state])).toEqual([
        [false, 'waiting'],
        [false, 'waiting'],
      ]);
      await temporal.start();
      await eventually(
        () =>
          bench.sweep().then(
            () => true,
            () => false,
          ),
        'a sweep that meets the server',
      );
      const ends = await Promise.all([first, ...meanwhile].map(({ job }) => bench.job(job.id, ...FINAL)));
      expect(ends.map(({ state }) => state)).toEqual(['cancelled', 'superseded', 'done']);
      expect(runsOf(bench.beats(key))).toEqual([first.job.id, meanwhile[1]?.job.id]);
      await bench.idle(key);
    },
  );
});
