/**
 * The pages about reports in a real browser: nothing of a stranger's runs, nothing is asked of another host, everything
 * can be read in both themes and on a phone, and reached with the keyboard. `PICTURES=docs` writes the pictures of the
 * README.
 */
import { join } from 'node:path';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openBlobs } from '../../../stores/blobs/open.ts';
import { browserIsMissing, startBrowser } from '../../support/browser.ts';
import { draw, publish, publishOthers, refuse, type Sent } from './dmarc-world.ts';
import { startService, type Service } from './service.ts';

const SLOW = 240_000;
const YESTERDAY = new Date(Date.now() - 86_400_000).toISOString().slice(0, 10);
const WIDE = { width: 1280, height: 900 };
const PHONE = { width: 390, height: 844 };
/** Would run in a text, in an attribute, in a link, and would lay out a page anew. */
const ATTACK = `"><script>alert('text')</script><img src=x onerror="alert('image')"><svg/onload=alert('svg')>' onfocus=alert('attribute') autofocus x='javascript:alert(1)\u202e`;
const LONG = 'a'.repeat(400);

interface Content {
  scripts: string[];
  strange: number;
  links: number;
  text: string;
}
interface Focused {
  text: string;
  tag: string;
  seen: boolean;
}

describe.skipIf(browserIsMissing())('the pages about reports, as a person sees them', { timeout: SLOW }, () => {
  let service: Service;
  let browser: Browser;
  let attacked: string[];
  let pages: string[];
  beforeAll(async () => {
    [service, browser] = await Promise.all([startService(), startBrowser()]);
    const blobs = await openBlobs(service.configuration);
    const stores = { records: service.records, blobs };
    await service.records.rules.applyDeclared([{ domain: 'in.example', rules: [] }]);
    for (const domain of ['example.com', 'attacked.example', 'waiting.example'])
      await service.records.dmarc.domains.put(domain, `${domain}@in.example`, 'test');
    await publish(stores, draw({ domain: 'example.com', to: YESTERDAY, days: 60 }), { domain: 'example.com' });
    const mine = await publishOthers(stores, { domain: 'example.com', to: YESTERDAY, words: 'freemail.example' });
    attacked = await attack(stores);
    await blobs.close();
    const tabs = ['', '/sources', '/new', '/what-if', '/reports', '/tls', '/failures', '/quarantine'];
    pages = [
      '/dmarc',
      ...tabs.map((tab) => `/dmarc/example.com${tab}`),
      '/dmarc/example.com?days=365',
      '/dmarc/example.com/sources/192.0.2.1',
      `/dmarc/reports/${mine.tls}`,
      `/dmarc/reports/${mine.failure}`,
      '/dmarc/waiting.example',
      ...attacked,
    ];
  }, SLOW);
  afterAll(async () => {
    await browser?.close();
    await service?.close();
  });

  /** A domain whose reports are written by an enemy. Returns the pages that show it. */
  async function attack(stores: Parameters<typeof publish>[0]): Promise<string[]> {
    const row: Sent = {
      day: YESTERDAY,
      organization: ATTACK,
      source: '203.0.113.200',
      service: ATTACK,
      count: 12,
      disposition: 'none',
      dkim: 'fail',
      spf: 'fail',
      reason: { type: 'local_policy', comment: ATTACK },
      headerFrom: ATTACK,
    };
    const wide = { ...row, organization: LONG, source: '2001:db8::1', service: LONG, headerFrom: LONG, day: row.day };
    const [report] = await publish(stores, [row, wide], { domain: 'attacked.example' });
    const hosts = [row.source, wide.source].map((address, index) => {
      const words = index === 0 ? ATTACK : LONG;
      return { address, name: words, country: words, network: words };
    });
    await stores.records.dmarc.hosts.put(hosts);
    const others = await publishOthers(stores, { domain: 'attacked.example', to: YESTERDAY, words: ATTACK });
    const entry = await refuse(stores, { domain: 'attacked.example', words: ATTACK, code: ATTACK });
    const at = (path: string) => `/dmarc/attacked.example${path}`;
    return [
      at(''),
      at('/sources'),
      at(`/sources?service=${encodeURIComponent(ATTACK)}`),
      at('/sources/203.0.113.200'),
      at('/sources/2001:db8::1'),
      at('/new'),
      at('/what-if'),
      at('/reports'),
      at('/failures'),
      at('/tls'),
      at('/quarantine'),
      `/dmarc/reports/${report}`,
      `/dmarc/reports/${others.tls}`,
      `/dmarc/reports/${others.failure}`,
      `/dmarc/quarantine/${entry}`,
    ];
  }

  async function open(options: BrowserContextOptions = {}): Promise<Page> {
    const page = await browser.newPage({ viewport: WIDE, ...options });
    page.setDefaultTimeout(60_000);
    await page.addInitScript({ path: join(import.meta.dirname, '../../support/in-page.js') });
    return page;
  }

  it('shows what an enemy wrote as text: nothing runs, nothing is stopped by the CSP, no other host is asked', async () => {
    const page = await open();
    const dialogs: string[] = [];
    const complaints: string[] = [];
    const asked: string[] = [];
    page.on('dialog', (dialog) => {
      dialogs.push(dialog.message());
      void dialog.dismiss();
    });
    page.on('console', (message) => complaints.push(message.text()));
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('request', (request) => asked.push(request.url()));
    for (const path of attacked) {
      await page.goto(service.url + path, { waitUntil: 'networkidle' });
      const found = await page.evaluate<Content>('inPage.content()');
      expect(found.scripts, path).toEqual([expect.stringMatching(/^\/assets\/times-\w+\.js$/)]);
      expect([found.strange, found.links], path).toEqual([0, 0]);
      if (!/what-if|2001|tls$/.test(path)) expect(found.text, path).toContain(`<script>alert('text')</script>`);
    }
    expect([dialogs, complaints]).toEqual([[], []]);
    expect(asked.filter((url) => !url.startsWith(`${service.url}/`))).toEqual([]);
    await page.close();
  });

  it.each(['light', 'dark'] as const)('can be read in the %s theme: contrast AA everywhere', async (colorScheme) => {
    const page = await open({ colorScheme });
    for (const path of pages) {
      await page.goto(service.url + path);
      expect(await page.evaluate('inPage.width()'), path).toBeLessThanOrEqual(WIDE.width);
      await page.evaluate('inPage.openDetails()');
      expect(await page.evaluate('inPage.tooFaint()'), path).toEqual([]);
    }
    await page.close();
  });

  it('fits on a phone: no page scrolls sideways, and what is to be touched is large enough', async () => {
    const page = await open({ viewport: PHONE, colorScheme: 'dark' });
    for (const path of pages) {
      await page.goto(service.url + path);
      expect(await page.evaluate('inPage.width()'), path).toBeLessThanOrEqual(PHONE.width);
      expect(await page.evaluate('inPage.small()'), path).toEqual([]);
    }
    await page.close();
  });

  it('is walked through with the keyboard, and the focus is seen', async () => {
    const page = await open();
    await page.goto(`${service.url}/dmarc/example.com`);
    const focused = () => page.evaluate<Focused>('inPage.focused()');
    await page.keyboard.press('Tab');
    expect(await focused()).toMatchObject({ text: 'Skip to content', seen: true });
    await page.keyboard.press('Enter');
    expect(new URL(page.url()).hash).toBe('#main');
    const seen: string[] = [];
    for (let presses = 0; presses < 40; presses++) {
      await page.keyboard.press('Tab');
      const { text, tag, seen: visible } = await focused();
      expect(visible, text).toBe(true);
      seen.push(`${tag} ${text.slice(0, 30)}`);
      if (text === 'The figures as a table') break;
    }
    // The form, every tab and every figure come before the table of the picture; its bars do not.
    for (const part of ['BUTTON Show', 'A What if', 'A Quarantine', 'SUMMARY The figures as a table'])
      expect(seen).toContain(part);
    expect(seen.filter((part) => /^A [\d,.]+( %)?$/.test(part))).toHaveLength(3);
    await page.keyboard.press('Enter');
    expect(await page.locator('details').first().getAttribute('open')).not.toBeNull();
    await page.close();
  });

  it('leads from a figure to a service, its addresses, their records, the report and its original', async () => {
    const page = await open();
    await page.goto(`${service.url}/dmarc/example.com`);
    await page.getByRole('link', { name: 'Mailbird Cloud', exact: true }).click();
    await page.getByRole('link', { name: '192.0.2.1', exact: true }).click();
    await page.getByRole('link', { name: 'Only what fails' }).click();
    expect(new URL(page.url()).searchParams.get('failing')).toBe('1');
    await page.locator('td.first a').first().click();
    await page.getByRole('heading', { name: 'The report itself' }).waitFor();
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('link', { name: /^Original/ }).click(),
    ]);
    expect(download.suggestedFilename()).toMatch(/^report-[\w-]+\.xml$/);
    await page.close();
  });

  it("shows a time in the reader's zone, with the UTC when the pointer rests on it", async () => {
    const page = await open({ timezoneId: 'Pacific/Auckland', locale: 'en-GB' });
    await page.goto(`${service.url}/dmarc/example.com/reports`);
    const time = page.locator('td time').first();
    const utc = await time.getAttribute('datetime');
    expect(await time.getAttribute('title')).toBe(`${utc?.slice(0, 19).replace('T', ' ')} UTC`);
    const shown = new Intl.DateTimeFormat('en-GB', {
      hour: '2-digit',
      minute: '2-digit',
      timeZone: 'Pacific/Auckland',
    });
    expect(await time.textContent()).toContain(shown.format(new Date(utc ?? '')));
    await page.close();
  });

  it('takes a token in its form', async () => {
    const page = await open();
    await page.goto(`${service.url}/signin`);
    await page.locator('#token').fill(await service.token('dmarc:read'));
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.waitForURL(`${service.url}/dmarc`);
    await page.close();
  });

  it('removes what was refused when it is told to', async () => {
    const page = await open();
    await page.goto(`${service.url}/dmarc/attacked.example/quarantine`);
    await page.locator('td.first a').click();
    await page.getByRole('button', { name: 'Remove it now' }).click();
    await page.getByText('Everything that came was read.').waitFor();
    await page.close();
  });

  const pictures = process.env.PICTURES;
  // Registered only when it is asked for: it looks at nothing, and a test that is skipped fails in CI.
  if (pictures)
    it('has its pictures taken', async () => {
      const take = async (name: string, path: string, options: BrowserContextOptions) => {
        const page = await open({ deviceScaleFactor: 1, locale: 'en-GB', ...options });
        await page.goto(service.url + path);
        await page.screenshot({ path: join(pictures, `${name}.png`) });
        await page.close();
      };
      const source = '/dmarc/example.com/sources/192.0.2.1?failing=1';
      await take('dmarc', '/dmarc/example.com', { viewport: { width: 1280, height: 1330 }, colorScheme: 'light' });
      await take('dmarc-records', source, { viewport: { width: 1280, height: 620 }, colorScheme: 'dark' });
    });
});
