/** Parse DMARC Report: every report of whatever an item has, and of what is none why not. The steps are the real ones. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { IDataObject, INode, INodeExecutionData } from 'n8n-workflow';
import { signCallback } from '../../activities/triggers/sign.ts';
import { zipOf } from '../activities/dmarc/archives.ts';
import { mailWith } from '../activities/dmarc/mails.ts';
import { feedback, metadata, POLICY, range, record } from '../protocols/dmarc/report.ts';
import { sharedPath } from '../protocols/shared-data.ts';
import { startService, type Service } from '../servers/http/service.ts';
import { checkCall } from './calls.ts';
import { hasN8n, stage, startRecorder, withDefaults, type Recorder } from './n8n.ts';

const DAY = metadata(range('1790812800', '1790899199'));
const REPORT = feedback(DAY + POLICY + record());
const SEVEN = feedback(DAY + POLICY + record().repeat(7));
const TLS = JSON.stringify({
  'organization-name': 'Receiver',
  'date-range': { 'start-datetime': '2026-10-01T00:00:00Z', 'end-datetime': '2026-10-01T23:59:59Z' },
  'contact-info': 'tls@receiver.test',
  'report-id': 'tls-1',
  policies: [
    {
      policy: { 'policy-type': 'sts', 'policy-domain': 'example.com' },
      summary: { 'total-successful-session-count': 9, 'total-failure-session-count': 1 },
    },
  ],
});
const PICTURE = Buffer.from('89504e470d0a1a0a', 'hex');

let service: Service;
let recorder: Recorder;
let token: string;
beforeAll(async () => {
  service = await startService({ configuration: { dmarc: { names: { wait: '1s' } } } });
  recorder = await startRecorder({ to: service.url });
  token = await service.token('*');
  await service.records.rules.applyDeclared([{ domain: 'mail.example', rules: [] }]);
  await service.records.dmarc.domains.put('example.com', 'r@mail.example', 'test');
});
afterAll(async () => {
  await recorder.close();
  await service.close();
});

afterEach(() => {
  vi.useRealTimers();
});

const item = (files: Record<string, Buffer | string>): INodeExecutionData => ({
  json: {},
  binary: Object.fromEntries(
    Object.entries(files).map(([name, bytes]) => [
      name,
      // What it is called is not asked.
      { data: Buffer.from(bytes).toString('base64'), mimeType: 'text/plain', fileName: `${name}.dat` },
    ]),
  ),
});

/** Runs the node, and gives the items and the paths of its calls. */
async function run(
  items: INodeExecutionData[],
  parameters: IDataObject = {},
  onError?: 'continueRegularOutput',
  helpers: object = {},
) {
  const { SwitchyardDmarcReport } = await import('../../nodes/SwitchyardDmarcReport/SwitchyardDmarcReport.node.ts');
  const node = new SwitchyardDmarcReport();
  const from = recorder.calls.length;
  const { context } = stage({
    credential: { baseUrl: recorder.url, token },
    parameters: withDefaults(node, parameters),
    items,
    node: onError ? { onError } : {},
  });
  Object.assign(context.helpers, helpers);
  const [output = []] = await node.execute.call(context);
  return { output, calls: recorder.calls.slice(from).map((call) => checkCall(call) && call.path) };
}

describe.skipIf(!hasN8n)('an item without a report', () => {
  it.each([
    ['no file', { json: {} }, {}, 'This item has no file.'],
    [
      'not the file that is named',
      item({ data: REPORT }),
      { binaryFields: 'other' },
      'This item has no file in the field "other".',
    ],
  ])('%s says what to give', async (_what, given, parameters, message) => {
    await expect(run([given], parameters)).rejects.toMatchObject({
      message,
      description: expect.stringContaining('binary field'),
    });
  });

  it.each([
    ['a DOCTYPE', '<!DOCTYPE a><feedback/>', 'dmarc.doctype'],
    ['HTML', '<!doctype html><p>', 'dmarc.not_a_report'],
    ['a truncated gzip', gzipSync(REPORT).subarray(0, -9), 'dmarc.truncated'],
    ['a mail without a report', 'From: a@b.test\r\nSubject: Hi\r\n\r\nHello\r\n', 'dmarc.no_report'],
  ])('%s fails with its code and what to do', async (_what, bytes, code) => {
    await expect(run([item({ data: bytes })])).rejects.toMatchObject({
      context: { switchyard: { code, fix: expect.any(String) } },
    });
  });

  it('is an item of its own where the node continues, and hides no other', async () => {
    const items = [item({ data: '<!DOCTYPE a><feedback/>' }), item({ bad: gzipSync('nothing'), good: REPORT })];
    const { output } = await run(items, {}, 'continueRegularOutput');
    expect(output).toMatchObject([
      { json: { error: expect.any(String), details: { code: 'dmarc.doctype' } }, pairedItem: { item: 0 } },
      { json: { error: expect.any(String), details: { code: 'dmarc.not_a_report' } }, pairedItem: { item: 1 } },
      { json: { kind: 'aggregate' }, pairedItem: { item: 1 } },
    ]);
  });
});

