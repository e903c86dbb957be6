/** The lock of long jobs, on a real Temporal server: never two at a time, no request lost, no key stuck. */
import { randomUUID } from 'node:crypto';
import { Client, Connection } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cancelJob } from '../../servers/jobs/request.ts';
import { oneAtATimeId } from '../../workflows/jobs/contract.ts';
import { sharedTemporal } from '../setup/temporal.ts';
import { replayEnded } from '../support/history.ts';
import { eventually } from '../support/house.ts';
import { FINAL, openJobBench, runsOf, type JobBench } from '../support/jobs/bench.ts';
import { onEachStore } from '../support/jobs/stores.ts';

onEachStore((store) => {
  let bench: JobBench;
  let address: string;
  beforeAll(async () => {
    address = await sharedTemporal();
    bench = await openJobBench(address, { jobs: { cleanUp: '2s' }, records: store.records() });
    await bench.startWorker();
  });
  afterAll(() => bench?.close());

  const key = () => randomUUID();
  const cancel = (id: string) => cancelJob(bench.desk, id, 'test');
  const replays = async (name: string, of: string) => {
    await bench.idle(of);
    await replayEnded(bench.client.workflow.getHandle(oneAtATimeId(bench.desk.taskQueue, of)), `oneAtATime.${name}`);
  };

  describe('one job', () => {
    it('is done: the caller has its id at once, and its progress and log stay', async () => {
      const k = key();
      const { job, isHeard, met } = await bench.ask(k);
      expect([job.state, isHeard, met]).toEqual(['waiting', true, false]);
      const done = await bench.job(job.id, ...FINAL);
      expect(done).toMatchObject({ state: 'done', progress: { done: 4, total: 5 }, errorCode: null });
      const lines = await bench.records.jobs.lines(job.id);
      expect(lines.map(({ words }) => words)).toEqual(['Asked for by test.', 'Started.', 'Working.', 'Done.']);
      await replays('done', k);
    });

    it('fails with the code of its step', async () => {
      const k = key();
      const { job } = await bench.ask(k, { fails: true });
      expect(await bench.job(job.id, ...FINAL)).toMatchObject({
        state: 'failed',
        errorCode: 'test.broken',
        errorText: 'It broke.',
      });
      await replays('failed', k);
    });

    it('is cancelled while it runs, and cleans up', async () => {
      const k = key();
      const { job } = await bench.ask(k, { work: -1 });
      await bench.beating(k, job.id, 'work');
      expect((await cancel(job.id)).job.state).toBe('cancelling');
      expect(await bench.job(job.id, ...FINAL)).toMatchObject({
        state: 'cancelled',
        errorCode: 'job.cancelled',
        errorText: 'Cancelled by test.',
      });
      expect(bench.beats(k).at(-1)?.phase).toBe('clean-up');
      await replays('cancelled', k);
    });

    it('stays as it is when it is cancelled after its end', async () => {
      const k = key();
      const { job } = await bench.ask(k);
      const done = await bench.job(job.id, ...FINAL);
      expect((await cancel(job.id)).job).toEqual(done);
      await expect(cancel('no-id')).rejects.toMatchObject({ code: 'job.missing' });
    });

    it('that is cancelled through its run says so', async () => {
      const k = key();
      const { job } = await bench.ask(k, { work: -1 });
      await bench.beating(k, job.id, 'work');
      await bench.client.workflow.getHandle(`job/${job.id}`).cancel();
      expect(await bench.job(job.id, ...FINAL)).toMatchObject({ state: 'cancelled', errorCode: 'job.cancelled' });
      await bench.idle(k);
    });

    it('that is terminated through its run fails, and the next one starts once its step has stopped', async () => {
      const k = key();
      const { job } = await bench.ask(k, { work: -1, deaf: 40 });
      await bench.beating(k, job.id, 'work');
      await bench.client.workflow.getHandle(`job/${job.id}`).terminate('by a person');
      expect(await bench.job(job.id, ...FINAL)).toMatchObject({ state: 'failed', errorCode: 'job.terminated' });
      const next = await bench.ask(k);
      expect((await bench.job(next.job.id, ...FINAL)).state).toBe('done');
      expect(runsOf(bench.beats(k))).toEqual([job.id, next.job.id]);
      await bench.idle(k);
    });
  });

  describe('a newer request', () => {
    it('cancels the running job, waits for its clean-up, then starts', async () => {
      const k = key();
      const first = await bench.ask(k, { work: -1, cleanUp: 20 });
      await bench.beating(k, first.job.id, 'work');
      const second = await bench.ask(k);
      expect((await bench.job(second.job.id, ...FINAL)).state).toBe('done');
      expect(await bench.records.jobs.get(first.job.id)).toMatchObject({
        state: 'cancelled',
        errorCode: 'job.replaced',
        errorText: expect.stringContaining(second.job.id),
      });
      const beats = bench.beats(k);
      expect(runsOf(beats)).toEqual([first.job.id, second.job.id]);
      expect(beats.filter(({ phase }) => phase === 'clean-up')).toHaveLength(20);
      await replays('replaced', k);
    });

    it('takes the place of the one that waits, which ends as superseded and never runs', async () => {
      const k = key();
      const first = await bench.ask(k, { work: -1, cleanUp: 60 });
      await bench.beating(k, first.job.id, 'work');
      const second = await bench.ask(k);
      await bench.beating(k, first.job.id, 'clean-up');
      const third = await bench.ask(k);
      expect((await bench.job(third.job.id, ...FINAL)).state).toBe('done');
      expect(await bench.records.jobs.get(second.job.id)).toMatchObject({
        state: 'superseded',
        errorCode: 'job.superseded',
      });
      expect(runsOf(bench.beats(k))).toEqual([first.job.id, third.job.id]);
      await bench.idle(k);
    });

    it('meets the job of the same request, and joins the same job where it says so', async () => {
      const k = key();
      const parameters = { work: -1 };
      const requestId = randomUUID();
      const first = await bench.ask(k, parameters, { requestId });
      await bench.beating(k, first.job.id, 'work');
      const again = await bench.ask(k, parameters, { requestId });
      const joined = await bench.ask(k, parameters, { ifRunning: 'join' });
      expect([again, joined].map(({ job, met }) => [job.id, met])).toEqual([
        [first.job.id, true],
        [first.job.id, true],
      ]);
      const other = await bench.ask(k, { work: 3 }, { ifRunning: 'join' });
      expect((await bench.job(other.job.id, ...FINAL)).state).toBe('done');
      expect((await bench.records.jobs.get(first.job.id))?.state).toBe('cancelled');
      expect(runsOf(bench.beats(k))).toEqual([first.job.id, other.job.id]);
      await bench.idle(k);
    });

    it('that waits can be cancelled: nothing runs after the job before', async () => {
      const k = key();
      const first = await bench.ask(k, { work: -1, cleanUp: 60 });
      await bench.beating(k, first.job.id, 'work');
      const second = await bench.ask(k);
      await bench.beating(k, first.job.id, 'clean-up');
      expect((await cancel(second.job.id)).job.state).toBe('cancelled');
      await bench.job(first.job.id, 'cancelled');
      await bench.idle(k);
      expect(runsOf(bench.beats(k))).toEqual([first.job.id]);
    });

    it('is not held up by a clean-up that hangs: it is ended, its record says so, and the next one runs alone', async () => {
      const k = key();
      const first = await bench.ask(k, { work: -1, cleanUp: -1, deaf: 30 });
      await bench.beating(k, first.job.id, 'work');
      const second = await bench.ask(k);
      await bench.beating(k, first.job.id, 'clean-up');
      // One more, while the clean-up hangs.
      const third = await bench.ask(k);
      expect((await bench.job(third.job.id, ...FINAL)).state).toBe('done');
      expect(await bench.records.jobs.get(first.job.id)).toMatchObject({
        state: 'cancelled',
        errorCode: 'job.clean_up_ended',
        errorText: expect.stringContaining('after 2 s'),
      });
      expect((await bench.records.jobs.get(second.job.id))?.state).toBe('superseded');
      expect(runsOf(bench.beats(k))).toEqual([first.job.id, third.job.id]);
      await replays('clean-up-ended', k);
    });
  });

  describe('many requests', () => {
    it('two at the same instant from two clients: one order, one job at a time, both in a final state', async () => {
      const other = new Client({ connection: await Connection.connect({ address }) });
      for (let round = 0; round < 5; round += 1) {
        const k = key();
        const desks = [bench.desk, { ...bench.desk, client: other }];
        const asked = await Promise.all(desks.map((desk) => bench.ask(k, { work: 20 }, { desk })));
        const ends = await Promise.all(asked.map(({ job }) => bench.job(job.id, ...FINAL)));
        const newest = ends.toSorted((a, b) => (a.id < b.id ? 1 : -1))[0];
        expect(newest?.state).toBe('done');
        expect(ends.filter(({ state }) => state === 'done')).toHaveLength(1);
        expect(runsOf(bench.beats(k)).at(-1)).toBe(newest?.id);
        await bench.idle(k);
      }
      await other.connection.close();
    });

    it('fifty in a burst: the newest is done, the others are final, and never were two at work', async () => {
      const k = key();
      const asked = await Promise.all(Array.from({ length: 50 }, () => bench.ask(k, { work: 3 })));
      const ends = await Promise.all(asked.map(({ job }) => bench.job(job.id, ...FINAL)));
      const newest = ends.toSorted((a, b) => (a.id < b.id ? 1 : -1))[0];
      expect(newest?.state).toBe('done');
      expect(new Set(ends.map(({ id }) => id)).size).toBe(50);
      for (const end of ends) expect(['done', 'cancelled', 'superseded']).toContain(end.state);
      expect(runsOf(bench.beats(k)).at(-1)).toBe(newest?.id);
      await bench.idle(k);
    });

    it('of different keys run side by side', async () => {
      const keys = [key(), key(), key()];
      const asked = await Promise.all(keys.map((k) => bench.ask(k, { work: -1 })));
      await Promise.all(keys.map((k, index) => bench.beating(k, asked[index]?.job.id ?? '', 'work')));
      await Promise.all(asked.map(({ job }) => cancel(job.id)));
      for (const { job } of asked) expect((await bench.job(job.id, ...FINAL)).state).toBe('cancelled');
    });

    it('a request that races the end of the lock starts it anew', async () => {
      const k = key();
      for (let round = 0; round < 15; round += 1) {
        const { job } = await bench.ask(k, { work: 1 });
        expect((await bench.job(job.id, ...FINAL)).state).toBe('done');
      }
      expect(runsOf(bench.beats(k))).toHaveLength(15);
      await bench.idle(k);
    });
  });

  describe('the run of a lock', () => {
    it('that a person terminates leaves nothing open: the sweep settles its job, and the next request runs', async () => {
      const k = key();
      const first = await bench.ask(k, { work: -1, deaf: 20 });
      await bench.beating(k, first.job.id, 'work');
      expect(await bench.sweep()).toBe(0);
      await bench.client.workflow.getHandle(oneAtATimeId(bench.desk.taskQueue, k)).terminate('by a person');
      expect(await bench.sweep()).toBe(1);
      expect(await bench.job(first.job.id, ...FINAL)).toMatchObject({ state: 'failed', errorCode: 'job.abandoned' });
      const second = await bench.ask(k);
      expect((await bench.job(second.job.id, ...FINAL)).state).toBe('done');
      expect(runsOf(bench.beats(k))).toEqual([first.job.id, second.job.id]);
      await replays('abandoned', k);
    });

    it('that a person cancels stops what runs and what waits, and nothing after', async () => {
      const k = key();
      const first = await bench.ask(k, { work: -1, cleanUp: 40 });
      await bench.beating(k, first.job.id, 'work');
      await bench.client.workflow.getHandle(oneAtATimeId(bench.desk.taskQueue, k)).cancel();
      expect(await bench.job(first.job.id, ...FINAL)).toMatchObject({ state: 'cancelled', errorCode: 'job.cancelled' });
      await replays('cancelled-in-temporal', k);
      const second = await bench.ask(k);
      expect((await bench.job(second.job.id, ...FINAL)).state).toBe('done');
    });

    it('that was never told is woken by the sweep', async () => {
      const k = key();
      const deaf = new Client({ connection: Connection.lazy({ address: '127.0.0.1:9' }) });
      const { job, isHeard } = await bench.ask(k, {}, { desk: { ...bench.desk, client: deaf } });
      expect([job.state, isHeard]).toEqual(['waiting', false]);
      expect(await bench.sweep()).toBeGreaterThan(0);
      expect((await bench.job(job.id, ...FINAL)).state).toBe('done');
      const running = await bench.ask(k, { work: -1 });
      await bench.beating(k, running.job.id, 'work');
      const { job: asked } = await cancelJob({ ...bench.desk, client: deaf }, running.job.id, 'test');
      expect(asked.state).toBe('cancelling');
      await bench.sweep();
      expect((await bench.job(running.job.id, ...FINAL)).state).toBe('cancelled');
      await deaf.connection.close();
    });

    it('shows what runs, for a person in the Temporal UI', async () => {
      const k = key();
      const { job } = await bench.ask(k, { work: -1 });
      await bench.beating(k, job.id, 'work');
      const described = await bench.client.workflow.getHandle(`job/${job.id}`).describe();
      expect(await described.staticSummary()).toBe('test.job');
      expect(await described.staticDetails()).toContain('asked for by test');
      expect(described.searchAttributes.SwitchyardStep).toEqual(['test.job']);
      const lock = await bench.client.workflow
        .getHandle(oneAtATimeId(bench.desk.taskQueue, k))
        .query<string>('__temporal_workflow_metadata');
      expect(JSON.stringify(lock)).toContain(`**Running:** job ${job.id}`);
      await cancel(job.id);
      await eventually(async () => (await bench.records.jobs.get(job.id))?.state === 'cancelled', 'the end');
    });
  });
});
