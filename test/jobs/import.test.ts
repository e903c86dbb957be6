/** Reports of the past, by the command and the real workflow: what counts, what is refused, and what is left alone. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { afterEach, expect, it, vi } from 'vitest';
import { importPast } from '../../cli/dmarc/import.ts';
import { pack } from '../../cli/dmarc/pack.ts';
import { cancelJob, requestJob } from '../../servers/jobs/request.ts';
import { importReports } from '../../servers/jobs/kinds.ts';
import { openBlobs } from '../../stores/blobs/open.ts';
import type { BlobRef } from '../../stores/blobs/port.ts';
import type { Job } from '../../stores/records/jobs-port.ts';
import { importOwner } from '../../stores/records/dmarc/port.ts';
import { zipOf } from '../activities/dmarc/archives.ts';
import { mailWith } from '../activities/dmarc/mails.ts';
import { feedback, range, record, row } from '../protocols/dmarc/report.ts';
import { startService } from '../servers/http/service.ts';
import { sharedTemporal } from '../setup/temporal.ts';
import { eventually } from '../support/house.ts';
import { replayEnded } from '../support/history.ts';
import { FINAL, openJobBench, type JobBench } from '../support/jobs/bench.ts';

let bench: JobBench;
let folder: string;
afterEach(async () => {
  await bench?.close();
  await rm(folder, { recursive: true, force: true });
});

const DOMAIN = 'example.com';
const RANGE = { domain: DOMAIN, from: '2023-11-01', to: '2023-11-30' };
const BEGIN = 1_700_000_000;
/** A host that the worker ends with where it is asked for. */
const DEADLY = '203.0.113.9';
/** A host of whose name nobody ever tells: the group of reports that has it is not published before the job gives up. */
const SILENT = '203.0.113.10';

const document = (id: string, { domain = DOMAIN, count = 1, contact = '', evaluated = '', ip = '192.0.2.1' } = {}) =>
  feedback(
    `<report_metadata><org_name>receiver.test</org_name><email>d@receiver.test</email>${contact}<report_id>${id}</report_id>${range(String(BEGIN), String(BEGIN + 86_399))}</report_metadata>` +
      `<policy_published><domain>${domain}</domain><p>none</p></policy_published>${record({ row: row({ ip, count: String(count), ...(evaluated && { evaluated }) }) })}`,
  );

/** RFC 8460, 4.4. */
const TLS = JSON.stringify({
  'organization-name': 'receiver.test',
  'date-range': { 'start-datetime': '2023-11-14T00:00:00Z', 'end-datetime': '2023-11-14T23:59:59Z' },
  'contact-info': 'tls@receiver.test',
  'report-id': 'tls-1',
  policies: [
    {
      policy: { 'policy-type': 'sts', 'policy-string': [], 'policy-domain': DOMAIN },
      summary: { 'total-successful-session-count': 5, 'total-failure-session-count': 0 },
    },
  ],
});

const FROM = 'From reports@receiver.test Wed Nov 15 06:07:08 2023';
const dated = (mail: Buffer) => Buffer.concat([Buffer.from('Date: Wed, 15 Nov 2023 06:07:08 +0000\r\n'), mail]);
const mboxOf = (eol: string, ...mails: (Buffer | string)[]) =>
  mails
    .map((mail) => `${FROM}\n${mail.toString('latin1').replaceAll('\r\n', '\n')}\n`)
    .join('')
    .replaceAll('\n', eol);

/** A mail as some reporters write it: the report as it is, with a line that a mailbox has to quote. */
const unencoded = (report: string) =>
  `From: d@receiver.test\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/xml\nContent-Disposition: attachment\n\n${report}\n--b--\n`;

async function files(named: Record<string, Buffer | string>): Promise<void> {
  folder = await mkdtemp(join(tmpdir(), 'switchyard-import-'));
  for (const [name, bytes] of Object.entries(named)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), bytes);
  }
}