describe.skipIf(!hasN8n)('Parse', () => {
  it.each([
    ['XML', REPORT, 'none'],
    ['XML after a byte order mark', `\ufeff${REPORT}`, 'none'],
    ['gzip', gzipSync(REPORT), 'gzip'],
  ])('reads %s by its bytes', async (_what, bytes, container) => {
    const { output, calls } = await run([item({ data: bytes })]);
    expect(calls).toEqual(['/v1/blobs', '/v1/steps/dmarc.parseReport']);
    expect(output).toMatchObject([
      {
        json: { name: 'data.dat', container, kind: 'aggregate', policy: { domain: 'example.com' }, passRate: 1 },
        pairedItem: { item: 0 },
      },
    ]);
  });

  it('takes a whole mail apart: each report is an item, in the order of the mail', async () => {
    const mail = mailWith(
      { bytes: gzipSync(REPORT), name: 'first' },
      { bytes: PICTURE, type: 'image/png' },
      { bytes: TLS, name: 'second' },
    );
    const { output, calls } = await run([item({ message: mail }), item({ data: REPORT })]);
    expect(calls.slice(0, 2)).toEqual(['/v1/blobs', '/v1/steps/dmarc.extractReports']);
    expect(output.map(({ json, pairedItem }) => [json.name, json.kind, pairedItem])).toEqual([
      ['first', 'aggregate', { item: 0 }],
      ['second', 'tls', { item: 0 }],
      ['data.dat', 'aggregate', { item: 1 }],
    ]);
    expect(output[1]?.json).toMatchObject({ successful: 9, failed: 1 });
  });

  it('passes over pictures and texts beside a report, and reads all files of an archive', async () => {
    const zip = await zipOf({ 'a.xml': REPORT, 'b.xml': '<nothing/>' });
    const { output } = await run([item({ logo: PICTURE, text: 'Dear all', attachment_0: zip })]);
    expect(output).toMatchObject([
      { json: { file: 'a.xml', kind: 'aggregate' } },
      { json: { file: 'b.xml', code: 'dmarc.not_a_report', message: expect.any(String) } },
    ]);
  });

  it('reads what n8n keeps in a file of its own, however small the pieces that it comes in', async () => {
    const mail = mailWith({ bytes: REPORT, name: 'only' });
    const streams: Readable[] = [];
    const getBinaryStream = async () => {
      const pieces = Array.from(mail, (byte) => Buffer.from([byte]));
      streams.push(Readable.from(pieces));
      return streams.at(-1);
    };
    const kept = { json: {}, binary: { data: { id: 'filesystem:7', data: 'filesystem', mimeType: 'text/plain' } } };
    const { output } = await run([kept], {}, undefined, { getBinaryStream });
    expect(output).toMatchObject([{ json: { name: 'only', kind: 'aggregate' } }]);
    expect(streams.map(({ destroyed }) => destroyed)).toEqual([true, true]);
  });

  it('gives the first five records as items, each with how many there are', async () => {
    const { output } = await run([item({ data: SEVEN })], { options: { output: 'records' } });
    expect(output).toHaveLength(5);
    expect(output[4]).toMatchObject({
      json: { number: 5, recordsShown: 5, recordsTotal: 7, report: { policy: { domain: 'example.com' } } },
      pairedItem: { item: 0 },
    });
  });
});

