import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { request } from 'node:http';
import { Client, Connection } from '@temporalio/client';
import { expect, test } from 'vitest';
import { sharedTemporal } from '../../setup/temporal.ts';
import { startService } from './service.ts';

test('a stop ends long polls with where the run stands, finishes an upload, and takes nothing new', async () => {
  const temporal = await sharedTemporal();
  const service = await startService({ temporal });
  const client = new Client({ connection: await Connection.connect({ address: temporal }) });
  const id = randomUUID();
  const run = await client.workflow.start('runStep', {
    workflowId: id,
    taskQueue: randomUUID(),
    args: [{ step: 'mail.parse', input: {} }],
  });
  const token = await service.token('*');
  const authorization = `Bearer ${token}`;

  const poll = service.call('GET', `/v1/runs/${id}/result?wait=60s`);
  const upload = request({
    host: '127.0.0.1',
    port: service.port,
    path: '/v1/blobs',
    method: 'POST',
    headers: { authorization },
  });
  upload.write('first half, ');
  // Both are being worked on once this later request has been answered.
  await service.call('GET', `/v1/runs/${id}`);

  const closed = service.close();
  expect(await poll).toMatchObject({ status: 202, json: { id, status: 'RUNNING' } });
  const answered = once(upload, 'response');
  upload.end('second half');
  const [response] = await answered;
  expect(response.statusCode).toBe(201);
  response.resume();
  await closed;
  await expect(fetch(`${service.url}/healthz`)).rejects.toThrow();
  await run.terminate();
  await client.connection.close();
});
