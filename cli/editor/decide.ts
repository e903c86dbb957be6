/**
 * What a start imports into the editor: only what was never there. What a person changed stays as it is, what a person
 * deleted stays deleted.
 */
import type { Present } from './database.ts';
import { wantsPublishing, type Template } from './templates.ts';

/** What earlier starts imported: kept beside n8n's database, and gone with it. */
export interface Imported {
  credential?: {
    /** Of the API, when the credential was imported. */
    baseUrl: string;
    tokenId: string;
    /** As it lay in n8n's database after the import; null while the import is under way. */
    fingerprint: string | null;
  };
  /** By id. `pending` until the import and what belongs to it are through. */
  workflows: Record<string, 'pending' | 'done'>;
}

export interface Plan {
  /** `edited`: it points to where Switchyard no longer is, and a person has changed it since. */
  credential: 'import' | 'keep' | 'edited';
  workflows: Template[];
  /** Ids, after the import. */
  publish: string[];
}

/** @param wanted where the API is now, whether its token still lets the nodes do all they do, our mail domains, every template */
export function decide(
  imported: Imported,
  present: Present,
  wanted: {
    credentialId: string;
    baseUrl: string;
    tokenCounts: boolean;
    domains: readonly string[];
    templates: Template[];
  },
): Plan {
  // n8n starts after a set-up that went through: what is pending, no person has touched.
  const workflows = wanted.templates.filter(
    ({ id }) =>
      imported.workflows[id] === 'pending' || (imported.workflows[id] === undefined && !present.workflows.has(id)),
  );
  return {
    credential: decideCredential(imported.credential, present.credentials.get(wanted.credentialId), wanted),
    workflows,
    publish: workflows.filter((template) => wantsPublishing(template, wanted.domains)).map(({ id }) => id),
  };
}

function decideCredential(
  imported: Imported['credential'],
  present: string | undefined,
  wanted: { baseUrl: string; tokenCounts: boolean },
): Plan['credential'] {
  if (!imported) return present === undefined ? 'import' : 'keep';
  if (imported.fingerprint === null) return 'import';
  const isRight = imported.baseUrl === wanted.baseUrl && wanted.tokenCounts;
  if (present === undefined || isRight) return 'keep';
  return present === imported.fingerprint ? 'import' : 'edited';
}