describe.skipIf(!hasN8n)('Durable', () => {
  const ITEM = 'n8n/instance-1/flow-1/7/node-1/0/0';

  /** Switchyard whose runs have ended at once, or never end: the steps are the real ones. */
  async function withRuns(isOpen = false) {
    const results = new Map<string, { status: number; body: unknown }>();
    return startRecorder({
      to: service.url,
      async answer({ method, path, body }) {
        if (method === 'PUT') return { status: 200, body: {} };
        if (path === '/v1/runs') {
          const { id, input } = body as { id: string; input: { step: string; input: unknown } };
          const { status, json } = await service.call('POST', `/v1/steps/${input.step}`, { body: input.input });
          results.set(id, status < 300 ? { status: 200, body: { id, result: json } } : { status, body: json });
          return { status: 200, body: { id, status: 'RUNNING', url: `http://temporal.test/${id}` } };
        }
        const id = decodeURIComponent(path.split('/')[3] ?? '');
        if (path.endsWith('/result') && isOpen) vi.setSystemTime(Date.now() + 20_000);
        if (path.endsWith('/result')) return isOpen ? { status: 202, body: { id } } : results.get(id);
        return undefined;
      },
    });
  }

  async function runDurably(runs: Recorder, items: INodeExecutionData[], given: IDataObject = {}, onError?: string) {
    const { SwitchyardDmarcReport } = await import('../../nodes/SwitchyardDmarcReport/SwitchyardDmarcReport.node.ts');
    const node = new SwitchyardDmarcReport();
    const double = stage({
      credential: { baseUrl: runs.url, token },
      parameters: withDefaults(node, { durable: true, ...given }),
      items,
      node: (onError ? { onError } : {}) as Partial<INode>,
    });
    const [output = []] = await node.execute.call(double.context);
    return { ...double, node, output };
  }

  it('gives each report of an item a run whose name a retry meets again, and each item the link to it', async () => {
    const runs = await withRuns();
    const mail = item({
      message: mailWith({ bytes: gzipSync(REPORT), name: 'first' }, { bytes: TLS, name: 'second' }),
    });
    const { output } = await runDurably(runs, [mail]);
    await runDurably(runs, [mail]);
    const started = runs.calls.filter((call) => checkCall(call).path === '/v1/runs');
    expect(started.map(({ body }) => (body as { id: string }).id)).toEqual([
      `${ITEM}+2`,
      `${ITEM}+3`,
      `${ITEM}+2`,
      `${ITEM}+3`,
    ]);
    expect(output).toMatchObject([
      { json: { name: 'first', kind: 'aggregate', runUrl: `http://temporal.test/${ITEM}+2` }, pairedItem: { item: 0 } },
      { json: { name: 'second', kind: 'tls', runUrl: `http://temporal.test/${ITEM}+3` }, pairedItem: { item: 0 } },
    ]);
    const records = await runDurably(runs, [item({ data: SEVEN })], { options: { output: 'records' } });
    expect(records.output.map(({ json }) => json.number)).toEqual([1, 2, 3, 4, 5]);
    await runs.close();
  });

  it('fails with the code of its run, or gives it as an item where the node continues on errors', async () => {
    const runs = await withRuns();
    const items = [item({ bad: '<!DOCTYPE a><feedback/>', good: REPORT }), { json: {} }];
    await expect(runDurably(runs, items.slice(0, 1))).rejects.toMatchObject({
      context: { switchyard: { code: 'dmarc.doctype' } },
    });
    const { output } = await runDurably(runs, items, {}, 'continueRegularOutput');
    expect(output.map(({ json, pairedItem }) => [json.kind ?? json.details ?? json.error, pairedItem])).toMatchObject([
      [{ code: 'dmarc.doctype' }, { item: 0 }],
      ['aggregate', { item: 0 }],
      ['This item has no file.', { item: 1 }],
    ]);
    await runs.close();
  });

  it('publishes in a run', async () => {
    const runs = await withRuns();
    const fresh = REPORT.replace(/(?<=<report_id>)[^<]+/, 'durable');
    const { output } = await runDurably(runs, [item({ data: fresh })], { operation: 'publish' });
    expect(output).toMatchObject([{ json: { name: 'data.dat', state: 'published', runUrl: expect.any(String) } }]);
    const [start] = runs.calls.filter(({ path }) => path === '/v1/runs');
    expect(start?.body).toMatchObject({ workflow: 'runStep', input: { step: 'dmarc.publishReport' } });
    await runs.close();
  });

  it('is resumed once for all of its runs, and has all items then', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const runs = await withRuns(true);
    const items = [item({ data: SEVEN }), item({ message: mailWith({ bytes: TLS, name: 'tls' }) })];
    const { told, contexts, node } = await runDurably(runs, items, { options: { output: 'records' } });
    expect(told.waits).toHaveLength(1);
    const [registration] = runs.calls.filter(({ method }) => method === 'PUT');
    const ids = (registration?.body as { runs: string[] }).runs;
    expect(ids).toEqual([`${ITEM}+1`, `${ITEM.slice(0, -1)}1+2`]);

    const parsed = async (bytes: string) => {
      const { json: report } = await service.call('POST', '/v1/blobs', { body: Buffer.from(bytes) });
      return (await service.call('POST', '/v1/steps/dmarc.parseReport', { body: { report } })).json as unknown;
    };
    const closed = { status: 'completed', error: null };
    const raw = JSON.stringify({
      type: 'resume',
      runs: [
        { ...closed, id: ids[1], result: await parsed(TLS), runUrl: null },
        { ...closed, id: ids[0], result: await parsed(SEVEN), runUrl: null },
      ],
    });
    const resumed = async (kept: typeof contexts) => {
      const { context } = stage({ credential: { baseUrl: runs.url, token }, contexts: kept });
      const key = createHash('sha256').update(token).digest();
      Object.assign(context, {
        executeData: { data: { main: [items] } },
        getRequestObject: () => ({ rawBody: Buffer.from(raw), headers: signCallback('m1', raw, key, Date.now()) }),
        getResponseObject: () => ({ status: () => ({ json: () => undefined }) }),
      });
      return (await node.webhook.call(context)).workflowData?.[0] ?? [];
    };
    const output = await resumed(contexts);
    expect(output.map(({ json, pairedItem }) => [json.number ?? json.kind, json.name ?? null, pairedItem])).toEqual([
      ...[1, 2, 3, 4, 5].map((n) => [n, null, { item: 0 }]),
      ['tls', 'tls', { item: 1 }],
    ]);
    // Where n8n lost what the node kept: the reports, without the name of the file.
    expect((await resumed({})).map(({ json, pairedItem }) => [json.kind, pairedItem])).toEqual([
      ['aggregate', { item: 0 }],
      ['tls', { item: 1 }],
    ]);
    await runs.close();
  });
});

