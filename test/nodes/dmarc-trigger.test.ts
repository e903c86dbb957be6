/** DMARC Report Received: the events of a mail that a workflow chose, and no others. */
import { createHash } from 'node:crypto';
import { afterEach, describe, expect, it } from 'vitest';
import type { IDataObject } from 'n8n-workflow';
import { signCallback } from '../../activities/triggers/sign.ts';
import { INGEST_DMARC_REPORT, INGESTION_OUTCOMES } from '../../workflows/dmarc/contract.ts';
import { checkCall } from './calls.ts';
import { hasN8n, stage, startRecorder, withDefaults, type Recorder } from './n8n.ts';

const TOKEN = 'sy_test';

/** The end of a run, as Switchyard tells of it: of three reports one of each state. */
const RUN = {
  type: 'run',
  id: 'dmarc/abc',
  workflow: INGEST_DMARC_REPORT,
  status: 'completed',
  truncated: false,
  runUrl: 'http://temporal.test/dmarc/abc',
  result: {
    outcome: 'quarantined',
    domain: 'xn--bcher-kva.example',
    published: 1,
    repeated: 1,
    refused: 1,
    reports: [
      { state: 'published', id: 'r1', organization: 'Receiver' },
      { state: 'repeated', id: 'r0' },
      { state: 'refused', id: 'q1', code: 'dmarc.doctype' },
    ],
  },
};
const MANY = { ...RUN.result, reports: [{ state: 'published', id: 'r1' }], published: 20 };

let recorder: Recorder | undefined;
afterEach(async () => {
  await recorder?.close();
  recorder = undefined;
});

async function trigger(parameters: IDataObject, result: unknown = RUN.result) {
  recorder = await startRecorder({ answer: () => ({ status: 200, body: { result } }) });
  const { SwitchyardDmarcTrigger } = await import('../../nodes/SwitchyardDmarcTrigger/SwitchyardDmarcTrigger.node.ts');
  const node = new SwitchyardDmarcTrigger();
  const credential = { baseUrl: recorder.url, token: TOKEN };
  const { context } = stage({ credential, parameters: withDefaults(node, parameters) });
  return { node, context };
}

async function receive(parameters: IDataObject, run: IDataObject = RUN, result?: unknown) {
  const { node, context } = await trigger(parameters, result);
  const raw = JSON.stringify(run);
  const answers: unknown[] = [];
  const key = createHash('sha256').update(TOKEN).digest();
  Object.assign(context, {
    getRequestObject: () => ({ rawBody: Buffer.from(raw), headers: signCallback('m', raw, key, Date.now()) }),
    getResponseObject: () => ({
      status: (status: number) => ({ json: (json: unknown) => answers.push([status, json]) }),
    }),
  });
  const { workflowData } = await node.webhook.call(context);
  return { events: workflowData?.[0]?.map(({ json }) => [json.event, json.id]), items: workflowData?.[0], answers };
}

describe.skipIf(!hasN8n)('the registration', () => {
  it.each([
    [['published'], ['published', 'quarantined']],
    [['refused'], ['quarantined']],
    [['published', 'refused', 'repeated'], [...INGESTION_OUTCOMES]],
  ])('for %j is for the runs that may have it', async (events, outcomes) => {
    const { node, context } = await trigger({ events });
    await node.webhookMethods.default.create.call(context);
    const [call] = recorder?.calls ?? [];
    expect(call && checkCall(call).path).toBe('/v1/triggers/{id}');
    const body = call?.body as { workflows: string[]; outcomes: string[] };
    expect(body.workflows).toEqual([INGEST_DMARC_REPORT]);
    expect(body.outcomes.sort()).toEqual(outcomes.sort());
  });
});

describe.skipIf(!hasN8n)('the end of an ingestion', () => {
  it('starts the workflow with the reports that it asked for, each with its mail and its run', async () => {
    const { items } = await receive({});
    expect(items?.map(({ json }) => json)).toEqual([
      {
        event: 'published',
        domain: 'xn--bcher-kva.example',
        id: 'r1',
        organization: 'Receiver',
        mail: { published: 1, repeated: 1, refused: 1 },
        runId: RUN.id,
        runUrl: RUN.runUrl,
      },
      expect.objectContaining({ event: 'refused', id: 'q1', code: 'dmarc.doctype' }),
    ]);
    expect((await receive({ events: ['repeated'] })).events).toEqual([['repeated', 'r0']]);
  });

  it.each([['bücher.example'], ['XN--BCHER-KVA.example.'], [' xn--bcher-kva.example ']])(
    'is for the domain written as %j',
    async (domain) => {
      expect((await receive({ events: ['refused'], domains: ['other.example', domain] })).events).toEqual([
        ['refused', 'q1'],
      ]);
    },
  );

  it.each([
    ['about another domain', { domains: ['example.com'] }, RUN],
    ['without the event', { events: ['repeated'] }, { ...RUN, result: { ...MANY, repeated: 0, refused: 0 } }],
    ['without a result, as of a run that was terminated', {}, { ...RUN, status: 'terminated', result: null }],
  ])('%s is taken, and starts nothing', async (_what, parameters, run) => {
    const { items, answers } = await receive(parameters, run);
    expect(items).toBeUndefined();
    expect(answers).toEqual([[200, { taken: true }]]);
  });

  it('is asked for where it is too large for a callback', async () => {
    const { events } = await receive({ events: ['published'] }, { ...RUN, result: null, truncated: true });
    expect(events).toEqual([['published', 'r1']]);
    expect(recorder?.calls[0] && checkCall(recorder.calls[0]).path).toBe('/v1/runs/{id}/result');
  });

  it('tells of a refused one also where the run does not name it among so many', async () => {
    const { items } = await receive({ events: ['refused'] }, { ...RUN, result: MANY });
    expect(items?.map(({ json }) => json)).toMatchObject([
      { event: 'refused', domain: RUN.result.domain, mail: { published: 20, refused: 1 } },
    ]);
  });
});