async function open(named: Record<string, Buffer | string>): Promise<void> {
  await files(named);
  bench = await openJobBench(await sharedTemporal());
  await bench.records.rules.applyDeclared([{ domain: 'mail.test', rules: [] }]);
  await bench.records.dmarc.domains.put(DOMAIN, 'reports@mail.test', 'test');
}

/** `switchyard dmarc import` on this terminal. */
async function command(path = folder): Promise<{ status: number; out: string; job: Job }> {
  let out = '';
  const write = vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    out += String(text);
    return true;
  });
  const temporal = {
    ...bench.configuration.temporal,
    address: await sharedTemporal(),
    taskQueue: bench.desk.taskQueue,
  };
  const configuration = { ...bench.configuration, temporal };
  try {
    const status = await importPast(path, { configuration, records: bench.records, detach: false });
    const job = await bench.records.jobs.get(/[Jj]ob (\S+)/.exec(out)?.[1] ?? '');
    if (!job) throw new Error(`no job: ${out}`);
    return { status, out, job };
  } finally {
    write.mockRestore();
  }
}

async function stored(): Promise<BlobRef> {
  const blobs = await openBlobs(bench.configuration);
  const events = { packed: () => undefined, skipped: () => undefined };
  const archive = await blobs.write(pack(folder, events), { prefix: 'import', maxBytes: 100_000_000 });
  await blobs.close();
  return archive;
}
const ask = (archive: BlobRef) =>
  requestJob(bench.desk, importReports, { archive }, { requestedBy: 'test', ifRunning: 'join' });
const totals = () => bench.records.dmarc.queries.totals(RANGE);
const runOf = (id: string) => bench.client.workflow.getHandle(`job/${id}`);
const lines = async (id: string) => (await bench.records.jobs.lines(id, 0, 1_000)).map(({ words }) => words);

