/**
 * What n8n's own database holds, read without a word to it: which workflows and which credential are there. Only
 * while n8n does not run, and only for the pinned version: the tables are n8n's and may change with the next.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

export interface Present {
  /** Ids of workflows, and whether each is published. */
  workflows: Map<string, { isPublished: boolean }>;
  /** Fingerprints of the credentials as they lie there, by id: each save makes another. */
  credentials: Map<string, string>;
}

/** @param folder n8n's user folder */
export function readPresent(folder: string): Present {
  const file = join(folder, '.n8n', 'database.sqlite');
  if (!existsSync(file)) return { workflows: new Map(), credentials: new Map() };
  const database = new DatabaseSync(file, { readOnly: true });
  try {
    return {
      workflows: new Map(
        rows<{ id: string; activeVersionId: string | null }>(database, 'workflow_entity', 'id, activeVersionId').map(
          ({ id, activeVersionId }) => [id, { isPublished: activeVersionId !== null }],
        ),
      ),
      credentials: new Map(
        rows<{ id: string; name: string; data: string }>(database, 'credentials_entity', 'id, name, data').map(
          ({ id, name, data }) => [id, createHash('sha256').update(`${name}\0${data}`).digest('hex')],
        ),
      ),
    };
  } finally {
    database.close();
  }
}

/** A start that was killed in its first seconds leaves a database without tables. */
function rows<Row>(database: DatabaseSync, table: string, columns: string): Row[] {
  const exists = database.prepare("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?").get(table);
  return exists ? (database.prepare(`SELECT ${columns} FROM ${table}`).all() as unknown as Row[]) : [];
}
