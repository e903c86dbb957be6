/** The owners of blobs held against the blob store, once everything is over. */
import { DatabaseSync } from 'node:sqlite';
import { join } from 'node:path';
import { openBlobs } from '../../../stores/blobs/open.ts';
import type { BlobStore } from '../../../stores/blobs/port.ts';
import type { Records } from '../../../stores/records/port.ts';
import { sweepBlobs } from '../../../stores/sweep.ts';
import type { Site } from './site.ts';

export interface BlobEvidence {
  stored: number;
  owners: number;
  /** What an owner needs and the store has not. */
  lost: string[];
  /** Owner rows of a record that was never made, since its session died; they go by their time. */
  strays: number;
  /** Without an owner now: the sweep takes them after a day. */
  unowned: number;
  /** Blobs that no sweep would ever remove, though nobody needs them. */
  orphans: string[];
}

interface OwnerRow {
  key: string;
  owner: string;
  expires_at: string | null;
}

const DAY = 86_400_000;

/** Ends with the store swept as it would be in the far future, when nothing of the mail is needed any more. */
export async function examineBlobs(site: Site, records: Records): Promise<BlobEvidence> {
  const blobs = await openBlobs(site.configuration);
  try {
    const now = new Date();
    const owners = await ownersOf(site);
    const stored = await keysOf(blobs);
    const owned = new Set(owners.map(({ key }) => key));
    const lost = [...owned].filter((key) => !stored.includes(key));
    const strays: OwnerRow[] = [];
    for (const row of owners) {
      const [kind, id = ''] = row.owner.split(':');
      if (kind === 'activity' && !(await records.activity.get(id))) strays.push(row);
    }
    // A day later, only what has an owner is left.
    await sweepBlobs(blobs, records, new Date(now.getTime() + DAY + DAY / 24));
    const afterDay = (await keysOf(blobs)).filter((key) => !owned.has(key));
    const { keepActivity, retry } = site.configuration.mail;
    await sweepBlobs(blobs, records, new Date(now.getTime() + keepActivity + retry.giveUpAfter + 10 * DAY));
    return {
      stored: stored.length,
      owners: owners.length,
      lost,
      strays: strays.length,
      unowned: stored.filter((key) => !owned.has(key)).length,
      orphans: [...new Set([...afterDay, ...(await keysOf(blobs))])],
    };
  } finally {
    await blobs.close();
  }
}

async function keysOf(blobs: BlobStore): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of blobs.list()) keys.push(key);
  return keys;
}

async function ownersOf({ configuration, postgres }: Site): Promise<OwnerRow[]> {
  const schema = configuration.records.postgres?.schema;
  const query = `select key, owner, expires_at from ${schema === undefined ? '' : `"${schema}".`}blob_owners`;
  if (postgres) return postgres.query<OwnerRow>(query);
  const database = new DatabaseSync(join(configuration.state, 'records.sqlite'), { readOnly: true });
  try {
    return database.prepare(query).all() as unknown as OwnerRow[];
  } finally {
    database.close();
  }
}