it('publishes each report of a folder once, names what is refused, and leaves alone what is no report', async () => {
  const contact = '<extra_contact_info>Mail us:\nFrom the team\n</extra_contact_info>';
  const quoted = document('5', { contact }).replace('\nFrom the team', '\n>From the team');
  const damaged = gzipSync(document('9'));
  damaged.fill(0xff, 100, 120);
  const conflict = document('1', { evaluated: '<disposition>reject</disposition><dkim>pass</dkim><spf>pass</spf>' });
  await open({
    'a/1.xml': document('1'),
    'a/1-again.xml.gz': gzipSync(document('1')),
    'a/with an odd \u001b[31m name.dat': await zipOf({ 'report.xml': document('2') }),
    'bad/cut.xml': document('9').slice(0, 200),
    'bad/foreign.xml': document('8', { domain: 'other.test' }),
    'bad/conflict.xml': conflict,
    'bad/broken.gz': damaged,
    'notes.txt': 'Dear diary,\nnothing came today.\n',
    'picture.bin': Buffer.concat([Buffer.from([0x89, 0, 1]), randomBytes(2_000)]),
    empty: '',
    'maildir/cur/1700028428.M1P1.host:2,S': dated(mailWith({ bytes: gzipSync(document('3')) })),
    'maildir/new/1700028429.M1P1.host': dated(mailWith({ bytes: 'no report', name: 'invoice.pdf' })),
    'maildir/tmp/1700028430.M1P1.host': dated(mailWith({ bytes: gzipSync(document('7')) })),
    'tls.json': TLS,
    'box/lf': mboxOf(
      '\n',
      mailWith({ bytes: gzipSync(document('4')) }),
      unencoded(quoted),
      'Subject: hello\n\n>From me\n',
    ),
    'box/crlf': mboxOf('\r\n', mailWith({ bytes: gzipSync(document('4')) }), mailWith({ bytes: document('6') })),
  });
  await bench.startWorker();
  const { status, out, job } = await command();
  expect(status).toBe(0);
  expect(job.state).toBe('done');
  expect(out).toContain('done: 7 imported, 2 already there, 4 refused (in quarantine), 5 not a report\n');
  for (const code of ['truncated', 'foreign_domain', 'conflicting_report', 'broken_archive'])
    expect(out).toMatch(new RegExp(`Refused, dmarc\\.${code}: 1\n`));
  expect(out).toContain('In quarantine, dmarc.foreign_domain: bad/foreign.xml: The report is about other.test');
  expect(out).toContain('No report address here: other.test (1). If they are yours: switchyard dmarc add DOMAIN');
  expect(out).toMatch(/See it: {2}http\S+\/dmarc .*\/dmarc\/quarantine\n/);
  expect(out).not.toContain('\u001b[31m name');

  expect(await totals()).toMatchObject({ messages: 6 });
  const { dmarc } = bench.records;
  const reports = (await dmarc.queries.reports({ domain: DOMAIN, limit: 50 })).map((one) => one);
  expect(reports.find(({ reportId }) => reportId === '5')?.details.metadata?.extraContactInfo).toContain(
    '\nFrom the team',
  );
  expect(reports.find(({ reportId }) => reportId === '3')).toMatchObject({
    receivedAt: '2023-11-15T06:07:08.000Z',
    blob: { key: expect.stringMatching(/^dmarc\/2023\/11\//) },
    mail: { headerFrom: 'reports@receiver.test', authentication: null },
  });
  expect((await dmarc.queries.services(RANGE)).map(({ service }) => service)).toEqual(['Google']);
  const quarantined = await dmarc.quarantine.list({});
  expect(quarantined.map(({ code, file }) => [code, file]).sort()).toEqual([
    ['dmarc.broken_archive', 'bad/broken.gz'],
    ['dmarc.conflicting_report', 'bad/conflict.xml'],
    ['dmarc.foreign_domain', 'bad/foreign.xml'],
    ['dmarc.truncated', 'bad/cut.xml'],
  ]);
  await bench.idle(job.key);
  await replayEnded(runOf(job.id), 'importReports.done');

  const again = await command();
  expect(again.job.id).not.toBe(job.id);
  expect(again.out).toContain('done: nothing new: 9 already there, 4 refused');
  expect(await totals()).toMatchObject({ messages: 6 });
  expect(await dmarc.quarantine.list({})).toHaveLength(4);
  const mailbox = await command(join(folder, 'box/lf'));
  expect(mailbox.out).toContain('done: nothing new: 2 already there, 1 not a report');
}, 60_000);

const many = (count: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, id) => [`${id}.xml.gz`, gzipSync(document(String(id)))]));
/** The last to be read, of the silent host. */
const last = (id: string) => ({ 'z.xml.gz': gzipSync(document(id, { ip: SILENT })) });

it('goes on where it was when its worker is killed: each report counts once', { timeout: 120_000 }, async () => {
  const all = Object.entries(many(400));
  const some = (from: number, to: number) => Object.fromEntries(all.slice(from, to));
  await files(some(200, 300));
  const tar = await buffer(pack(folder, { packed: () => undefined, skipped: () => undefined }));
  await rm(folder, { recursive: true });
  // As programs export a mailbox.
  const exported = { 'export.zip': await zipOf(some(0, 200)), 'export.tar.gz': gzipSync(tar) };
  await open({ ...exported, ...some(300, 399), ...last('399') });
  const worker = await bench.startWorker({ silent: SILENT });
  const archive = await stored();
  const { job } = await ask(archive);
  expect((await ask(archive)).job.id).toBe(job.id);
  await eventually(async () => ((await bench.records.jobs.get(job.id))?.progress?.done ?? 0) > 0, 'some are published');
  await bench.kill(worker);
  const before = (await totals()).messages;
  expect(before).toBeGreaterThan(0);
  expect(before).toBeLessThan(400);
  await bench.startWorker();
  const end = await bench.job(job.id, ...FINAL);
  expect([end.state, end.progress?.words]).toEqual(['done', '400 imported']);
  expect(await totals()).toMatchObject({ messages: 400, reports: 400 });
});

