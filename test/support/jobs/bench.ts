/** Records, a Temporal server and workers that can be killed, for the tests of jobs; and the ledger that tells what ran. */
import { randomUUID } from 'node:crypto';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { requestJob, type Asked, type JobDesk } from '../../../servers/jobs/request.ts';
import { settleJobs } from '../../../servers/jobs/settle.ts';
import { buildWorkflowBundle } from '../../../servers/worker/bundle.ts';
import { Configuration, type ConfigurationInput } from '../../../stores/configuration/schema.ts';
import type { Job, JobRequest } from '../../../stores/records/jobs-port.ts';
import { openRecords } from '../../../stores/records/open.ts';
import type { Records } from '../../../stores/records/port.ts';
import { oneAtATimeId } from '../../../workflows/jobs/contract.ts';
import { eventually } from '../house.ts';
import { testKind, type TestParameters } from './steps.ts';
import type { WorkerInput } from './worker.ts';

export interface Beat {
  job: string;
  attempt: string;
  phase: string;
}

export interface JobBench {
  records: Records;
  desk: JobDesk;
  client: Client;
  configuration: Configuration;
  /** Starts a worker process that polls. */
  startWorker(how?: WorkerWay): Promise<ChildProcess>;
  /** Starts one, and another whenever it was killed, as a supervisor does. Returns how often it was. */
  superviseWorker(how?: WorkerWay): Promise<() => number>;
  /** SIGKILL, and waits until it is gone. */
  kill(worker: ChildProcess): Promise<void>;
  ask(key: string, parameters?: Partial<TestParameters>, how?: Partial<Ask>): Promise<Asked>;
  /** The job when it has come to one of the states. */
  job(id: string, ...states: Job['state'][]): Promise<Job>;
  beats(key: string): Beat[];
  /** Waits for a line of the job in that phase. */
  beating(key: string, job: string, phase: string): Promise<void>;
  /** Waits until the key's lock has ended. */
  idle(key: string): Promise<void>;
  /** As the worker's sweep, some minutes later. */
  sweep(): Promise<number>;
  close(): Promise<void>;
}

export type WorkerWay = Partial<Pick<WorkerInput, 'blobDelay' | 'deadly' | 'silent'>>;

export type Ask = Pick<JobRequest, 'ifRunning' | 'requestId'> & { desk: JobDesk };

/** Ended for good: what may be asserted of every job in the end. */
export const FINAL = ['done', 'failed', 'cancelled', 'superseded'] as const;
/** The one source in the reports of the tests has a name, and nobody on the network is asked. */
const ZONES = {
  '1.2.0.192.in-addr.arpa': ['PTR mail-sor-f41.google.com'],
  'mail-sor-f41.google.com': ['A 192.0.2.1'],
};
const WITHIN = 90_000;
const LATER = 300_000;

let bundle: Promise<string> | undefined;

export async function openJobBench(
  address: string,
  { jobs = {}, records: kept }: Pick<ConfigurationInput, 'jobs' | 'records'> = {},
): Promise<JobBench> {
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-jobs-'));
  const codePath = join(folder, 'bundle.js');
  writeFileSync(codePath, await (bundle ??= buildWorkflowBundle(resolve('test/support/jobs/workflows.ts'))));
  const configuration = Configuration.parse({
    state: folder,
    jobs,
    records: kept,
    dns: { zones: ZONES },
  } satisfies ConfigurationInput);
  const records = await openRecords(configuration);
  const client = new Client({ connection: Connection.lazy({ address }) });
  const taskQueue = randomUUID();
  const desk: JobDesk = { records, client, taskQueue };
  const workers = new Set<ChildProcess>();
  const ledger = (key: string) => join(folder, `${key}.ledger`);

  const bench: JobBench = {
    records,
    desk,
    client,
    configuration,
    async startWorker({ blobDelay = 0, deadly = null, silent = null } = {}) {
      const input: WorkerInput = { configuration, address, taskQueue, codePath, blobDelay, deadly, silent };
      const worker = spawn(process.execPath, [resolve('test/support/jobs/worker.ts'), JSON.stringify(input)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      workers.add(worker);
      await once(worker.stdout as NodeJS.ReadableStream, 'data');
      return worker;
    },
    async superviseWorker(how) {
      let killed = 0;
      const watch = (worker: ChildProcess): void => {
        worker.once('exit', (_, signal) => {
          if (signal !== 'SIGKILL' || !workers.delete(worker)) return;
          killed += 1;
          void bench.startWorker(how).then(watch);
        });
      };
      watch(await bench.startWorker(how));
      return () => killed;
    },
    async kill(worker) {
      workers.delete(worker);
      if (worker.exitCode !== null || worker.signalCode !== null) return;
      const gone = once(worker, 'exit');
      worker.kill('SIGKILL');
      await gone;
    },
    ask(key, parameters = {}, { desk: other = desk, ...how } = {}) {
      const given = { work: 5, cleanUp: 2, deaf: 0, fails: false, ...parameters, key, ledger: ledger(key) };
      return requestJob(other, testKind, given, { requestedBy: 'test', ...how });
    },
    job: (id, ...states) =>
      eventually(
        async () => {
          const job = await records.jobs.get(id);
          return job && states.includes(job.state) && job;
        },
        `job ${id} is ${states.join(' or ')}`,
        WITHIN,
      ),
    beats: (key) =>
      existsSync(ledger(key))
        ? readFileSync(ledger(key), 'utf8')
            .trim()
            .split('\n')
            .map((line) => line.split(' ') as [string, string, string])
            .map(([job, attempt, phase]) => ({ job, attempt, phase }))
        : [],
    async beating(key, job, phase) {
      const found = () => bench.beats(key).some((one) => one.job === job && one.phase === phase);
      await eventually(found, `${phase} of job ${job}`, WITHIN);
    },
    async idle(key) {
      const handle = client.workflow.getHandle(oneAtATimeId(taskQueue, key));
      await eventually(async () => (await handle.describe()).status.name !== 'RUNNING', `${key} is idle`, WITHIN);
    },
    sweep: () => settleJobs({ ...desk, dependencies: { records } }, Date.now() + LATER),
    async close() {
      await Promise.all([...workers].map((worker) => bench.kill(worker)));
      await client.connection.close();
      await records.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  return bench;
}

/**
 * What the ledger of a key proves: the lines of each attempt stand together, so no two were at work at the same time.
 * @returns the jobs in the order in which they ran
 */
export function runsOf(beats: Beat[]): string[] {
  const seen = new Set<string>();
  const order: string[] = [];
  let last = '';
  for (const { job, attempt } of beats) {
    if (attempt === last) continue;
    if (seen.has(attempt)) throw new Error(`attempt ${attempt} of job ${job} was at work beside another`);
    seen.add(attempt);
    last = attempt;
    if (order.at(-1) !== job) {
      if (order.includes(job)) throw new Error(`job ${job} was at work beside another`);
      order.push(job);
    }
  }
  return order;
}
