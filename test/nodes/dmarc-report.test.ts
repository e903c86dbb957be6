/** Parse DMARC Report: every report of whatever an item has, and of what is none why not. The steps are the real ones. */
import { readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { IDataObject, INodeExecutionData } from 'n8n-workflow';
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
