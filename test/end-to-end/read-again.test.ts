/**
 * What is in quarantine is read again, through real processes: by the API, by the command, and by the button of its page
 * in a real browser. `RECORD_HISTORIES=1` keeps the histories for test/workflows/replay.test.ts.
 */
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { Client, Connection } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { quarantine } from '../../activities/dmarc/quarantine.ts';
import { FORWARD_DOMAIN, PLAIN_DOMAIN } from '../../cli/demo/world.ts';
import { readAgainId } from '../../servers/dmarc/read-again.ts';
import { openBlobs } from '../../stores/blobs/open.ts';
import type { BlobStore } from '../../stores/blobs/port.ts';
import { localUrl } from '../../stores/configuration/addresses.ts';
import type { Quarantined } from '../../stores/records/dmarc/port.ts';
import { mailWith } from '../activities/dmarc/mails.ts';
import { runCommand } from '../cli/command-folder.ts';
import { feedback, range, record } from '../protocols/dmarc/report.ts';
import { browserIsMissing, startBrowser } from '../support/browser.ts';
import { replayEnded } from '../support/history.ts';
import { eventually, openHouse, type House } from '../support/house.ts';

const ABOUT = 'example.com';
const ADDRESS = `reports@${FORWARD_DOMAIN}`;
const LATER = 'later.example';

let house: House;
let client: Client;
let blobs: BlobStore;
let url: string;
let token: string;
beforeAll(async () => {
  house = await openHouse({ dmarc: { quota: { sender: { records: 3 } } } });
  const { addresses, configuration } = house.installation;
  client = new Client({ connection: await Connection.connect({ address: addresses.temporal }) });
  blobs = await openBlobs(configuration);
  url = localUrl(addresses.http);
  ({ token } = await house.records.tokens.create('reader', ['dmarc:*']));
  await house.records.dmarc.domains.put(ABOUT, ADDRESS, 'test');
});
afterAll(async () => {
  await blobs?.close();
  await client?.connection.close();
  await house?.close();
});

const document = (id: string, about = ABOUT, records = 1): string =>
  feedback(
    `<report_metadata><org_name>receiver.test</org_name><email>d@receiver.test</email><report_id>${id}</report_id>${range('1700000000', '1700086399')}</report_metadata>` +
      `<policy_published><domain>${about}</domain><p>none</p></policy_published>${record().repeat(records)}`,
  );

const list = () => house.records.dmarc.quarantine.list({});
const reportsAbout = (domain: string) => house.records.dmarc.queries.reports({ domain });

/** Sends a mail with it, and waits until it is in quarantine. */
async function refusedByMail(bytes: Buffer | string, name?: string): Promise<Quarantined> {
  const before = new Set((await list()).map(({ id }) => id));
  const { data } = await house.send({ to: [ADDRESS], message: mailWith({ bytes, ...(name ? { name } : {}) }) });
  expect(data).toMatch(/^250 /);
  return eventually(async () => (await list()).find(({ id }) => !before.has(id)), 'the refusal');
}

/** Puts it into quarantine as an earlier run, an import or a POST did. */
async function refused(change: Partial<Quarantined>, bytes: Buffer | string): Promise<Quarantined> {
  const blob = await blobs.write(Readable.from([Buffer.from(bytes)]), { prefix: 'dmarc/2023/11', maxBytes: 1_000_000 });
  const { configuration } = house.installation;
  const nobody = { domain: ABOUT, address: null, sender: null, file: null, mail: null };
  const why = { code: 'dmarc.worker_lost', message: 'Its worker was lost.', receivedAt: '2023-11-16T01:02:03.000Z' };
  const entry = { ...nobody, ...why, act: `test/${Math.random()}`, blob, ...change };
  return quarantine(entry, { configuration, blobs, records: house.records });
}