it('leaves what lies deeper than one archive, and says what to do', async () => {
  const deep = await zipOf({ 'inner.zip': await zipOf({ '1.gz': gzipSync(document('1')) }), '2.xml': document('2') });
  await open({ 'deep.zip': deep });
  await bench.startWorker();
  const { out } = await command();
  expect(out).toContain('done: 1 imported, 1 refused (in quarantine)\n');
  expect(out).toContain('In quarantine, dmarc.nested_archive: deep.zip: inner.zip: ');
  expect(out).toContain('unpack what has others in it, and import the folder');
});

it(
  'a report with which the worker ends is in quarantine after the third time, and all others count once',
  { timeout: 240_000 },
  async () => {
    const deadly = gzipSync(document('deadly', { ip: DEADLY }));
    await open({ ...many(250), '2-deadly.xml.gz': deadly });
    const kills = await bench.superviseWorker({ deadly: DEADLY });
    const { job } = await ask(await stored());
    const isOver = async () => (await bench.records.jobs.get(job.id))?.endedAt !== null;
    await eventually(isOver, 'the end of the job', 200_000);
    const end = await bench.job(job.id, ...FINAL);
    expect([end.state, end.progress?.words]).toEqual(['done', '250 imported, 1 refused (in quarantine)']);
    expect(kills()).toBe(3);
    expect(await totals()).toMatchObject({ messages: 250, reports: 250 });
    const kept = await bench.records.dmarc.quarantine.list({});
    expect(kept).toMatchObject([{ code: 'dmarc.worker_lost', file: '2-deadly.xml.gz' }]);
    const blobs = await openBlobs(bench.configuration);
    expect(await buffer(await blobs.read(kept[0]?.blob.key ?? ''))).toEqual(deadly);
    await blobs.close();
    expect(await lines(job.id)).toEqual(
      expect.arrayContaining([
        'The worker was lost, 1 of 3 times: what it was at is read one by one.',
        'The worker was lost, 2 of 3 times: what it was at is read alone.',
        'In quarantine, dmarc.worker_lost: 2-deadly.xml.gz: Its worker was lost 3 times in a row.',
      ]),
    );
    await bench.idle(job.key);
    await replayEnded(runOf(job.id), 'importReports.worker-lost');
  },
);

it('keeps what it has published when it is cancelled, and gives up its archive', async () => {
  await open({ ...many(299), ...last('299') });
  const worker = await bench.startWorker({ silent: SILENT });
  const archive = await stored();
  const { job } = await ask(archive);
  await eventually(async () => ((await bench.records.jobs.get(job.id))?.progress?.done ?? 0) > 0, 'some are published');
  await cancelJob(bench.desk, job.id, 'test');
  expect((await bench.job(job.id, ...FINAL)).state).toBe('cancelled');
  const kept = (await totals()).messages;
  expect(kept).toBeGreaterThan(0);
  expect(kept).toBeLessThan(300);
  expect(await bench.records.blobOwners.isOwned(archive.key, new Date().toISOString())).toBe(false);
  await bench.idle(job.key);
  await replayEnded(runOf(job.id), 'importReports.cancelled');
  await bench.kill(worker);
  await bench.startWorker();
  const { job: next } = await ask(archive);
  expect((await bench.job(next.id, ...FINAL)).state).toBe('done');
  expect(await totals()).toMatchObject({ messages: 300, reports: 300 });
});

