/** The pages about reports, as text: their figures against the rows that were published, and strangers' words as words. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Authentication } from '../../../protocols/mail/authentication.ts';
import { openBlobs } from '../../../stores/blobs/open.ts';
import { dayBefore } from '../../../protocols/dmarc/identity.ts';
import { number } from '../../../protocols/figures.ts';
import { draw, passed, publish, publishOthers, refuse, type Sent } from './dmarc-world.ts';
import { browse, startService, type Service } from './service.ts';

const DOMAIN = 'example.com';
const TODAY = new Date().toISOString().slice(0, 10);
const NASTY = `<script>alert(1)</script>" onload='x' &amp; <img src=x>`;

let service: Service;
let sent: Sent[];
let others: { tls: string; failure: string };
let nastyReport: string;
let entry: string;
const authentication: Authentication = {
  spf: { result: 'pass', domain: 'plain.example', scope: 'mfrom' },
  dkim: [
    {
      result: 'fail',
      domain: 'signed.example',
      selector: 's',
      algorithm: 'rsa-sha256',
      aligned: false,
      underSized: 0,
    },
  ],
  dmarc: { result: 'none', domain: 'plain.example', policy: null, disposition: 'none' },
  arc: { result: 'none', instance: 0 },
  authenticationResults: '',
};
beforeAll(async () => {
  service = await startService();
  const blobs = await openBlobs(service.configuration);
  const stores = { records: service.records, blobs };
  const nasty: Sent = {
    day: TODAY,
    organization: NASTY,
    source: '203.0.113.200',
    service: NASTY,
    count: 12,
    disposition: 'none',
    dkim: 'fail',
    spf: 'fail',
    reason: { type: 'other', comment: NASTY },
    headerFrom: NASTY,
  };
  sent = [...draw({ domain: DOMAIN, to: TODAY, days: 40, reporters: 2 }), nasty];
  nastyReport = (await publish(stores, sent, { domain: DOMAIN })).at(-1) ?? '';
  await service.records.dmarc.hosts.put([{ address: nasty.source, name: NASTY, country: NASTY, network: NASTY }]);
  others = await publishOthers(stores, { domain: DOMAIN, to: TODAY, words: NASTY });
  entry = await refuse(stores, { domain: DOMAIN, words: NASTY, code: NASTY, authentication });
  await service.records.rules.applyDeclared([{ domain: 'in.example', rules: [] }]);
  await service.records.dmarc.domains.put('waiting.example', 'w@in.example', 'test');
  await blobs.close();
});
afterAll(() => service.close());

const at = (path = '') => `/dmarc/${DOMAIN}${path}`;
const pages = () => [
  '/dmarc',
  at(),
  at('?days=365'),
  at(`?days=${encodeURIComponent(NASTY)}&from=x&to=y`),
  at('/sources'),
  at(`/sources?service=${encodeURIComponent(NASTY)}&failing=1`),
  at('/sources/203.0.113.200'),
  at(`/sources/${encodeURIComponent(NASTY)}?before=${encodeURIComponent(NASTY)}`),
  at('/new'),
  at('/what-if'),
  at('/reports'),
  at(`/reports?kind=${encodeURIComponent(NASTY)}`),
  at('/tls'),
  at('/failures'),
  at('/quarantine'),
  `/dmarc/reports/${nastyReport}`,
  `/dmarc/reports/${others.tls}`,
  `/dmarc/reports/${others.failure}`,
  '/dmarc/quarantine',
  `/dmarc/quarantine/${entry}`,
  '/dmarc/waiting.example',
];
const text = async (path: string) => (await browse(service.port, path)).text;
const since = (days: number) => sent.filter(({ day }) => day >= dayBefore(TODAY, days - 1));
const sum = (rows: Sent[]) => rows.reduce((total, { count }) => total + count, 0);
const failed = (rows: Sent[]) => rows.filter((row) => !passed(row));
/** The figure of each tile, and where it leads. */
const tiles = (html: string) =>
  [...html.matchAll(/<dt>([^<]+)<\/dt>\s*<dd>\s*<a href="([^"]+)">(?:<span[^>]*>)?([^<]+)</g)].map(
    ([, name, href, figure]) => ({ name, href: (href ?? '').replaceAll('&amp;', '&'), figure }),
  );
/** The figures of a row that begins with the link to `name`. */
const rowOf = (html: string, name: string) => {
  const row =
    html.split('<tr>').find((one) => new RegExp(`<a class="row[^"]*" href="[^"]*"\\s*>\\s*${name}\\s*<`).test(one)) ??
    '';
  return [...row.matchAll(/<td class="n" data-label="([\w -]+)">\s*(?:<a [^>]*>)?\s*([\d,]+)/g)].map(
    ([, label, figure]) => [label, figure],
  );
};

