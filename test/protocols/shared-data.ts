/** Vectors kept beside the checkout, not in it: a test that needs them skips, with one line, where they are absent. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments, type Document } from 'yaml';

const FOLDER = join(import.meta.dirname, '../../../shared/data');

/** The bytes of a shared file, or null when it is absent. */
export function sharedFile(path: string): Buffer | null {
  const file = sharedPath(path);
  return file === null ? null : readFileSync(file);
}

/** Where a shared file or folder is, or null when it is absent. */
export function sharedPath(path: string): string | null {
  const file = join(FOLDER, path);
  if (existsSync(file)) return file;
  console.log(`skipped: ../shared/data/${path} is absent`);
  return null;
}

/** Parsed JSON of a shared file, or null when it is absent. */
export function sharedJson<Shape>(path: string): Shape | null {
  const bytes = sharedFile(path);
  return bytes && (JSON.parse(bytes.toString('utf8')) as Shape);
}

/** The documents of a shared YAML file, equal keys beside each other allowed; none when it is absent. */
export function sharedYaml(path: string): Document.Parsed[] {
  const bytes = sharedFile(path);
  return bytes ? (parseAllDocuments(bytes.toString('utf8'), { uniqueKeys: false }) as Document.Parsed[]) : [];
}
