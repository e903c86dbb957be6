/** Keeps what was refused, with its original, where a person sees it. Nothing that came to a report address is lost silently. */
import { z } from 'zod';
import { defineStep } from '../step.ts';
import { Authentication, BlobRef } from '../schemas.ts';
import type { Dependencies } from '../dependencies.ts';
import { reportIdOf } from '../../protocols/dmarc/identity.ts';
import { quarantineOwner, type Quarantined } from '../../stores/records/dmarc/port.ts';
import { keepBlob } from '../../stores/sweep.ts';

/** Characters of what is said about it: it holds words of strangers. */
const WORDS = 500;

export const ReportMail = z
  .object({
    activityId: z.string().nullable().describe('Its activity record.'),
    sender: z.string().describe('Envelope sender.'),
    headerFrom: z.string().nullable().describe('Address of the From field.'),
    authentication: Authentication.nullable().describe('What verification of the mail found.'),
  })
  .describe('The mail that the report came with.');

export type Refusal = Omit<Quarantined, 'id' | 'expiresAt'>;

/** @returns what is kept; the same for the same act */
export async function quarantine(
  refusal: Refusal,
  { configuration, blobs, records }: Pick<Dependencies, 'configuration' | 'blobs' | 'records'>,
): Promise<Quarantined> {
  const id = reportIdOf(refusal.receivedAt, `quarantine/${refusal.act}`);
  const expiresAt = new Date(Date.now() + configuration.dmarc.keepQuarantine).toISOString();
  await keepBlob({ blobs, records }, refusal.blob, quarantineOwner(id), expiresAt);
  const message = refusal.message.slice(0, WORDS);
  const kept = await records.dmarc.quarantine.put({ ...refusal, message, id, expiresAt });
  // An act that came at two times, as a file that is imported again.
  if (kept.id !== id) await records.blobOwners.disown(refusal.blob.key, quarantineOwner(id));
  return kept;
}

export const quarantineReport = defineStep({
  name: 'dmarc.quarantineReport',
  summary: 'Keep what was refused as a report, with its original, for a person to look at.',
  input: z.object({
    act: z.string().max(500).describe('Names the refusal: the same again is the same.'),
    original: BlobRef.describe('The attachment as it came, or the whole mail.'),
    file: z.string().nullable().describe('Name that it came with.'),
    domain: z.string().nullable().describe('The domain whose address it came to.'),
    address: z.string().nullable(),
    receivedAt: z.iso.datetime(),
    code: z.string().max(100),
    message: z.string().describe('Is cut to 500 characters.'),
    mail: ReportMail.nullable(),
  }),
  output: z.object({ id: z.string() }),
  needs: ['configuration', 'blobs', 'records'],
  takes: 'cpu',
  repeat: 'safe',
  scope: 'dmarc:write',
  internal: true,
  errors: ['blob.unavailable', 'records.unavailable'],
  async run({ original, ...refusal }, dependencies) {
    const kept = { ...refusal, blob: original, sender: refusal.mail?.sender ?? null };
    return { id: (await quarantine(kept, dependencies)).id };
  },
});

export const releaseQuarantined = defineStep({
  name: 'dmarc.releaseQuarantined',
  summary: 'Take out of quarantine what was read again, and is published or in quarantine anew.',
  input: z.object({ id: z.string(), by: z.string().max(200).describe('Who asked for it, for the audit log.') }),
  output: z.object({ released: z.boolean().describe('False where it was gone already.') }),
  needs: ['records'],
  takes: 'cpu',
  repeat: 'safe',
  scope: 'dmarc:write',
  internal: true,
  errors: ['records.unavailable'],
  run: async ({ id, by }, { records }) => ({ released: await records.dmarc.quarantine.remove(id, by) }),
});
