/** The summary of some days: its figures against a count over what was published, and its mail as a person sees it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openDependencies, type OpenDependencies } from '../../../activities/open.ts';
import { summarize } from '../../../activities/dmarc/summarize.ts';
import { resolveAddresses } from '../../../stores/configuration/addresses.ts';
import { Configuration } from '../../../stores/configuration/schema.ts';
import { draw, passed, publish, refuse, type Sent } from '../../servers/http/dmarc-world.ts';
import { browserIsMissing, startBrowser } from '../../support/browser.ts';
import { stepContext } from './mails.ts';

const TO = '2026-10-25';
const ATTACK = `"><script>alert('text')</script><img src=x onerror="alert('image')">' onfocus=alert(1) \u202e`;

let folder: string;
let dependencies: OpenDependencies;
let sent: Sent[];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'switchyard-summary-'));
  const configuration = Configuration.parse({ state: folder, http: { publicUrl: 'https://sy.test/' } });
  dependencies = await openDependencies(configuration, resolveAddresses(configuration));
  const { records } = dependencies;
  await records.rules.applyDeclared([{ domain: 'in.test', rules: [] }]);
  expect(await summary()).toMatchObject({ domains: [], subject: 'DMARC: no domain is reported about yet' });
  for (const domain of ['example.com', 'attacked.test', 'waiting.test'])
    await records.dmarc.domains.put(domain, `${domain}@in.test`, 'test');
  sent = draw({ domain: 'example.com', to: TO, days: 40 });
  await publish(dependencies, sent, { domain: 'example.com' });
  const enemy = { day: TO, organization: ATTACK, source: '203.0.113.200', service: ATTACK, count: 12 };
  const failed = { disposition: 'none', dkim: 'fail', spf: 'fail' } as const;
  const older = { ...enemy, ...failed, day: '2026-10-01', source: '203.0.113.201', organization: 'r.test', count: 1 };
  await publish(dependencies, [older, { ...enemy, ...failed }], { domain: 'attacked.test' });
  const words = { name: `x\r\n${ATTACK}`, country: ATTACK, network: ATTACK };
  await records.dmarc.hosts.put([{ address: enemy.source, ...words }]);
  await refuse(dependencies, { domain: 'example.com', words: 'The document has a DOCTYPE.' });
});
afterAll(async () => {
  await dependencies?.close();
  await rm(folder, { recursive: true, force: true });
});

const summary = (input: object = {}) => summarize.call({ to: TO, ...input }, dependencies, stepContext('summary'));
const count = (rows: Sent[]) => rows.reduce((total, one) => total + one.count, 0);

it('says which domain it does not know, and what is no number of days', async () => {
  await expect(summary({ domain: 'nobody.test' })).rejects.toMatchObject({ code: 'dmarc.domain_missing' });
  for (const input of [{ days: 0 }, { days: 367 }, { to: '2026-02-30' }])
    await expect(summary(input)).rejects.toMatchObject({ code: 'input.invalid' });
});

it('has the figures of what was reported, beside those of as many days before', async () => {
  const now = sent.filter(({ day }) => day > '2026-10-18');
  const before = sent.filter(({ day }) => day > '2026-10-11' && day <= '2026-10-18');
  const found = await summary({ domain: ' Example.COM. ' });
  const rate = count(now.filter(passed)) / count(now);
  expect(found).toMatchObject({ from: '2026-10-19', to: TO, days: 7, domainsMore: 0, url: 'https://sy.test/dmarc' });
  expect(found.domains).toMatchObject([
    {
      domain: 'example.com',
      url: 'https://sy.test/dmarc/example.com?from=2026-10-19&to=2026-10-25',
      policy: 'none',
      now: { messages: count(now), passed: count(now.filter(passed)), passRate: rate },
      before: { messages: count(before), passed: count(before.filter(passed)) },
      refused: 1,
    },
  ]);
  // Those that the world begins with four days before its end.
  const earlier = new Set(sent.filter(({ day }) => day <= '2026-10-18').map(({ source }) => source));
  const fresh = [...Map.groupBy(now, ({ source }) => source)]
    .filter(([source, rows]) => !earlier.has(source) && !rows.every(passed))
    .map(([source, rows]) => [source, count(rows)]);
  const [about] = found.domains;
  expect(fresh.length).toBeGreaterThan(0);
  expect((about?.newFailing.length ?? 0) + (about?.newFailingMore ?? 0)).toBe(fresh.length);
  for (const { source, failed } of about?.newFailing ?? []) expect(fresh).toContainEqual([source, failed]);
  for (const words of [found.text, found.html]) {
    expect(words).toContain(count(now).toLocaleString('en'));
    expect(words).toContain('1 mail or file came as a report and could not be taken.');
  }
});

it('of all domains it has most failing messages first, and says of one without reports that it waits', async () => {
  const { domains, now, subject, text } = await summary();
  expect(domains.map(({ domain }) => domain)).toEqual(['example.com', 'attacked.test', 'waiting.test']);
  expect(now.messages).toBe(domains.reduce((sum, one) => sum + one.now.messages, 0));
  expect(subject).toMatch(/^DMARC of 3 domains: 9\d(\.\d)? % of [\d,]+ messages pass$/);
  expect(text).toMatch(
    /^waiting\.test \(policy: not known yet\)\n {2}0 messages, no mail \(the 7 days before: no mail\)/m,
  );
});

it('of a domain that was first reported about in these days it calls no sender new, and says why', async () => {
  const { records } = dependencies;
  await records.dmarc.domains.put('young.test', 'young@in.test', 'test');
  const failing = { organization: 'r.test', service: '', disposition: 'none', dkim: 'fail', spf: 'fail' } as const;
  const row = { ...failing, day: TO, source: '203.0.113.9', count: 3 };
  await publish(dependencies, [row], { domain: 'young.test' });
  const young = await summary({ domain: 'young.test' });
  expect(young.domains).toMatchObject([
    { isComparable: false, newFailing: [], newFailingMore: 0, now: { messages: 3 } },
  ]);
  for (const words of [young.text, young.html]) {
    expect(words).toContain('Reports have just begun, so every sender is new');
    expect(words).not.toContain(row.source);
  }
  // A week of reports before these days: now there is something to compare with.
  await publish(dependencies, [{ ...row, day: '2026-10-12', source: '203.0.113.8' }], { domain: 'young.test' });
  const { domains, text } = await summary({ domain: 'young.test' });
  expect(domains).toMatchObject([{ isComparable: true, newFailing: [{ source: row.source }] }]);
  expect(text).not.toContain('just begun');
});

it('today has no reports yet: without a day it ends yesterday', async () => {
  const { to } = await summarize.call({}, dependencies, stepContext('summary'));
  expect(Date.parse(to)).toBe(Math.floor(Date.now() / 86_400_000 - 1) * 86_400_000);
});

it('is one line where it must be, whatever strangers wrote', async () => {
  const { subject, text } = await summary({ domain: 'attacked.test' });
  expect(subject).not.toMatch(/[\r\n]/);
  expect(text).toContain("x \"><script>alert('text')</script>");
  expect(text).not.toMatch(/[\r\u202e]/);
});

it('is no longer than mail clients show, however many domains there are and whatever strangers wrote', async () => {
  const { records } = dependencies;
  const sources = [1, 2, 3, 4, 5, 6].map((at) => `203.0.113.${at}`);
  const names = Array.from({ length: 30 }, (_, at) => `d${at}.test`);
  const failing = { organization: 'r.test', service: '', disposition: 'none', dkim: 'fail', spf: 'fail' } as const;
  for (const domain of names) {
    await records.dmarc.domains.put(domain, `${domain}@in.test`, 'test');
    const rows = sources.map((source) => ({ ...failing, day: TO, source, count: 1 }));
    const older = { ...failing, day: '2026-10-01', source: '203.0.113.250', count: 1 };
    await publish(dependencies, [older, ...rows], { domain });
  }
  const words = '<&"\'>'.repeat(100);
  await records.dmarc.hosts.put(sources.map((address) => ({ address, name: words, country: words, network: words })));
  const { domains, domainsMore, html, subject } = await summary();
  expect(domains.length).toBeGreaterThan(1);
  expect(domains.length + domainsMore).toBe(34);
  expect(Buffer.byteLength(html)).toBeLessThan(100_000);
  expect(html).toContain(`${domainsMore} further domains with fewer failing messages`);
  expect(subject).toContain('34 domains');
  for (const domain of names) await records.dmarc.domains.remove(domain, 'test');
});

it('of days that are over it says nothing of what came after them', async () => {
  const { records } = dependencies;
  await records.dmarc.domains.put('past.test', 'past@in.test', 'test');
  const failing = { organization: 'r.test', service: '', disposition: 'none', dkim: 'fail', spf: 'fail' } as const;
  const row = { ...failing, source: '203.0.113.7' };
  await publish(
    dependencies,
    [
      { ...row, day: '2026-09-20', source: '203.0.113.6', count: 1 },
      { ...row, day: '2026-10-05', count: 3 },
      { ...row, day: '2026-10-20', count: 5_000 },
      { ...row, day: '2026-10-21', source: '203.0.113.5', count: 9 },
    ],
    { domain: 'past.test' },
  );
  const { domains, text } = await summary({ domain: 'past.test', to: '2026-10-08' });
  expect(domains[0]?.newFailing).toMatchObject([{ source: row.source, messages: 3, failed: 3 }]);
  expect(text).toMatch(/203\.0\.113\.7 .* 3 of 3$/m);
});

describe.skipIf(browserIsMissing())('the mail, in a browser', { timeout: 60_000 }, () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await startBrowser();
  });
  afterAll(() => browser?.close());

  async function show(html: string, width: number, colorScheme: 'light' | 'dark'): Promise<Page> {
    const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme });
    await page.addInitScript({ path: join(import.meta.dirname, '../../support/in-page.js') });
    await page.route('**', (route) => route.fulfill({ contentType: 'text/html; charset=utf-8', body: html }));
    await page.goto('http://mail.test/');
    return page;
  }

  it.each([
    ['light', 390],
    ['light', 1280],
    ['dark', 390],
    ['dark', 1280],
  ] as const)('can be read in the %s theme at %i px, and nothing of it is wider', async (scheme, width) => {
    const page = await show((await summary()).html, width, scheme);
    expect(await page.evaluate('inPage.width()')).toBeLessThanOrEqual(width);
    expect(await page.evaluate('inPage.tooFaint()')).toEqual([]);
    if (process.env.PICTURES)
      await page.screenshot({ path: join(process.env.PICTURES, `summary-${scheme}-${width}.png`), fullPage: true });
    await page.close();
  });

  it('shows what an enemy wrote as text: nothing runs and nothing is asked for', async () => {
    const page = await show('', 390, 'light');
    const noticed: string[] = [];
    page.on('dialog', (dialog) => {
      noticed.push(dialog.message());
      void dialog.dismiss();
    });
    page.on('request', ({ url }) => noticed.push(url()));
    await page.setContent((await summary({ domain: 'attacked.test' })).html, { waitUntil: 'networkidle' });
    expect(await page.locator('script, img, [onerror], [onfocus]').count()).toBe(0);
    expect(await page.locator('body').innerText()).toContain(`<script>alert('text')</script>`);
    expect(noticed).toEqual([]);
    await page.close();
  });
});
