/** A worker for the tests of jobs, as a process that can be killed: the house's steps and the test's. */
import { setTimeout as sleep } from 'node:timers/promises';
import { NativeConnection, Worker } from '@temporalio/worker';
import { Client, Connection } from '@temporalio/client';
import type { Dependencies } from '../../../activities/dependencies.ts';
import { createGeo } from '../../../activities/dmarc/geo.ts';
import { createResolver } from '../../../activities/network/dns.ts';
import { steps } from '../../../activities/registry.ts';
import { createActivities } from '../../../servers/worker/activities.ts';
import { terminateRun } from '../../../servers/worker/terminate.ts';
import { createLog } from '../../../servers/log.ts';
import type { Configuration } from '../../../stores/configuration/schema.ts';
import type { BlobStore } from '../../../stores/blobs/port.ts';
import { openBlobs } from '../../../stores/blobs/open.ts';
import { openRecords } from '../../../stores/records/open.ts';
import { cleanUp, work } from './steps.ts';

export interface WorkerInput {
  configuration: Configuration;
  address: string;
  taskQueue: string;
  codePath: string;
  /** ms that each reading and writing of a blob takes longer, so that a job lasts. */
  blobDelay: number;
  /** The address of a host or the key of a blob: whoever asks for it ends with its process, as one without memory does. */
  deadly: string | null;
  /** The address of a host for which no resolver ever answers: the job stands there, for as long as it waits for names. */
  silent: string | null;
}

const input = JSON.parse(process.argv[2] ?? '') as WorkerInput;
const records = await openRecords(input.configuration);
const stored = await openBlobs(input.configuration);
function survive(what: string): void {
  if (what === input.deadly) process.kill(process.pid, 'SIGKILL');
}
const blobs: BlobStore = {
  ...stored,
  async read(key, from) {
    survive(key);
    await sleep(input.blobDelay);
    return stored.read(key, from);
  },
  async write(source, options) {
    await sleep(input.blobDelay);
    return stored.write(source, options);
  },
};
const { configuration } = input;
const [asked, geo] = [createResolver(configuration.dns), createGeo(configuration)];
const resolver: typeof asked = {
  ...asked,
  async ptr(address) {
    survive(address);
    if (address === input.silent) return new Promise<never>(() => undefined);
    return asked.ptr(address);
  },
};
const dependencies = { configuration, records, blobs, resolver, geo } as Dependencies;
const client = new Client({ connection: Connection.lazy({ address: input.address }) });
const log = createLog('test', process.env.DEBUG ? 'info' : 'silent');
const worker = await Worker.create({
  connection: await NativeConnection.connect({ address: input.address }),
  taskQueue: input.taskQueue,
  workflowBundle: { codePath: input.codePath },
  activities: { ...createActivities(dependencies, log, [...steps, work, cleanUp]), ...terminateRun(client) },
  shutdownGraceTime: '5 seconds',
  maxHeartbeatThrottleInterval: '1 second',
  defaultHeartbeatThrottleInterval: '1 second',
});
process.stdout.write('ready\n');
await worker.run();
