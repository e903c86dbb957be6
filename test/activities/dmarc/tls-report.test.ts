/** TLS reports on several domains: each session counts once, for its own domain, whichever way and however often they come. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { openDependencies, type OpenDependencies } from '../../../activities/open.ts';
import { publishReport } from '../../../activities/dmarc/publish-report.ts';
import { rereadReport } from '../../../activities/dmarc/reread-report.ts';
import { PARSER_VERSION, reportIdentity } from '../../../protocols/dmarc/identity.ts';
import { readTlsReport } from '../../../protocols/dmarc/tls.ts';
import { resolveAddresses } from '../../../stores/configuration/addresses.ts';
import { Configuration } from '../../../stores/configuration/schema.ts';
import type { Way } from '../../../protocols/dmarc/way.ts';
import type { DmarcReport } from '../../../stores/records/dmarc/port.ts';
import { ingest, mailWith, RECEIVED_AT, stepContext, stored } from './mails.ts';

let folder: string;
let dependencies: OpenDependencies;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'switchyard-tls-'));
  const configuration = Configuration.parse({
    state: folder,
    dmarc: { names: { enabled: false }, quota: { sender: { records: 40 } } },
  });
  dependencies = await openDependencies(configuration, resolveAddresses(configuration));
  await dependencies.records.rules.applyDeclared([{ domain: 'mail.test', rules: [] }]);
});
afterAll(async () => {
  await dependencies?.close();
  await rm(folder, { recursive: true, force: true });
});

let count = 0;
let [a, b] = ['', ''];
beforeEach(async () => {
  count += 1;
  [a, b] = [`a${count}.example`, `b${count}.example`];
  for (const domain of [a, b]) await dependencies.records.dmarc.domains.put(domain, `${domain}@mail.test`, 'test');
});

const policy = (domain: string, sessions: number, failures = 0) => ({
  policy: { 'policy-type': 'sts', 'policy-domain': domain },
  summary: { 'total-successful-session-count': sessions, 'total-failure-session-count': failures },
  'failure-details': Array.from({ length: failures }, () => ({ 'result-type': 'x', 'failed-session-count': 1 })),
});
const reportOn = (...policies: object[]) =>
  Buffer.from(
    JSON.stringify({
      'organization-name': 'Sender',
      'report-id': `${count}`,
      'date-range': { 'start-datetime': '2026-11-01T00:00:00Z', 'end-datetime': '2026-11-01T23:59:59Z' },
      policies,
    }),
  );

/** As an import, a node or a step does it: without a domain that it must be about. */
async function publish(bytes: Buffer, act: string, mail: DmarcReport['mail'] = null, way?: Way) {
  const report = await stored(bytes, dependencies, 'dmarc/2026/11');
  const input = publishReport.input.parse({ report, receivedAt: RECEIVED_AT, act, mail, way });
  return (await publishReport.run(input, dependencies, stepContext(act))).reports;
}
const byMail = (bytes: Buffer, domain: string, act: string) => ingest(mailWith({ bytes }), domain, act, dependencies);
const sessions = async () =>
  Promise.all(
    [a, b].map(async (domain) => {
      const range = { domain, from: '2026-11-01', to: '2026-11-30' };
      return (await dependencies.records.dmarc.queries.tls(range)).successful;
    }),
  );

async function readAllAnew() {
  const { generations } = dependencies.records.dmarc;
  const { number } = await generations.begin(PARSER_VERSION + count);
  const step = { signal: new AbortController().signal, report: () => undefined };
  const ends = [];
  for (const one of await generations.missing(number, undefined, 100))
    ends.push(await rereadReport(one, number, dependencies, step));
  expect(await generations.switchTo(number)).toBe(0);
  while ((await generations.clear()) > 0);
  return ends;
}

