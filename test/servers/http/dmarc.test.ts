/** A report over HTTP: bytes go up, the step reads them, and what is refused says why. */
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { feedback, metadata, POLICY, range, record } from '../../protocols/dmarc/report.ts';
import { startService, type Service } from './service.ts';

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.close());

const REPORT = feedback(metadata(range('1700000000', '1700086399')) + POLICY + record());

async function parse(bytes: Buffer, ...scopes: string[]) {
  const { json: report } = await service.call('POST', '/v1/blobs', { body: bytes });
  return service.call('POST', '/v1/steps/dmarc.parseReport', {
    token: await service.token(...scopes),
    body: { report },
  });
}

test('a report in gzip is read', async () => {
  const { status, json } = await parse(gzipSync(REPORT), 'dmarc:read');
  expect(status).toBe(200);
  expect(json).toMatchObject({ container: 'gzip', reports: [{ kind: 'aggregate', aggregate: { passRate: 1 } }] });
});

test.each([
  ['a truncated one', gzipSync(REPORT).subarray(0, -9), 'dmarc.truncated'],
  ['a DOCTYPE', Buffer.from('<!DOCTYPE a><feedback/>'), 'dmarc.doctype'],
  ['HTML', Buffer.from('<!doctype html><p>'), 'dmarc.not_a_report'],
])('%s is refused with its code and what to do', async (_what, bytes, code) => {
  const { status, json } = await parse(bytes, 'dmarc:*');
  expect(status).toBeGreaterThanOrEqual(400);
  expect(status).toBeLessThan(500);
  expect(json).toMatchObject({ code, detail: expect.any(String), fix: expect.any(String) });
});

test('a token for mail alone may not read reports', async () => {
  const { status, json } = await parse(Buffer.from(REPORT), 'mail:*');
  expect(status).toBe(403);
  expect(json).toMatchObject({ code: 'scope.missing', scope: 'dmarc:read' });
});
