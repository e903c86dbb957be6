/** What reaches a workflow from outside: signed messages, and nothing else. */
import { createHash } from 'node:crypto';
import { afterEach, describe, expect, it } from 'vitest';
import type { IDataObject } from 'n8n-workflow';
import { signCallback } from '../../activities/triggers/sign.ts';
import { isSigned } from '../../nodes/shared/signature.ts';
import { hasN8n, stage, startRecorder, withDefaults, type Recorder } from './n8n.ts';

const TOKEN = 'sy_test';
const NOW = Date.parse('2026-11-24T10:00:00Z');
const keyOf = (token: string) => createHash('sha256').update(token).digest();

describe('a signature', () => {
  const body = '{"type":"ping"}';
  const headers = { ...signCallback('msg_1', body, keyOf(TOKEN), NOW) };
  const call = { headers, body: Buffer.from(body), token: TOKEN, now: NOW };

  it('of Switchyard is taken', () => {
    expect(isSigned(call)).toBe(true);
  });

  it('is taken among others, as while keys change', () => {
    const signature = `v1,${Buffer.alloc(32).toString('base64')} v1a,xyz ${headers['webhook-signature']}`;
    expect(isSigned({ ...call, headers: { ...headers, 'webhook-signature': signature } })).toBe(true);
  });

  it.each([
    ['with another token', { token: 'sy_other' }],
    ['of another body', { body: Buffer.from('{"type":"mail"}') }],
    ['of another id', { headers: { ...headers, 'webhook-id': 'msg_2' } }],
    ['of another time', { headers: { ...headers, 'webhook-timestamp': String(NOW / 1_000 + 1) } }],
    ['that is older than five minutes', { now: NOW + 301_000 }],
    ['of a time that is to come', { now: NOW - 301_000 }],
    ['that is missing', { headers: {} }],
    ['that is cut', { headers: { ...headers, 'webhook-signature': headers['webhook-signature'].slice(0, 20) } }],
    [
      'of another version',
      { headers: { ...headers, 'webhook-signature': headers['webhook-signature'].replace('v1', 'v2') } },
    ],
    ['without an id', { headers: { ...headers, 'webhook-id': '' } }],
    ['at no time', { headers: { ...headers, 'webhook-timestamp': 'now' } }],
  ])('%s is refused', (_, change) => {
    expect(isSigned({ ...call, ...change })).toBe(false);
  });

  // Computed with OpenSSL: printf '%s' 'msg_1.1795514400.{"type":"ping"}' | openssl dgst -sha256 -mac hmac
  // -macopt hexkey:$(printf %s sy_test | sha256sum | cut -c1-64) -binary | base64
  it('is what other programs make of the specification', () => {
    const signature = 'cFmGf9UWEbSxifUnRo89UOfVyEK2jZ1EMSbutqsw8zA=';
    const given = { 'webhook-id': 'msg_1', 'webhook-timestamp': '1795514400', 'webhook-signature': `v1,${signature}` };
    expect(isSigned({ ...call, headers: given, now: 1_795_514_400_000 })).toBe(true);
  });
});

describe.skipIf(!hasN8n)('Receive Mail', () => {
  let recorder: Recorder | undefined;
  afterEach(() => recorder?.close());

  const mail = {
    type: 'mail',
    id: '01a2',
    sender: 'ann@a.test',
    message: { key: `mail/${'a'.repeat(64)}`, sha256: 'a'.repeat(64), size: 12 },
  };

  async function receive(body: IDataObject, options: IDataObject = {}, token = TOKEN) {
    recorder = await startRecorder({ answer: () => ({ status: 200, body: 'the message' }) });
    const { SwitchyardMailTrigger } = await import('../../nodes/SwitchyardMailTrigger/SwitchyardMailTrigger.node.ts');
    const node = new SwitchyardMailTrigger();
    const { context } = stage({
      credential: { baseUrl: recorder.url, token: TOKEN },
      parameters: withDefaults(node, { addresses: ['sales@demo.test'], options }),
    });
    const raw = JSON.stringify(body);
    const answers: unknown[] = [];
    Object.assign(context, {
      getRequestObject: () => ({
        rawBody: Buffer.from(raw),
        headers: signCallback('m', raw, keyOf(token), Date.now()),
      }),
      getResponseObject: () => ({
        status: (status: number) => ({ json: (json: unknown) => answers.push([status, json]) }),
      }),
    });
    return { result: await node.webhook.call(context), answers };
  }

  it('starts the workflow with the mail', async () => {
    const { result } = await receive(mail);
    const { type: _type, ...json } = mail;
    expect(result).toEqual({ workflowData: [[{ json }]] });
  });

  it('brings the message itself along where that is wanted', async () => {
    const { result } = await receive(mail, { downloadMessage: true, binaryProperty: 'raw' });
    expect(result.workflowData?.[0]?.[0]?.binary?.raw).toMatchObject({
      mimeType: 'message/rfc822',
      data: Buffer.from('"the message"').toString('base64'),
    });
    expect(recorder?.calls[0]?.path).toBe(`/v1/blobs/${mail.message.key}`);
  });

  it('answers a ping and starts nothing', async () => {
    const { result, answers } = await receive({ type: 'ping' });
    expect(answers).toEqual([[200, { pong: true }]]);
    expect(result).toEqual({ noWebhookResponse: true });
  });

  it('refuses what another signed', async () => {
    const { result, answers } = await receive(mail, {}, 'sy_other');
    expect(answers).toMatchObject([[401, {}]]);
    expect(result).toEqual({ noWebhookResponse: true });
  });
});