/** Reports as receivers sent them. */
const SAMPLES = ['dmarc-reports', 'tls-rpt'].map((name) => sharedPath(`mail/${name}`)).filter((path) => path !== null);

describe.skipIf(!hasN8n || SAMPLES.length === 0)('samples of receivers', () => {
  it('are mails or reports by their bytes, as their names say', async () => {
    const { kindOf } = await import('../../nodes/SwitchyardDmarcReport/files.ts');
    const kinds: Record<string, string> = { '.eml': 'mail', '.xml': 'report', '.zip': 'report', '.gz': 'report' };
    const files = SAMPLES.flatMap((folder) =>
      readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name)),
    ).filter((name) => extname(name) in kinds);
    expect(files.length).toBeGreaterThan(20);
    for (const name of files)
      expect([name, kindOf(readFileSync(name).subarray(0, 512))]).toEqual([name, kinds[extname(name)]]);
  });
});

describe.skipIf(!hasN8n)('Publish', () => {
  it('counts a report once, and says what it refuses and where that is', async () => {
    const ours = item({ message: mailWith({ bytes: REPORT }) });
    const theirs = item({ data: REPORT.replaceAll('example.com', 'elsewhere.test') });
    const { output } = await run([ours, ours, theirs], { operation: 'publish' });
    expect(output).toMatchObject([
      { json: { state: 'published', id: expect.any(String), domain: 'example.com', records: 1 } },
      { json: { state: 'repeated', id: output[0]?.json.id } },
      {
        json: { state: 'refused', code: 'dmarc.foreign_domain', quarantine: expect.any(String) },
        pairedItem: { item: 2 },
      },
    ]);
    expect(await service.records.dmarc.quarantine.get(String(output[2]?.json.quarantine))).toBeDefined();
  });

  it('publishes nothing that is about another domain than the one that is named', async () => {
    await service.records.dmarc.domains.put('other.example', 'o@mail.example', 'test');
    const { output } = await run([item({ data: SEVEN })], { operation: 'publish', domain: 'other.example' });
    expect(output).toMatchObject([{ json: { state: 'refused', code: 'dmarc.foreign_domain' } }]);
  });
});
