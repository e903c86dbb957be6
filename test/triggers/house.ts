/** A Switchyard with an n8n beside it, for the tests of triggers. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FORWARD_DOMAIN } from '../../cli/demo/world.ts';
import { openHouse, type House, type HouseOptions } from '../support/house.ts';
import { startFakeN8n, type FakeN8n } from '../support/fake-n8n.ts';

export interface TriggerHouse {
  house: House;
  n8n: FakeN8n;
  /** The plain text of the first token, which may do everything. */
  token: string;
  call(method: string, path: string, body?: unknown): Promise<{ status: number; json: Record<string, unknown> }>;
  /** Registers a mail trigger for one local part of the forwarding domain; its webhook is `/webhook/<name>`. */
  mailTrigger(name: string, options?: Record<string, unknown>): Promise<{ id: string; address: string; path: string }>;
  close(): Promise<void>;
}

export const at = (localPart: string): string => `${localPart}@${FORWARD_DOMAIN}`;

export async function openTriggerHouse(options: HouseOptions = {}): Promise<TriggerHouse> {
  const n8n = await startFakeN8n();
  const house = await openHouse({ ...options, triggers: { callbackOrigins: [n8n.origin], ...options.triggers } });
  const token = readFileSync(join(house.installation.configuration.state, 'token'), 'utf8').trim();
  const call: TriggerHouse['call'] = async (method, path, body) => {
    const { host, port } = house.installation.addresses.http;
    const answer = await fetch(`http://${host}:${port}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}` },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    return { status: answer.status, json: text ? (JSON.parse(text) as Record<string, unknown>) : {} };
  };
  return {
    house,
    n8n,
    token,
    call,
    async mailTrigger(name, change = {}) {
      const id = `n8n:test:${name}`;
      const path = `/webhook/${name}`;
      const { status, json } = await call('PUT', `/v1/triggers/${id}`, {
        kind: 'mail',
        name,
        callbackUrl: n8n.url(path),
        addresses: [at(name)],
        answer: 'verdict',
        ...change,
      });
      if (status !== 200) throw new Error(`not registered: ${JSON.stringify(json)}`);
      return { id, address: at(name), path };
    },
    async close() {
      await house.close();
      await n8n.close();
    },
  };
}