async function post(id: string, body?: object, query = '?wait=60s') {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const answer = await fetch(`${url}/v1/dmarc/quarantine/${id}/read${query}`, {
    method: 'POST',
    headers,
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- an answer is what the test says it is
  return { status: answer.status, json: (await answer.json()) as any };
}

it('a report about a domain that was added since is published for it, with what was found out about its mail', async () => {
  const entry = await refusedByMail(gzipSync(document('later', LATER)), 'later.gz');
  expect(entry.code).toBe('dmarc.foreign_domain');
  expect(await post(entry.id, { domain: LATER })).toMatchObject({
    status: 404,
    json: { code: 'dmarc.domain_missing' },
  });
  await house.records.dmarc.domains.put(LATER, `later@${FORWARD_DOMAIN}`, 'test');
  const { status, json } = await post(entry.id, { domain: LATER });
  expect([status, json]).toEqual([
    200,
    {
      run: expect.objectContaining({ id: readAgainId(entry.id), status: 'COMPLETED' }),
      result: expect.objectContaining({ outcome: 'published', published: 1, repeated: 0, refused: 0 }),
    },
  ]);
  expect(await reportsAbout(LATER)).toMatchObject([
    {
      id: json.result.reports[0].id,
      receivedAt: entry.receivedAt,
      blob: entry.blob,
      mail: { sender: `sender@${PLAIN_DOMAIN}`, authentication: { spf: { result: 'pass' } } },
    },
  ]);
  expect(await house.records.dmarc.quarantine.get(entry.id)).toBeUndefined();
  const [last] = await house.records.audit.list({ limit: 1 });
  expect(last).toMatchObject({ action: 'dmarc.quarantine.removed', subject: entry.id, actor: 'token:reader' });
  await replayEnded(client.workflow.getHandle(readAgainId(entry.id)), 'ingestDmarcReport.read-again');
  expect(await post(entry.id)).toMatchObject({ status: 404, json: { code: 'dmarc.quarantine_missing' } });
});

it('what is refused again is in quarantine once, in its old place, with its reason of now and its original', async () => {
  const bytes = '<!DOCTYPE feedback [<!ENTITY a "b">]><feedback/>';
  const entry = await refused({ file: 'report.xml', address: ADDRESS }, bytes);
  const count = (await list()).length;
  const { json } = await post(entry.id);
  expect(json.result).toMatchObject({ outcome: 'quarantined', refused: 1, reports: [{ code: 'dmarc.doctype' }] });
  expect(await list()).toHaveLength(count);
  const kept = await house.records.dmarc.quarantine.get(json.result.reports[0].id);
  const { receivedAt, address, domain, file } = entry;
  expect(kept).toMatchObject({ code: 'dmarc.doctype', receivedAt, address, domain, file });
  expect((await buffer(await blobs.read(kept?.blob.key ?? ''))).toString()).toBe(bytes);
  expect(await house.records.blobOwners.isOwned(kept?.blob.key ?? '', new Date().toISOString())).toBe(true);
  await replayEnded(client.workflow.getHandle(readAgainId(entry.id)), 'ingestDmarcReport.refused-again');
});

it('what was over the quota of its sender is published, and the quota is as it was', async () => {
  const entry = await refusedByMail(document('large', ABOUT, 4));
  expect(entry.code).toBe('dmarc.over_quota');
  const { json } = await post(entry.id);
  expect(json.result).toMatchObject({ published: 1, reports: [{ records: 4 }] });
  expect((await house.send({ to: [ADDRESS], message: mailWith({ bytes: document('small') }) })).data).toMatch(/^250 /);
  await eventually(async () => (await reportsAbout(ABOUT)).some(({ reportId }) => reportId === 'small'), 'the next');
});

it('a whole mail is looked into, and what was counted meanwhile counts once', async () => {
  const mail = mailWith({ bytes: document('whole') }, { bytes: document('small') });
  const entry = await refused({ code: 'dmarc.terminated', address: ADDRESS }, mail);
  const { json } = await post(entry.id);
  expect(json.result).toMatchObject({ outcome: 'published', published: 1, repeated: 1, refused: 0 });
  expect(await house.records.dmarc.quarantine.get(entry.id)).toBeUndefined();
});

it('what was imported came to no address: the domain is named, as the answer says', async () => {
  const entry = await refused({ domain: null }, document('imported'));
  expect(await post(entry.id)).toMatchObject({ status: 422, json: { code: 'dmarc.domain_needed', field: 'domain' } });
  expect((await post(entry.id, { domain: 'Example.COM' })).json.result).toMatchObject({ published: 1 });
});

it('without its bytes it stays where it is, and says so', async () => {
  const entry = await refused({}, document('gone'));
  await blobs.remove(entry.blob.key);
  expect(await post(entry.id)).toMatchObject({ status: 404, json: { code: 'blob.missing' } });
  expect(await house.records.dmarc.quarantine.get(entry.id)).toBeDefined();
});

it('without a wait the answer is the run', async () => {
  const entry = await refused({}, document('later on'));
  const { status, json } = await post(entry.id, undefined, '');
  expect([200, 202]).toContain(status);
  expect(await client.workflow.getHandle(json.run.id).result()).toMatchObject({ published: 1 });
});

it('a run that is cancelled leaves it where it is', async () => {
  // A host whose name nobody tells holds the run up.
  house.dns.fail('99.2.0.192.in-addr.arpa', 'silent');
  const held = document('held').replace(/<source_ip>[^<]+/, '<source_ip>192.0.2.99');
  const entry = await refused({}, held);
  const { json } = await post(entry.id, undefined, '');
  const run = client.workflow.getHandle(json.run.id);
  await eventually(
    async () => (await run.describe()).raw.pendingActivities?.some((one) => one.activityType?.name === 'dmarc.enrich'),
    'a question that hangs',
  );
  await run.cancel();
  expect(await run.result()).toMatchObject({ refused: 1, reports: [{ code: 'dmarc.cancelled', id: entry.id }] });
  expect(await house.records.dmarc.quarantine.get(entry.id)).toEqual(entry);
  await replayEnded(run, 'ingestDmarcReport.reading-again-cancelled');
});

describe('by the command', () => {
  const run = (...args: string[]) => runCommand(house.folder, ['dmarc', ...args]);

  it('is listed, read, and what comes of it is said', async () => {
    const [good, bad] = [
      await refused({}, document('typed')),
      await refused({ code: 'x\u001b[2J' }, 'no report at all'),
    ];
    const { stdout } = await run('quarantine', ABOUT);
    expect(stdout).toContain(good.id);
    expect(stdout.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u);
    expect(JSON.parse((await run('quarantine', '--json')).stdout)).toHaveLength((await list()).length);
    expect(await run('reread', good.id)).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^published: receiver\.test, 2023-11-1\d, 1 message, report [\w-]+\n$/),
    });
    const again = await run('reread', bad.id, '--json');
    expect([again.status, JSON.parse(again.stdout)]).toMatchObject([1, { reports: [{ code: 'dmarc.not_a_report' }] }]);
    expect(await run('reread', good.id)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('dmarc quarantine'),
    });
  });
});