it('published without a domain: each counts for its own', async () => {
  const bytes = reportOn(policy(a, 10), policy(b, 100), policy('foreign.example', 1_000));
  expect(await publish(bytes, 'first')).toMatchObject([
    { state: 'published', domain: a, messages: 10, records: 1 },
    { state: 'published', domain: b, messages: 100, records: 1 },
  ]);
  expect(await sessions()).toEqual([10, 100]);
  expect(await publish(bytes, 'again')).toMatchObject([{ state: 'repeated' }, { state: 'repeated' }]);
  for (const domain of [a, b])
    expect(await byMail(bytes, domain, `mail-${domain}`)).toMatchObject([{ state: 'repeated', domain }]);
  expect(await sessions()).toEqual([10, 100]);
  expect(new Set(await readAllAnew())).toEqual(new Set(['published']));
  expect(await sessions()).toEqual([10, 100]);
});

it('by mail to one of them first: the other part counts when it comes, and once', async () => {
  const bytes = reportOn(policy(b, 100), policy(a, 10), policy(`sub.${a}`, 5));
  expect(await byMail(bytes, a, `to-${a}`)).toMatchObject([
    { domain: a, messages: 10 },
    { domain: a, messages: 5 },
  ]);
  expect(await sessions()).toEqual([15, 0]);
  expect(await publish(bytes, 'all')).toMatchObject([
    { state: 'published', domain: b },
    { state: 'repeated', domain: a },
    { state: 'repeated', domain: a },
  ]);
  expect(await sessions()).toEqual([15, 100]);
});

it('that an earlier build counted as one for the first domain is taken apart when it is read anew', async () => {
  const bytes = reportOn(policy(a, 10), policy(b, 100), policy('foreign.example', 1_000));
  const blob = await stored(bytes, dependencies, 'dmarc/2026/11');
  const { policies } = readTlsReport(bytes);
  const { sha256 } = blob;
  const name = { kind: 'tls' as const, policyDomain: a, organization: 'Sender', reportId: `${count}`, sha256 };
  const interval = { begin: Date.parse('2026-11-01') / 1_000, end: Date.parse('2026-11-02') / 1_000 - 1 };
  const report = {
    ...{ ...name, ...interval, id: `00000000-0000-7000-8000-00000000000${count}`, domain: a, day: '2026-11-01' },
    ...{ receivedAt: RECEIVED_AT, blob, file: null, mail: null, policy: null, email: null, details: {} },
    ...{ warnings: [], parser: 1, identity: reportIdentity({ ...name, ...interval }) },
  };
  const { reports, generations } = dependencies.records.dmarc;
  const { number } = await generations.current();
  await reports.publish(report, { kind: 'tls', policies: policies.slice(0, 2) }, number);
  expect(await sessions()).toEqual([110, 0]);
  await readAllAnew();
  expect(await sessions()).toEqual([10, 100]);
  // Now it is two, and nothing is counted again.
  await readAllAnew();
  expect(await byMail(bytes, b, `to-${b}`)).toMatchObject([{ state: 'repeated', domain: b }]);
  expect(await sessions()).toEqual([10, 100]);
});

it('by HTTPS uses up the quota of all that comes so', async () => {
  const take = (failures: number) => publish(reportOn(policy(a, 1, failures)), `https-${failures}-${a}`, null, 'https');
  expect(await take(45)).toMatchObject([{ state: 'refused', code: 'dmarc.over_quota' }]);
  const [published] = await take(30);
  expect(await dependencies.records.dmarc.queries.report(published?.id ?? '')).toMatchObject({
    mail: null,
    details: { way: 'https' },
  });
});

it('uses up the quota with its failures, which are rows as records are', async () => {
  const mail = { activityId: null, sender: 'r@sender.test', headerFrom: null, authentication: null };
  const take = (failures: number) => publish(reportOn(policy(a, 1, failures)), `${failures}-${a}`, mail);
  expect(await take(45)).toMatchObject([{ state: 'refused', code: 'dmarc.over_quota' }]);
  expect(await take(30)).toMatchObject([{ state: 'published' }]);
});
