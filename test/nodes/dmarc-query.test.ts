/** Query DMARC: what it asks is what the servers take, and each row of the answer is an item. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { IDataObject, INodeProperties } from 'n8n-workflow';
import { feedback, metadata, POLICY, range, record, row } from '../protocols/dmarc/report.ts';
import { startService, type Service } from '../servers/http/service.ts';
import { checkCall } from './calls.ts';
import { hasN8n, stage, startRecorder, withDefaults, type Recorder } from './n8n.ts';

const OF = { domain: 'example.com' };
const RANGE = { from: '2026-10-01', to: '2026-10-31' };
const DOMAIN = '/v1/dmarc/domains/{domain}';

/** Every question: its parameters, and the route that it asks. */
const QUESTIONS: Record<string, [parameters: IDataObject, path: string]> = {
  'domain.add': [{ ...OF, address: 'r@mail.example' }, '/v1/dmarc/domains'],
  'domain.getAdvice': [OF, `${DOMAIN}/advice`],
  'domain.getAll': [{ filters: { days: 3660 } }, '/v1/dmarc/domains'],
  'domain.getDays': [{ ...OF, filters: { ...RANGE, service: 'Google' } }, `${DOMAIN}/days`],
  'domain.getDns': [OF, `${DOMAIN}/dns`],
  'domain.getServices': [{ ...OF, filters: RANGE }, `${DOMAIN}/services`],
  'domain.getSummary': [{ ...OF, filters: RANGE }, `${DOMAIN}/summary`],
  'domain.getTls': [{ ...OF, filters: { days: 90 } }, `${DOMAIN}/tls`],
  'domain.getWhatIf': [{ ...OF, filters: RANGE }, `${DOMAIN}/what-if`],
  'domain.writeSummary': [{ domain: '', filters: { days: 366, to: '2026-10-31' } }, '/v1/dmarc/summary'],
  'domain.remove': [{ domain: 'gone.example' }, DOMAIN],
  'failure.getAll': [OF, `${DOMAIN}/failures`],
  'quarantine.delete': [{ entryId: 'q1' }, '/v1/dmarc/quarantine/{id}'],
  'quarantine.get': [{ entryId: 'q1' }, '/v1/dmarc/quarantine/{id}'],
  'quarantine.read': [{ entryId: 'q1', about: 'example.com' }, '/v1/dmarc/quarantine/{id}/read'],
  'quarantine.getAll': [{ filters: OF }, '/v1/dmarc/quarantine'],
  'record.getAll': [{ ...OF, source: '192.0.2.1', filters: { failing: true } }, `${DOMAIN}/sources/{source}/records`],
  'report.get': [{ reportId: 'r1' }, '/v1/dmarc/reports/{id}'],
  'report.getAll': [{ ...OF, filters: { ...RANGE, kind: 'aggregate' } }, `${DOMAIN}/reports`],
  'source.getAll': [{ ...OF, limit: 500, filters: { ...RANGE, failing: true, service: '' } }, `${DOMAIN}/sources`],
  'source.getNew': [{ ...OF, filters: { days: 3660, failing: false } }, `${DOMAIN}/new-sources`],
};

let service: Service;
let recorder: Recorder;
let token: string;
let reportId: string;
beforeAll(async () => {
  service = await startService();
  recorder = await startRecorder({ to: service.url });
  token = await service.token('*');
  await service.records.rules.applyDeclared([{ domain: 'mail.example', rules: [] }]);
  await service.records.dmarc.domains.put('example.com', 'r@mail.example', 'test');
  // Three addresses with 10, 20 and 30 messages on 1 October 2026.
  const rows = ['10', '20', '30'].map((count, n) => record({ row: row({ ip: `192.0.2.${n + 1}`, count }) }));
  const bytes = Buffer.from(feedback(metadata(range('1790812800', '1790899199')) + POLICY + rows.join('')));
  const { json: report } = await service.call('POST', '/v1/blobs', { body: bytes });
  const { json } = await service.call('POST', '/v1/steps/dmarc.publishReport', { body: { report } });
  reportId = String(json.reports[0].id);
});
afterAll(async () => {
  await recorder.close();
  await service.close();
});