describe.skipIf(browserIsMissing())('by the button of its page', { timeout: 120_000 }, () => {
  it('is pressed with the keyboard, and the page says what came of it', async () => {
    const [good, bad] = [
      await refused({ address: ADDRESS, file: 'late.xml' }, document('pressed')),
      await refused({ address: ADDRESS, file: 'bad.xml' }, '<feedback><a></feedback>'),
    ];
    const browser = await startBrowser();
    const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
    const press = async (entry: Quarantined) => {
      await page.goto(`${url}/dmarc/quarantine/${entry.id}`);
      for (let presses = 0; presses < 40; presses++) {
        await page.keyboard.press('Tab');
        if ((await page.evaluate('document.activeElement.textContent')) === 'Read it again') break;
      }
      await page.keyboard.press('Enter');
      await page.waitForURL(/\/read$/);
    };
    const picture = async (name: string) => {
      if (process.env.PICTURES) await page.screenshot({ path: `${process.env.PICTURES}/${name}.png`, fullPage: true });
    };
    try {
      await page.goto(`${url}/dmarc/quarantine/${good.id}`);
      expect(await page.getByLabel('As a report about').inputValue()).toBe(ABOUT);
      // A time of another year says which.
      expect(await page.locator('time').first().textContent()).toContain('2023');
      await picture('entry');
      await press(good);
      await page.getByText('It has left quarantine.').waitFor();
      await picture('read-again');
      await page.getByRole('link', { name: 'late.xml' }).click();
      await page.getByRole('heading', { name: 'The report itself' }).waitFor();
      await press(bad);
      await page.getByText('refused again', { exact: true }).waitFor();
      await picture('refused-again');
      await page.getByRole('link', { name: 'bad.xml' }).click();
      await page.getByRole('button', { name: 'Read it again' }).waitFor();
      await page.getByText('dmarc.malformed').waitFor();
    } finally {
      await browser.close();
    }
  });
});
