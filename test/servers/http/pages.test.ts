import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Authentication } from '../../../stores/records/port.ts';
import { openKeys } from '../../../stores/keys/open.ts';
import type { PublicKeyRecord } from '../../../stores/keys/port.ts';
import { openBlobs } from '../../../stores/blobs/open.ts';
import { activity, browse, idAt, startService, type Service } from './service.ts';

const NASTY = `<script>alert(1)</script>" onload='x' &amp; <img src=x>`;
const authentication: Authentication = {
  spf: { result: 'softfail', domain: NASTY, scope: 'mfrom' },
  dkim: [
    { result: 'pass', domain: 'a.example', selector: NASTY, algorithm: 'rsa-sha256', aligned: true, underSized: 0 },
  ],
  dmarc: { result: 'pass', domain: 'a.example', policy: 'reject', disposition: 'none' },
  arc: { result: 'none', instance: 0 },
  authenticationResults: NASTY,
};
const HTML_MAIL = [
  `From: ${NASTY} <a@a.example>`,
  'Subject: hi',
  'ARC-Seal: i=1; a=rsa-sha256; cv=none; d=seal.example; s=k1; b=x',
  `ARC-Authentication-Results: i=1; mx.example; ${NASTY}`,
  'Content-Type: text/html',
  '',
  '<b>bold</b><script>alert(2)</script><img src="http://tracker.example/x.gif">',
  '',
].join('\r\n');

let service: Service;
let inboxId: string;
beforeAll(async () => {
  service = await startService();
  const now = new Date().toISOString();
  await service.records.activity.open([
    activity({
      id: idAt(1),
      receivedAt: now,
      subject: NASTY,
      sender: NASTY,
      headerFrom: NASTY,
      helo: NASTY,
      outcome: 'refused',
      reply: { code: 550, enhanced: '5.1.1', text: NASTY },
      errorText: NASTY,
      authentication,
      workflowId: 'mail/abc',
    }),
    activity({ id: idAt(2), receivedAt: now, subject: 'Fine', outcome: 'delivered' }),
    activity({
      id: idAt(3),
      receivedAt: new Date(Date.now() - 7_200_000).toISOString(),
      subject: 'Stuck',
      outcome: 'accepted',
    }),
  ]);
  const blobs = await openBlobs(service.configuration);
  const blob = await blobs.write(
    (async function* () {
      yield Buffer.from(HTML_MAIL);
    })(),
    { prefix: 'inbox', maxBytes: 10_000 },
  );
  inboxId = (
    await service.records.inbox.add({
      receivedAt: now,
      sender: '',
      recipients: [NASTY],
      from: NASTY,
      subject: NASTY,
      blob,
      authentication,
    })
  ).id;
  await blobs.close();
});
afterAll(() => service.close());

const pages = () => [
  '/',
  '/mail',
  `/mail/${idAt(1)}`,
  `/mail?sender=${encodeURIComponent(NASTY)}&outcome=${encodeURIComponent(NASTY)}`,
  '/inbox',
  `/inbox/${inboxId}`,
  '/docs',
  '/signin',
  '/nothing',
];