it('fails where the archive is gone or broken, and what came before the break counts', async () => {
  await open({ '1.xml': document('1'), '2.xml': document('2') });
  await bench.startWorker();
  const gone = { key: `import/${'0'.repeat(64)}`, sha256: '0'.repeat(64), size: 1 };
  const { job } = await ask(gone);
  expect(await bench.job(job.id, ...FINAL)).toMatchObject({ state: 'failed', errorCode: 'blob.missing' });
  await bench.idle(job.key);
  await replayEnded(runOf(job.id), 'importReports.failed');

  const blobs = await openBlobs(bench.configuration);
  const whole = await stored();
  const cut = (async function* () {
    yield (await buffer(await blobs.read(whole.key))).subarray(0, 1_600);
  })();
  const broken = await blobs.write(cut, { prefix: 'import', maxBytes: 10_000 });
  await blobs.close();
  const { job: half } = await ask(broken);
  expect(await bench.job(half.id, ...FINAL)).toMatchObject({ state: 'failed', errorCode: 'archive.broken' });
  expect(await lines(half.id)).toEqual(expect.arrayContaining([expect.stringContaining('Started')]));
  expect(await totals()).toMatchObject({ messages: 1 });
  expect(await bench.records.blobOwners.isOwned(broken.key, new Date().toISOString())).toBe(true);
  expect(importOwner(broken.sha256)).toContain(broken.sha256);
});

it('takes an archive over HTTP as tar writes it, in chunks of an unknown number, and the same request is one job', async () => {
  await open({ ...many(20), 'bad.xml': document('bad').slice(0, 200), 'notes.txt': 'no report\n' });
  await bench.startWorker();
  const { taskQueue } = bench.desk;
  const temporal = await sharedTemporal();
  const service = await startService({ temporal, taskQueue, state: bench.configuration.state });
  try {
    const token = await service.token('blobs:write', 'jobs:*', 'dmarc:write');
    const tar = spawn('tar', ['cf', '-', '.'], { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] });
    const upload = await fetch(`${service.url}/v1/blobs`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
      body: Readable.toWeb(tar.stdout) as ReadableStream,
      duplex: 'half',
    } as RequestInit);
    expect(upload.status).toBe(201);
    const archive = (await upload.json()) as BlobRef;
    const body = { kind: 'dmarc.import', parameters: { archive, name: 'of the test' } };
    const headers = { 'idempotency-key': 'once' };
    const asked = await service.call('POST', '/v1/jobs', { body, token, headers });
    expect([asked.status, asked.json]).toEqual([202, expect.objectContaining({ kind: 'dmarc.import' })]);
    const { id, key } = asked.json as Job;
    // The upload is swept after a day, and the job may wait for longer.
    expect(
      await bench.records.blobOwners.isOwned(archive.key, new Date(Date.now() + 3 * 86_400_000).toISOString()),
    ).toBe(true);
    await bench.job(id, ...FINAL);
    const { json: job } = await service.call('GET', `/v1/jobs/${id}`, { token });
    expect([job.state, job.progress.words]).toEqual(['done', '20 imported, 1 refused (in quarantine), 1 not a report']);
    const { json: log } = await service.call('GET', `/v1/jobs/${id}/log`, { token });
    expect(log.items.map(({ words }: { words: string }) => words)).toContainEqual(
      expect.stringMatching(/^In quarantine, dmarc\.truncated: \.\/bad\.xml: /),
    );
    expect(await totals()).toMatchObject({ messages: 20, reports: 20 });
    await bench.idle(key);
    // The archive is nobody's any more: what was asked for before needs none.
    const blobs = await openBlobs(bench.configuration);
    await blobs.remove(archive.key);
    await blobs.close();
    const again = await service.call('POST', '/v1/jobs', { body, token, headers });
    expect([again.status, again.json.id]).toEqual([202, id]);
    const other = await service.call('POST', '/v1/jobs', { body, token });
    expect([other.status, other.json.code]).toEqual([404, 'blob.missing']);
  } finally {
    await service.close();
  }
});

it('says what is in the way before anything is stored', async () => {
  await files({ '1.xml': document('1') });
  bench = await openJobBench(await sharedTemporal());
  await expect(command()).rejects.toMatchObject({ code: 'dmarc.no_domain' });
  await expect(command(join(folder, 'none'))).rejects.toMatchObject({ code: 'import.unreadable' });
  expect(await bench.records.jobs.list({})).toEqual([]);
});
