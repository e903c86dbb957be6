/**
 * What anyone can send to a report address, through real processes: each mail has its 250 and comes to its end, and what
 * is refused is in quarantine. The steps alone are in test/activities/dmarc/publish-report.test.ts.
 */
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { FORWARD_DOMAIN } from '../../cli/demo/world.ts';
import { openBlobs } from '../../stores/blobs/open.ts';
import type { BlobStore } from '../../stores/blobs/port.ts';
import { HOSTILE } from '../activities/dmarc/hostile.ts';
import { mailWith, type Attached } from '../activities/dmarc/mails.ts';
import { eventually, openHouse, type House } from '../support/house.ts';

let house: House;
let blobs: BlobStore;
beforeAll(async () => {
  house = await openHouse({ dmarc: { names: { enabled: false } } });
  blobs = await openBlobs(house.installation.configuration);
});
afterAll(async () => {
  await blobs?.close();
  await house?.close();
});

/** Each has a domain and an address of its own, so that nothing of another is found there. */
async function sendOf(number: number, files: (about: string) => Attached[] | Promise<Attached[]>) {
  const about = `hostile${number}.example`;
  const address = `hostile${number}@${FORWARD_DOMAIN}`;
  await house.records.dmarc.domains.put(about, address, 'test');
  const send = async (attached: Attached[]) => {
    const { data } = await house.send({ to: [address], message: mailWith(...attached) });
    expect(data).toMatch(/^250 /);
    const record = await eventually(async () => {
      const last = await house.finalRecord(address);
      return last.closedAt !== null && last;
    }, `the end of the mail to ${address}`);
    return record;
  };
  return { about, send, attached: await files(about) };
}

it.each(HOSTILE.map((one, number) => ({ number, ...one })))(
  '$what',
  async ({ number, files, before, code, original }) => {
    const { about, send, attached } = await sendOf(number, files);
    if (before) await send(before(about));
    const record = await send(attached);
    expect(record).toMatchObject({ outcome: code === null ? 'delivered' : 'failed', errorCode: code });
    const kept = await house.records.dmarc.quarantine.list({ domain: about });
    expect(kept.map((one) => one.code)).toEqual(code === null ? [] : [code]);
    if (!original) return;
    const stored = await buffer(await blobs.read(kept[0]?.blob.key ?? ''));
    const bytes = Buffer.from(attached[0]?.bytes ?? '');
    expect(original === 'mail' ? stored.includes('Subject: Report domain') : stored.equals(bytes)).toBe(true);
  },
);
