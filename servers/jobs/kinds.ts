/** The kinds of jobs: what each is called, what it takes, what it has for itself while it runs, and its workflow. */
import { z } from 'zod';
import { PARSER_VERSION } from '../../protocols/dmarc/identity.ts';
import { PermanentError } from '../../protocols/errors.ts';
import type { Dependencies } from '../../activities/dependencies.ts';
import { BlobRef } from '../../activities/schemas.ts';
import { demandDomain, keepArchive } from '../dmarc/imports.ts';
import { checkGiven } from '../given-blob.ts';
import { IMPORT_REPORTS, REREAD_REPORTS } from '../../workflows/dmarc/jobs/contract.ts';

export interface JobKind<Parameters extends z.ZodObject = z.ZodObject> {
  /** `domain.verb`. */
  name: string;
  /** One sentence for people. */
  summary: string;
  /** Name of the workflow that does it; its input is `JobInput` (workflows/jobs/contract.ts). */
  workflow: string;
  parameters: Parameters;
  /** What one job at a time is done of, such as `dmarc.reparse` or `site/<id>`. */
  key(parameters: z.output<Parameters>): string;
  /** What a token must be allowed beside jobs:write. */
  scope: string;
  /**
   * Sees that a new job could be done, and keeps what it needs, where a request comes from outside.
   * @throws PermanentError one of `errors`
   */
  prepare?(parameters: z.output<Parameters>, dependencies: Pick<Dependencies, 'blobs' | 'records'>): Promise<void>;
  /** Codes of that. */
  errors?: readonly string[];
}

/** Forgets the types of the parameters, for the list below. */
export const defineJobKind = <Parameters extends z.ZodObject>(kind: JobKind<Parameters>): JobKind =>
  kind as unknown as JobKind;

export const reparse = defineJobKind({
  name: 'dmarc.reparse',
  summary: 'Read all stored reports anew; the old answers hold until the new ones are complete.',
  workflow: REREAD_REPORTS,
  // Part of the request, so that one of a newer build does not join that of an older one.
  parameters: z.strictObject({ parser: z.literal(PARSER_VERSION).default(PARSER_VERSION) }),
  key: () => 'dmarc.reparse',
  scope: 'dmarc:write',
});

export const importReports = defineJobKind({
  name: 'dmarc.import',
  summary:
    'Publish the reports in stored bytes, each once: a report, a mail, an mbox, or a tar archive of such files and of archives of them.',
  workflow: IMPORT_REPORTS,
  parameters: z.strictObject({
    archive: BlobRef,
    name: z.string().max(500).nullable().default(null).describe('What people call it.'),
  }),
  // Two archives are two jobs side by side; the same one again is the same job.
  key: ({ archive }) => `dmarc.import/${archive.sha256.slice(0, 16)}`,
  scope: 'dmarc:write',
  errors: ['blob.missing', 'dmarc.no_domain'],
  async prepare({ archive }, dependencies) {
    await checkGiven(archive, dependencies.blobs, 'parameters.archive');
    await demandDomain(dependencies);
    await keepArchive(archive, dependencies);
  },
});

export const jobKinds: readonly JobKind[] = [reparse, importReports];

/** @throws PermanentError `job.kind_unknown` */
export function findJobKind(name: string, kinds: readonly JobKind[] = jobKinds): JobKind {
  const kind = kinds.find((one) => one.name === name);
  if (kind) return kind;
  throw new PermanentError({
    code: 'job.kind_unknown',
    message: `There is no kind of job ${JSON.stringify(name)}.`,
    fix: `The kinds are: ${kinds.map((one) => one.name).join(', ') || 'none yet'}.`,
  });
}