describe('every page', () => {
  test('shows what strangers wrote as text, and has nothing inline that the CSP would stop', async () => {
    for (const path of pages()) {
      const { text, headers } = await browse(service.port, path);
      expect(text, path).toContain('<!doctype html>');
      expect(text, path).not.toMatch(/<script>|<img|onload='|<b>bold/);
      expect(text, path).not.toMatch(/ style=|<style|javascript:/);
      expect([...text.matchAll(/<script[^>]*>/g)].every(([tag]) => /src="\/assets\//.test(tag))).toBe(true);
      expect(headers['content-security-policy']).toMatch(/^default-src 'none'/);
      expect(headers['content-security-policy']).not.toContain('unsafe');
    }
  });

  test('loads nothing from another host', async () => {
    for (const path of pages()) {
      const { text } = await browse(service.port, path);
      for (const [, target] of text.matchAll(/(?:src|<link[^>]* href)="([^"]+)"/g))
        expect(target).toMatch(/^\/assets\//);
    }
  });

  test('has one h1, a skip link, a landmark, and a label on every control', async () => {
    for (const path of pages()) {
      const { text } = await browse(service.port, path);
      expect(text.match(/<h1/g), path).toHaveLength(1);
      expect(text).toMatch(/class="skip" href="#main"/);
      expect(text).toMatch(/<main id="main">/);
      for (const [control] of text.matchAll(/<(input|select)[^>]*>/g)) {
        const id = /id="(\w+)"/.exec(control)?.[1];
        const isLabelled = id
          ? text.includes(`for="${id}"`)
          : text.lastIndexOf('<label', text.indexOf(control)) > text.lastIndexOf('</label', text.indexOf(control));
        expect(isLabelled, `${path} ${control}`).toBe(true);
      }
    }
  });
});

describe('the pages', () => {
  test('the overview counts, links each figure to its rows, and says what to do', async () => {
    const { text } = await browse(service.port, '/');
    for (const href of [
      '/mail?since=24h',
      '/mail?since=24h&amp;outcome=delivered',
      '/mail?since=24h&amp;outcome=accepted',
      '/mail?since=24h&amp;outcome=refused,bounced,failed',
    ])
      expect(text).toContain(`href="${href}"`);
    const figures = [...text.matchAll(/<dd>\s*<a href="[^"]+">([^<]+)<\/a>/g)].map(([, figure]) => figure);
    expect(figures).toEqual(['3', '1', '1', '1']);
    expect(text).toContain('1 message waits for over an hour.');
    expect(text).toContain(`/mail/${idAt(3)}`);
    expect(text).toContain('Add a rule.');
    expect(text).toMatch(/<svg[^>]*role="img"[^>]*aria-label="Messages an hour over the last 24 hours: 3 in all/);
  });

  test('a figure and the rows behind its link agree', async () => {
    const { text } = await browse(service.port, '/mail?since=24h&outcome=refused,bounced,failed');
    expect(text.match(/<a class="row"/g)).toHaveLength(1);
    expect(text).toContain('refused');
  });

  test('a message page has the run, the reply and the verdicts in words', async () => {
    const { text } = await browse(service.port, `/mail/${idAt(1)}`);
    expect(text).toContain('http://127.0.0.1:8233/namespaces/default/workflows/mail%2Fabc');
    expect(text).toContain('The address probably may not send for this domain.');
    expect(text).toContain('It belongs to the author domain.');
    expect(text).toContain('550 5.1.1');
  });

  test('an html mail is shown as text; the chain of seals is listed; the raw bytes are a download', async () => {
    const { text } = await browse(service.port, `/inbox/${inboxId}`);
    expect(text).toContain('seal.example');
    expect(text).not.toContain('src="http://tracker.example');
    const raw = await browse(service.port, `/inbox/${inboxId}/raw`);
    expect(raw.text).toBe(HTML_MAIL);
    expect(raw.headers['content-disposition']).toMatch(/^attachment; filename="[\w.-]+\.eml"$/);
    expect(raw.headers['content-type']).toBe('application/octet-stream');
  });

  test('an error is a page for people and a problem for programs', async () => {
    const page = await browse(service.port, '/mail/none');
    expect([page.status, page.headers['content-type']]).toEqual([404, 'text/html; charset=UTF-8']);
    expect(page.text).toContain('Records are kept for a month');
    expect((await service.call('GET', '/mail/none', { token: null })).json.code).toBe('activity.missing');
  });

  test('times are machine-readable in UTC', async () => {
    const { text } = await browse(service.port, '/mail');
    expect(text).toMatch(/<time datetime="\d{4}-\d\d-\d\dT[\d:.]+Z" data-format="short"\s*>\d/);
  });

  test('assets are kept for ever under a name made of their content', async () => {
    const { text } = await browse(service.port, '/');
    const [, stylesheet] = /href="(\/assets\/[^"]+\.css)"/.exec(text) ?? [];
    const asset = await browse(service.port, stylesheet ?? '');
    expect(asset.headers).toMatchObject({
      'content-type': 'text/css; charset=utf-8',
      'cache-control': expect.stringContaining('immutable'),
    });
  });
});

describe('what to do about keys', () => {
  const overview = async (zones: (key: PublicKeyRecord) => Record<string, string[]>, makeKey = true) => {
    // The key must be there before the zones that publish it: the state folder is made twice.
    const first = await startService();
    await first.records.rules.put(
      {
        domain: 'a.example',
        localPart: '*',
        action: { type: 'forward', destinations: ['x@b.example'] },
        source: 'api',
      },
      'test',
    );
    const keys = await openKeys(first.records, first.configuration);
    const key = makeKey
      ? await keys.create('a.example')
      : { domain: 'a.example', selector: 'none', algorithm: 'rsa-sha256' as const, publicKey: '', createdAt: '' };
    const second = await startService({
      configuration: { dns: { zones: zones(key) } },
      state: first.configuration.state,
    });
    const { text } = await browse(second.port, '/');
    await second.close();
    await first.close();
    return text;
  };
  const elsewhere = { 'b.example': ['A 127.0.0.1'] };
  const at = ({ selector }: PublicKeyRecord) => `${selector}._domainkey.a.example`;

  test('a domain without a key is told to make one', async () => {
    expect(await overview(() => elsewhere, false)).toContain('switchyard keys create a.example');
  });
  test('a key that is not in the DNS is to be published', async () => {
    expect(await overview((key) => ({ [at(key)]: ['A 127.0.0.1'] }))).toContain('Publish the key of a.example.');
  });
  test('another key in the DNS is a warning', async () => {
    expect(await overview((key) => ({ [at(key)]: ['TXT v=DKIM1; k=rsa; p=AAAA'] }))).toContain(
      'The published key of a.example is another one.',
    );
  });
  test('a published key needs nothing', async () => {
    const text = await overview((key) => ({ [at(key)]: [`TXT v=DKIM1; k=rsa; p=${key.publicKey}`] }));
    expect(text).toContain('The keys are published.');
    expect(text).not.toContain('switchyard keys');
  });
  test('a domain of the local zones has nowhere to publish', async () => {
    const text = await overview(() => ({ 'a.example': ['A 127.0.0.1'] }));
    expect(text).not.toMatch(/switchyard keys|keys are published/);
  });
});

describe('an empty installation', () => {
  let empty: Service;
  beforeAll(async () => {
    empty = await startService();
  });
  afterAll(() => empty.close());
  test.each(['/', '/mail', '/inbox'])('%s says what will appear and the command that makes it appear', async (path) => {
    const { text } = await browse(empty.port, path);
    expect(text).toContain('switchyard send-test');
    expect(text).not.toMatch(/no data/i);
  });
});

describe('who may see the pages', () => {
  const signIn = async (token: string, headers: Record<string, string> = {}) =>
    browse(service.port, '/signin', {
      method: 'POST',
      body: new URLSearchParams({ token }).toString(),
      headers: { host: 'sy.example', ...headers },
    });

  test.each(['127.0.0.1', 'localhost', '[::1]', '127.0.0.9'])('the person at the machine, as %s', async (name) => {
    expect((await browse(service.port, '/mail', { headers: { host: `${name}:${service.port}` } })).status).toBe(200);
  });

  test.each([
    ['a name that resolves to loopback (DNS rebinding)', { host: 'evil.example' }],
    ['a name that begins like loopback', { host: '127.0.0.1.evil.example' }],
    ['a name that ends like loopback', { host: 'evil-localhost' }],
    ['a proxy on this machine', { 'x-forwarded-for': '198.51.100.1' }],
    ['a proxy by the standard header', { forwarded: 'for=198.51.100.1' }],
  ])('not %s', async (_, headers) => {
    for (const path of [
      '/',
      '/mail',
      `/mail/${idAt(1)}`,
      '/inbox',
      `/inbox/${inboxId}`,
      `/inbox/${inboxId}/raw`,
      '/docs',
    ]) {
      const { status, text } = await browse(service.port, path, { headers });
      expect([path, status]).toEqual([path, 401]);
      expect(text).toContain('Sign in');
      expect(text).not.toContain('Fine');
    }
    expect((await browse(service.port, '/metrics', { headers })).status).toBe(401);
  });

  test('the API asks for a token even at the machine', async () => {
    expect((await browse(service.port, '/v1/mail/activity')).status).toBe(401);
  });

  test('with a public URL everyone signs in', async () => {
    const open = await startService({ configuration: { http: { publicUrl: 'https://sy.example' } } });
    expect((await browse(open.port, '/mail')).status).toBe(401);
    await open.close();
  });

  test('a token signs in, the cookie opens the pages and is neither readable by scripts nor sent by other sites', async () => {
    const token = await service.token('mail:read');
    const answer = await signIn(token);
    expect([answer.status, answer.headers.location]).toEqual([303, '/']);
    const [cookie = ''] = answer.headers['set-cookie'] as string[];
    expect(cookie).toMatch(/HttpOnly/);
    expect(cookie).toMatch(/SameSite=Strict/);
    expect(decodeURIComponent(cookie)).not.toContain(token);
    const value = cookie.split(';')[0] ?? '';
    const visit = (sent: string) => browse(service.port, '/mail', { headers: { host: 'sy.example', cookie: sent } });
    expect((await visit(value)).text).toContain('Fine');
    // Another token id under the same signature.
    expect((await visit(value.replace(/^(switchyard=)./, '$1f'))).status).toBe(401);
    const record = (await service.records.tokens.list()).at(-1);
    await service.records.tokens.remove(record?.id ?? '');
    expect((await visit(value)).status).toBe(401);
  });

  test('an unknown token and one without mail:read do not sign in', async () => {
    expect((await signIn('sy_wrong')).status).toBe(401);
    const weak = await signIn(await service.token('runs:read'));
    expect([weak.status, weak.headers['set-cookie']]).toEqual([403, undefined]);
  });

  test.each<Record<string, string>>([
    { origin: 'https://evil.example' },
    { 'sec-fetch-site': 'cross-site' },
    { origin: 'null' },
  ])('a form of another site is refused: %j', async (headers) => {
    const answer = await signIn(await service.token('*'), headers);
    expect([answer.status, answer.headers['set-cookie']]).toEqual([403, undefined]);
  });
});