test('what was refused shows what was found out about its mail', async () => {
  const html = await text(`/dmarc/quarantine/${entry}`);
  expect(html).toContain('DMARC none');
  expect(html).toContain('SPF pass of plain.example, DKIM fail of signed.example');
  expect(await text('/dmarc/quarantine')).toContain('DMARC none');
});

describe('figures', () => {
  test.each([30, 7, 90])('of the last %i days are those that were reported', async (days) => {
    const rows = since(days);
    const [messages, pass, failing, policy] = tiles(await text(at(`?days=${days}`)));
    expect(messages).toMatchObject({ name: 'Messages', figure: number(sum(rows)) });
    expect(pass?.figure).toBe(`${Math.round((1_000 * sum(rows.filter(passed))) / sum(rows)) / 10} %`);
    expect(failing).toMatchObject({ name: 'Failing', figure: number(sum(failed(rows))) });
    expect(policy).toMatchObject({ name: 'Policy', figure: 'none' });
  });

  test('a day of the picture is what was reported for it, with its rows behind it', async () => {
    const html = await text(at());
    const day = dayBefore(TODAY, 3);
    const link = `${at()}/sources?from=${day}&amp;to=${day}`;
    const row =
      html
        .split('<tr>')
        .slice(1)
        .find((one) => one.includes(`href="${link}"`)) ?? '';
    const rows = sent.filter((one) => one.day === day);
    expect([...row.matchAll(/<td class="n">([\d,]+)</g)].map(([, figure]) => figure)).toEqual(
      [sum(rows.filter(passed)), sum(failed(rows)), sum(rows)].map(number),
    );
    expect(html).toMatch(
      new RegExp(`<svg[^>]*role="img"[^>]*aria-label="Messages a day, [^"]*: ${number(sum(since(30)))} in all`),
    );
    expect(await text(link.replaceAll('&amp;', '&'))).toContain(`${number(sum(rows))} messages from`);
  });

  test('each service has its own, and they lead to the addresses that make them', async () => {
    const html = await text(at());
    for (const [name, rows] of Map.groupBy(since(30), (row) => row.service)) {
      if (name === NASTY) continue;
      const shown = rowOf(html, name || 'No known service');
      const addresses = new Set(rows.map(({ source }) => source)).size;
      expect(shown, name).toEqual([
        ['messages', number(sum(rows))],
        ['failing', number(sum(failed(rows)))],
        ['addresses', number(addresses)],
      ]);
      const behind = await text(at(`/sources?service=${encodeURIComponent(name)}`));
      expect(behind.match(/<a class="row mono"/g)).toHaveLength(addresses);
      expect(behind).toContain(`${number(sum(rows))} messages from ${number(addresses)} address`);
    }
  });

  test('a source has those of its records, and the records are there', async () => {
    const source = '192.0.2.1';
    const rows = since(30).filter((row) => row.source === source);
    expect(rowOf(await text(at('/sources')), source)).toEqual([
      ['messages', number(sum(rows))],
      ['failing', number(sum(failed(rows)))],
    ]);
    let path: string | undefined = at(`/sources/${source}?failing=1`);
    const counts: number[] = [];
    while (path !== undefined) {
      const html: string = await text(path);
      counts.push(
        ...[...html.matchAll(/data-label="messages">([\d,]+)</g)].map(([, figure = '']) =>
          Number(figure.replaceAll(',', '')),
        ),
      );
      path = /<a href="([^"]+)">Older<\/a>/.exec(html)?.[1]?.replaceAll('&amp;', '&');
    }
    expect(counts).toHaveLength(failed(rows).length);
    expect(counts.reduce((total, one) => total + one, 0)).toBe(sum(failed(rows)));
  });

  test('of every tile lead to a page', async () => {
    for (const page of ['/dmarc', at(), at('/tls')])
      for (const { href } of tiles(await text(page)))
        expect((await browse(service.port, new URL(href, `http://x${page}`).pathname)).status, href).toBe(200);
  });

  test('what if says how many would be hit', async () => {
    const html = await text(at('/what-if'));
    expect(html).toContain(`>${number(sum(failed(since(30))))} messages</a> would have gone to spam`);
    expect(rowOf(html, 'lists.example')[0]).toEqual([
      'hit',
      number(sum(failed(since(30)).filter((row) => row.service === 'lists.example'))),
    ]);
  });
});