async function ask(question: string, parameters: IDataObject, onError?: 'continueRegularOutput') {
  const { SwitchyardDmarcQuery } = await import('../../nodes/SwitchyardDmarcQuery/SwitchyardDmarcQuery.node.ts');
  const node = new SwitchyardDmarcQuery();
  const [resource, operation] = question.split('.');
  const from = recorder.calls.length;
  const { context } = stage({
    credential: { baseUrl: recorder.url, token },
    parameters: withDefaults(node, { resource, operation, ...parameters }),
    items: [{ json: {} }],
    node: onError ? { onError } : {},
  });
  const [output = []] = await node.execute.call(context);
  return { output, json: output.map(({ json }) => json), calls: recorder.calls.slice(from) };
}

describe.skipIf(!hasN8n)('Query DMARC', () => {
  it('is tried with every question that the editor offers', async () => {
    const { operations } = await import('../../nodes/SwitchyardDmarcQuery/operations/index.ts');
    const { properties } = await import('../../nodes/SwitchyardDmarcQuery/properties.ts');
    const valuesOf = ({ options }: INodeProperties) => (options as { value: string }[]).map(({ value }) => value);
    const offered = properties
      .filter(({ name }) => name === 'operation')
      .flatMap((one) => valuesOf(one).map((value) => `${String(one.displayOptions?.show?.resource?.[0])}.${value}`));
    const there = Object.entries(operations).flatMap(([name, some]) =>
      Object.keys(some).map((one) => `${name}.${one}`),
    );
    expect(offered.sort()).toEqual(Object.keys(QUESTIONS).sort());
    expect(there.sort()).toEqual(Object.keys(QUESTIONS).sort());
  });

  it.each(Object.keys(QUESTIONS))('%s makes one call that its route takes', async (question) => {
    const [parameters, path] = QUESTIONS[question] ?? [{}, ''];
    const { calls } = await ask(question, parameters, 'continueRegularOutput');
    expect(calls.map((call) => checkCall(call).path)).toEqual([path]);
  });

  it('says what is missing where an expression found nothing', async () => {
    for (const [question, parameters] of [
      ['domain.getSummary', { domain: ' ' }],
      ['record.getAll', { ...OF, source: null }],
      ['report.get', { reportId: '' }],
    ] as const)
      await expect(ask(question, parameters)).rejects.toMatchObject({
        message: expect.stringContaining('It is not said which'),
        description: expect.stringContaining('Fill in'),
      });
  });

  it('has the code and the fix of what Switchyard refuses', async () => {
    await expect(ask('domain.getSummary', { domain: 'nobody.example' })).rejects.toMatchObject({
      context: { switchyard: { code: 'dmarc.domain_missing', fix: expect.any(String) } },
    });
  });

  it('makes each row an item that says which domain it is about', async () => {
    expect((await ask('source.getAll', { ...OF, filters: RANGE })).json).toMatchObject([
      { domain: 'example.com', source: '192.0.2.3', messages: 30 },
      { domain: 'example.com', source: '192.0.2.2', messages: 20 },
      { domain: 'example.com', source: '192.0.2.1', messages: 10 },
    ]);
    expect((await ask('domain.getDays', { ...OF, filters: RANGE })).json).toMatchObject([
      { domain: 'example.com', day: '2026-10-01', messages: 60 },
    ]);
    expect((await ask('domain.getSummary', { ...OF, filters: RANGE })).json).toMatchObject([
      { domain: 'example.com', totals: { messages: 60 } },
    ]);
    expect((await ask('domain.getWhatIf', { ...OF, filters: RANGE })).json).toMatchObject([
      { domain: 'example.com', messages: 60, reject: { hit: expect.any(Number) } },
    ]);
    expect((await ask('domain.getAdvice', OF)).json).toMatchObject([
      { domain: 'example.com', title: expect.any(String) },
    ]);
  });

  it('writes a summary of one domain or of all, and none where no domain is known', async () => {
    const filters = { to: '2026-10-01' };
    const [all] = (await ask('domain.writeSummary', { filters })).json;
    expect(all).toMatchObject({ from: '2026-09-25', now: { messages: 60 }, domains: [{ domain: 'example.com' }] });
    for (const name of ['subject', 'text', 'html']) expect(all?.[name]).toContain('60 messages');
    expect((await ask('domain.writeSummary', { ...OF, filters })).json).toEqual([all]);
    await expect(ask('domain.writeSummary', { domain: 'nobody.example' })).rejects.toMatchObject({
      context: { switchyard: { code: 'dmarc.domain_missing' } },
    });
    const nothing = await startService();
    const { json } = await nothing.call('GET', '/v1/dmarc/summary');
    await nothing.close();
    const { domain } = await import('../../nodes/SwitchyardDmarcQuery/operations/domain.ts');
    const empty = await startRecorder({ answer: () => ({ status: 200, body: json }) });
    const { context } = stage({
      credential: { baseUrl: empty.url, token },
      parameters: { domain: '', filters: {} },
      items: [{ json: {} }],
    });
    expect(await domain.writeSummary(context, 0)).toEqual({ items: [] });
    await empty.close();
  });

  it('says what came of reading an entry of the quarantine again', async () => {
    const run = { id: 'dmarc/1', status: 'COMPLETED', runUrl: 'http://x.test/1' };
    const result = { outcome: 'published', published: 1, reports: [{ id: 'r1', state: 'published' }] };
    const server = await startRecorder({ answer: () => ({ status: 200, body: { run, result } }) });
    const { quarantine } = await import('../../nodes/SwitchyardDmarcQuery/operations/report.ts');
    const { context } = stage({
      credential: { baseUrl: server.url, token },
      parameters: { entryId: 'q1', about: '' },
      items: [{ json: {} }],
    });
    expect(await quarantine.read(context, 0)).toEqual({
      result: { run: 'dmarc/1', status: 'COMPLETED', runUrl: run.runUrl, ...result },
    });
    expect(server.calls).toMatchObject([{ method: 'POST', query: { wait: '60s' }, body: {} }]);
    await server.close();
  });

  it('gives the records of a report, as many as are asked for', async () => {
    const of = { of: 'report', reportId };
    const all = await ask('record.getAll', { ...of, returnAll: true });
    expect(all.json.map(({ number }) => number)).toEqual([1, 2, 3]);
    const two = await ask('record.getAll', { ...of, limit: 2 });
    expect(two.json.map(({ number }) => number)).toEqual([1, 2]);
    expect(two.output.map(({ pairedItem }) => pairedItem)).toEqual([{ item: 0 }, { item: 0 }]);
  });

  it('goes on with the next page, which a number names here', async () => {
    const pages = await startRecorder({
      answer: ({ query }) => ({
        status: 200,
        body: query.after === '7' ? { items: [{ number: 8 }], next: null } : { items: [{ number: 7 }], next: 7 },
      }),
    });
    const { SwitchyardDmarcQuery } = await import('../../nodes/SwitchyardDmarcQuery/SwitchyardDmarcQuery.node.ts');
    const node = new SwitchyardDmarcQuery();
    const given = { resource: 'record', operation: 'getAll', of: 'report', reportId: 'r1', returnAll: true };
    const { context } = stage({
      credential: { baseUrl: pages.url, token },
      parameters: withDefaults(node, given),
      items: [{ json: {} }],
    });
    const [output = []] = await node.execute.call(context);
    await pages.close();
    expect(output.map(({ json }) => json.number)).toEqual([7, 8]);
  });

  it('gives a domain an address with the records to publish, and takes it away', async () => {
    const { json } = await ask('domain.add', { domain: 'new.example' });
    expect(json).toMatchObject([{ address: 'dmarc-new.example@mail.example', records: expect.any(Array) }]);
    expect((await ask('domain.getDns', { domain: 'new.example' })).json).toMatchObject(json[0]?.records as object[]);
    expect((await ask('domain.remove', { domain: 'new.example' })).json).toEqual([
      { domain: 'new.example', removed: true },
    ]);
  });
});
