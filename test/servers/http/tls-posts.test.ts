/** TLS reports by POST: what a reporter, and a stranger, is told before any run begins. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { buffer, text } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openBlobs } from '../../../stores/blobs/open.ts';
import { startService, type Service } from './service.ts';

const SIZE = 20_000;
/** Below it are SIZE bytes; above it a request is too slow. */
const WAIT = '1s';

let service: Service;
let path: string;
beforeAll(async () => {
  service = await startService({
    configuration: {
      http: { publicUrl: 'https://reports.test/switchyard/' },
      dmarc: { post: { size: SIZE, wait: WAIT, perMinute: 20 }, quota: { sender: { mails: 4 } } },
    },
  });
  await service.records.rules.applyDeclared([{ domain: 'mail.test', rules: [] }]);
  const { json } = await service.call('POST', '/v1/dmarc/domains', { body: { domain: 'example.com' } });
  expect(json.post).toMatch(/^https:\/\/reports\.test\/switchyard\/v1\/tlsrpt\/example\.com\/[\w-]{22}$/);
  expect(json.records[1]).toMatchObject({
    name: '_smtp._tls.example.com',
    value: `v=TLSRPTv1; rua=mailto:dmarc-example.com@mail.test,${json.post}`,
  });
  path = new URL(json.post).pathname.replace('/switchyard', '');
});
afterAll(() => service.close());

const post = (body: string | Uint8Array, type?: string, to = path) =>
  service.call('POST', to, { body, token: null, headers: { 'content-type': type ?? 'application/tlsrpt+gzip' } });
const quarantined = async () =>
  (await service.records.dmarc.quarantine.list({ domain: 'example.com' })).map(({ code }) => code);

/** What the server says to a head whose body never comes, or does not come to its end. */
async function answerTo(head: string, to = path): Promise<string> {
  const socket = connect(service.port, '127.0.0.1');
  await once(socket, 'connect');
  socket.write(`POST ${to} HTTP/1.1\r\nHost: reports.test\r\n${head}\r\n`);
  return text(socket);
}

it('an address that is none is 404 before the body, whatever is known of it', async () => {
  const other = path.replace('example.com', 'example.org');
  const length = 'Content-Type: application/tlsrpt+json\r\nContent-Length: 1000000\r\n';
  for (const address of [other, `${path}A`, path.slice(0, -1), path.replace(/[^/]+$/, 'x'), `${path}/y`])
    expect(await answerTo(length, address)).toMatch(/^HTTP\/1\.1 404 /);
  await service.records.dmarc.domains.put('example.org', 'org@mail.test', 'test');
  expect(await answerTo(length, other)).toMatch(/^HTTP\/1\.1 404 /);
  expect(await service.call('GET', path, { token: null })).toMatchObject({ status: 404 });
});

it('a type that no report has is 415, a length that no report has 413, both before the body', async () => {
  expect(await answerTo('Content-Type: text/html\r\nContent-Length: 1000\r\n')).toMatch(/^HTTP\/1\.1 415 /);
  expect(await answerTo('Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 9\r\n')).toMatch(/ 415 /);
  const large = 'Content-Type: application/tlsrpt+gzip\r\nContent-Length: 20001\r\n';
  expect(await answerTo(large)).toMatch(/^HTTP\/1\.1 413 /);
});

it('a body that says no length is read no further than the limit', async () => {
  const chunk = `2710\r\n${'{'.repeat(10_000)}\r\n`;
  const head = 'Content-Type: application/tlsrpt+json\r\nTransfer-Encoding: chunked\r\n\r\n';
  expect(await answerTo(head + chunk + chunk + chunk)).toMatch(/^HTTP\/1\.1 413 /);
});

it('a body that does not come is 408, and the connection ends', async () => {
  const answer = await answerTo('Content-Type: application/tlsrpt+json\r\nContent-Length: 1000\r\n\r\n{"organ');
  expect(answer).toMatch(/^HTTP\/1\.1 408 /);
  expect(answer).toMatch(/^connection: close\r$/im);
  expect(answer).toContain('request.too_slow');
});

it('what is neither gzip nor JSON is told so at once and kept in quarantine, whatever its type says', async () => {
  const html = '<!doctype html><title>503</title>';
  expect(await post(html)).toMatchObject({ status: 422, json: { code: 'dmarc.not_a_report', format: 'html' } });
  expect(await post('PK\x03\x04', 'application/tlsrpt+json')).toMatchObject({ status: 422, json: { format: 'zip' } });
  expect(await post('')).toMatchObject({ status: 422, json: { code: 'dmarc.empty' } });
  // The same again is the same.
  await post(html);
  expect(await quarantined()).toEqual(['dmarc.not_a_report', 'dmarc.not_a_report']);
  const kept = (await service.records.dmarc.quarantine.list({ domain: 'example.com' })).at(-1);
  const blobs = await openBlobs(service.configuration);
  expect((await buffer(await blobs.read(kept?.blob.key ?? ''))).toString()).toBe(html);
  await blobs.close();
});

it('a gzip in which is no report on TLS is told so too: aggregate reports come by mail', async () => {
  const sent = await post(gzipSync('<feedback><report_metadata/></feedback>'));
  expect(sent).toMatchObject({ status: 422, json: { code: 'dmarc.not_a_report', format: 'xml' } });
  expect((await quarantined())[0]).toBe('dmarc.not_a_report');
});

it('without a Temporal server it is 503: nothing is accepted that no run reads', async () => {
  const answer = await post(gzipSync('{}'));
  expect(answer).toMatchObject({ status: 503, json: { code: 'temporal.unavailable' } });
  expect(answer.headers.get('retry-after')).toMatch(/^\d+$/);
});

it('over the quota of its address it is 429, but what is sent again has its room', async () => {
  // Three that were refused and one that waits for a run have all of it.
  const fifth = await post('{"fifth": 1}');
  expect(fifth).toMatchObject({ status: 429, json: { code: 'dmarc.over_quota' } });
  expect(fifth.json.detail).toContain('from HTTPS have reached the limit of a day: 4 mails');
  expect(await post('PK\x03\x04')).toMatchObject({ status: 422 });
});

it('more in a minute than the configuration says are asked to come later', async () => {
  const answers = [];
  // Two minutes may begin meanwhile.
  for (let n = 0; n < 45; n += 1) answers.push(await post(''));
  const last = answers.find(({ status }) => status === 429);
  expect(last?.json).toMatchObject({ code: 'request.too_many' });
  expect(last?.headers.get('retry-after')).toBe('60');
});

it('of a domain that is removed nothing is taken any more', async () => {
  await service.call('DELETE', '/v1/dmarc/domains/example.com');
  expect((await post('{}')).status).toBe(404);
});
