/** Vectors kept beside the checkout, not in it: a test that needs them skips, with one line, where they are absent. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const FOLDER = join(import.meta.dirname, '../../../shared/data');

/** Parsed JSON of a shared file, or null when it is absent. */
export function sharedJson<Shape>(path: string): Shape | null {
  const file = join(FOLDER, path);
  if (existsSync(file)) return JSON.parse(readFileSync(file, 'utf8')) as Shape;
  console.log(`skipped: ../shared/data/${path} is absent`);
  return null;
}
