/** A run of `ingestDmarcReport` whose step ends as no step of the house does: what it was about must not be lost with it. */
import { Client, Connection } from '@temporalio/client';
import { NativeConnection, Worker } from '@temporalio/worker';
import { inject, expect, it } from 'vitest';
import { workflowBundle } from '../../servers/worker/bundle.ts';
import { INGEST_DMARC_REPORT, type IngestDmarcReportInput } from '../../workflows/dmarc/contract.ts';

const REPORT = { key: 'dmarc/2026/11/report', sha256: 'a'.repeat(64), size: 3 };
const INPUT: IngestDmarcReportInput = {
  kind: 'report',
  message: REPORT,
  activityId: null,
  domain: 'example.com',
  address: null,
  sender: '',
  headerFrom: null,
  subject: null,
  receivedAt: '2026-11-03T04:05:06.007Z',
  authentication: null,
};
/** Temporal takes 2 MiB of an answer. */
const TOO_MUCH = 'x'.repeat(3_000_000);

it('an answer that Temporal does not take is a refusal, and the report is in quarantine', async () => {
  const address = await (await fetch(inject('sharedParts'))).text();
  const connection = await NativeConnection.connect({ address });
  const taskQueue = `step-ends-${process.pid}`;
  const kept: unknown[] = [];
  const worker = await Worker.create({
    connection,
    taskQueue,
    workflowBundle: await workflowBundle(),
    activities: {
      'dmarc.storeReport': async () => ({ report: REPORT }),
      'dmarc.parseReport': async () => TOO_MUCH,
      'dmarc.quarantineReport': async (refusal: unknown) => {
        kept.push(refusal);
        return { id: 'kept' };
      },
    },
  });
  const client = new Client({ connection: await Connection.connect({ address }) });
  try {
    const run = { taskQueue, workflowId: `step-ends/${process.pid}`, args: [INPUT] };
    const result = await worker.runUntil(client.workflow.execute(INGEST_DMARC_REPORT, run));
    expect(result).toMatchObject({
      outcome: 'quarantined',
      refused: 1,
      reports: [{ state: 'refused', code: 'dmarc.step_failed', id: 'kept' }],
    });
    expect(kept).toMatchObject([
      {
        original: REPORT,
        domain: 'example.com',
        code: 'dmarc.step_failed',
        message: expect.stringMatching(/^dmarc\.parseReport came to no answer: .*size/) as string,
      },
    ]);
  } finally {
    await client.connection.close();
    await connection.close();
  }
});