describe('every page', () => {
  test('shows what strangers wrote as text, and has nothing inline that the CSP would stop', async () => {
    for (const path of pages()) {
      const { text: html, headers, status } = await browse(service.port, path);
      expect([path, status]).toEqual([path, 200]);
      expect(html, path).not.toMatch(/<script>|<img|onload='/);
      expect(html, path).not.toMatch(/ style=|<style|javascript:/);
      expect(headers['content-security-policy']).toMatch(/^default-src 'none'/);
      for (const [, target] of html.matchAll(/(?:src|<link[^>]* href)="([^"]+)"/g))
        expect(target).toMatch(/^\/assets\//);
    }
  });

  test("has strangers' words where they belong, whole", async () => {
    const shown = '&lt;script&gt;alert(1)&lt;/script&gt;';
    for (const path of [
      at(),
      at('/sources'),
      at('/sources/203.0.113.200'),
      at('/reports'),
      at('/failures'),
      at('/quarantine'),
      `/dmarc/reports/${nastyReport}`,
      `/dmarc/reports/${others.tls}`,
      `/dmarc/reports/${others.failure}`,
      `/dmarc/quarantine/${entry}`,
    ])
      expect(await text(path), path).toContain(shown);
  });

  test('has one h1, landmarks, headings in order, and a label on every control', async () => {
    for (const path of pages()) {
      const html = await text(path);
      expect(html.match(/<h1/g), path).toHaveLength(1);
      expect(html).toMatch(/<main id="main">/);
      const levels = [...html.matchAll(/<h([1-6])/g)].map(([, level]) => Number(level));
      expect(
        levels.every((level, index) => index === 0 || level <= (levels[index - 1] ?? 0) + 1),
        path,
      ).toBe(true);
      for (const { index, 0: control } of html.matchAll(/<(?:input|select)[^>]*>/g))
        if (!control.includes('type="hidden"'))
          expect(html.lastIndexOf('<label', index), `${path} ${control}`).toBeGreaterThan(
            html.lastIndexOf('</label', index),
          );
      for (const [picture] of html.matchAll(/<svg[^>]*>/g)) expect(picture).toMatch(/role="img"\s+aria-label="[^"]+"/);
    }
  });
});

describe('drill-down', () => {
  test('a report leads to its records, their sources and its original', async () => {
    const html = await text(`/dmarc/reports/${nastyReport}`);
    expect(html).toContain(`href="${at('/sources/203.0.113.200')}?from=${TODAY}&amp;to=${TODAY}"`);
    const raw = await browse(service.port, `/dmarc/reports/${nastyReport}/raw`);
    expect(raw.text).toMatch(/^<feedback>/);
    expect(raw.headers).toMatchObject({
      'content-type': 'application/octet-stream',
      'content-disposition': `attachment; filename="report-${nastyReport}.xml"`,
      'x-content-type-options': 'nosniff',
    });
  });

  test('the rows of a page are a CSV file under the same filter', async () => {
    const { text: csv, headers } = await browse(service.port, at('/sources?service=Mailbird+Cloud&format=csv'));
    expect(headers['content-type']).toMatch(/^text\/csv/);
    expect(csv.trim().split('\r\n')).toHaveLength(1 + 2);
    expect(await text(at('/sources?service=Mailbird+Cloud'))).toContain(
      `href="${at('/sources?service=Mailbird+Cloud&amp;format=csv')}"`,
    );
  });

  test('the form of the head leads to the same page of the other domain', async () => {
    const go = async (query: string) => (await browse(service.port, `/dmarc?${query}`)).headers.location;
    expect(await go('domain=example.org&tab=sources&days=90')).toBe('/dmarc/example.org/sources?days=90');
    expect(await go('domain=//evil.example&tab=//x&days=1%26a')).toBe('/dmarc/%2F%2Fevil.example?days=1%26a');
  });

  test.each([
    ['/dmarc/other.example', 'switchyard dmarc add other.example'],
    ['/dmarc/a..b', 'Write a name such as example.com'],
    [at('/nothing'), 'The domains are at /dmarc.'],
    ['/dmarc/reports/none', 'There is no report'],
    ['/dmarc/quarantine/none', 'is in quarantine'],
  ])('%s is not there and says what to do', async (path, words) => {
    const { status, text: html } = await browse(service.port, path);
    expect(status).toBe(404);
    expect(html).toContain(words);
  });
});

describe('an empty place says what will be there and the command that brings it', () => {
  let empty: Service;
  beforeAll(async () => {
    empty = await startService();
    await empty.records.rules.applyDeclared([{ domain: 'in.example', rules: [] }]);
  });
  afterAll(() => empty.close());

  test('without a domain', async () => {
    const html = (await browse(empty.port, '/dmarc')).text;
    expect(html).toContain('switchyard dmarc add DOMAIN');
    expect(html).toContain('<code>switchyard dmarc import FILE</code>');
    expect((await browse(empty.port, '/dmarc/quarantine')).text).toContain('<code>switchyard dmarc import FILE</code>');
    expect(html).not.toMatch(/no data/i);
  });
  test('with a domain that nobody has reported about', async () => {
    await empty.records.dmarc.domains.put('new.example', 'n@in.example', 'test');
    for (const tab of ['', '/sources', '/reports', '/tls', '/failures']) {
      const html = (await browse(empty.port, `/dmarc/new.example${tab}`)).text;
      // That command asks for no failure reports: the page says what does.
      expect(html, tab).toContain(
        tab === '/failures' ? '<code>ruf=mailto:n@in.example</code>' : '<code>switchyard dmarc add new.example</code>',
      );
      expect(html.match(/<code>switchyard dmarc import FILE<\/code>/g), tab).toHaveLength(1);
      expect(html).not.toMatch(/no data|NaN|undefined|null/i);
    }
    expect((await browse(empty.port, '/dmarc')).text).toContain('<code>switchyard dmarc import FILE</code>');
    for (const tab of ['/new', '/what-if', '/quarantine'])
      expect((await browse(empty.port, `/dmarc/new.example${tab}`)).text, tab).not.toMatch(/no data|NaN|undefined/i);
  });
});

describe('who may see and change', () => {
  const away = { host: 'sy.example' };
  const signIn = async (...scopes: string[]) => {
    const body = new URLSearchParams({ token: await service.token(...scopes) }).toString();
    const { headers } = await browse(service.port, '/signin', { method: 'POST', body, headers: away });
    const cookie = String((headers['set-cookie'] as string[] | undefined)?.[0]).split(';')[0] ?? '';
    return { location: headers.location, headers: { ...away, cookie } };
  };

  test('nobody from elsewhere without a token', async () => {
    for (const path of [...pages(), `/dmarc/reports/${nastyReport}/raw`, at('?format=csv')]) {
      const { status, text: html } = await browse(service.port, path, { headers: away });
      expect([path, status]).toEqual([path, 401]);
      expect(html).not.toContain('Mailbird');
    }
  });

  test('a token for reports sees them and not the mail; one for mail not the reports', async () => {
    const reports = await signIn('dmarc:read');
    expect(reports.location).toBe('/dmarc');
    const look = async (path: string, { headers }: { headers: Record<string, string> }) =>
      (await browse(service.port, path, { headers })).status;
    expect([await look(at(), reports), await look('/mail', reports)]).toEqual([200, 403]);
    const mail = await signIn('mail:read');
    expect(mail.location).toBe('/');
    expect([await look('/mail', mail), await look(at(), mail), await look(at('?format=csv'), mail)]).toEqual([
      200, 403, 403,
    ]);
  });

  test('what was refused is read again by who may write, from this site, and stays while Temporal is away', async () => {
    const read = async (headers: Record<string, string>) =>
      browse(service.port, `/dmarc/quarantine/${entry}/read`, {
        method: 'POST',
        headers,
        body: 'domain=waiting.example',
      });
    expect((await read({ origin: 'https://evil.example' })).status).toBe(403);
    expect((await read({ 'sec-fetch-site': 'cross-site' })).status).toBe(403);
    expect((await read((await signIn('dmarc:read')).headers)).status).toBe(403);
    const { status, text: html } = await read({ 'sec-fetch-site': 'same-origin' });
    expect([status, html]).toEqual([503, expect.stringContaining('switchyard doctor')]);
    expect(await service.records.dmarc.quarantine.get(entry)).toBeDefined();
    const asked = await service.call('POST', `/v1/dmarc/quarantine/${entry}/read`, {
      token: await service.token('dmarc:read'),
    });
    expect(asked.json).toMatchObject({ status: 403, scope: 'dmarc:write' });
  });

  test('what was refused is removed by who may write, from this site', async () => {
    const path = `/dmarc/quarantine/${entry}/remove`;
    const remove = async (headers: Record<string, string>) =>
      (await browse(service.port, path, { method: 'POST', headers })).status;
    expect(await remove({ origin: 'https://evil.example' })).toBe(403);
    expect(await remove({ 'sec-fetch-site': 'cross-site' })).toBe(403);
    expect(await remove((await signIn('dmarc:read')).headers)).toBe(403);
    expect(await service.records.dmarc.quarantine.get(entry)).toBeDefined();
    expect(await remove({ 'sec-fetch-site': 'same-origin' })).toBe(303);
    expect(await service.records.dmarc.quarantine.get(entry)).toBeUndefined();
    expect(await remove({})).toBe(404);
  });
});
