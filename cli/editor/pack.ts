/** The n8n pack, laid out as n8n's installer leaves it, and put where n8n looks for community packages. */
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, extname, join, relative } from 'node:path';
import { PermanentError } from '../../protocols/errors.ts';

export const PACK_NAME = 'n8n-nodes-switchyard';

interface PackBuilder {
  compilePack(target: string, output?: 'stdout' | 'stderr'): Promise<number>;
  assemblePack(compiled: string, target: string): void;
}

const root = dirname(dirname(import.meta.dirname));
/** What the pack is made of in a checkout. */
const SOURCES = ['package.json', 'tsconfig.json', 'tsconfig.nodes.json', 'nodes', 'credentials'];

/**
 * Folder with the whole pack: the published package brings it; a checkout compiles it when its sources changed.
 * @throws PermanentError `editor.pack_failed`
 */
export async function providePack(): Promise<string> {
  if (!existsSync(join(root, 'package-lock.json'))) return join(root, 'pack');
  const cache = join(root, 'node_modules', '.cache', PACK_NAME);
  const pack = join(cache, fingerprint(...SOURCES.map((name) => join(root, name))));
  if (existsSync(pack)) return pack;

  const half = join(cache, `.${process.pid}`);
  // By a computed name: the published package has no compiler and is built without this file.
  const { assemblePack, compilePack } = (await import(
    join(import.meta.dirname, '..', 'build', `pack${extname(import.meta.filename)}`)
  )) as PackBuilder;
  try {
    if (await compilePack(join(half, 'compiled'), 'stderr')) throw packFailed();
    assemblePack(join(half, 'compiled'), join(half, 'pack'));
    if (!existsSync(pack)) renameSync(join(half, 'pack'), pack);
  } finally {
    rmSync(half, { recursive: true, force: true });
  }
  return pack;
}

/**
 * Puts the pack into n8n's folder when what lies there is another. n8n must not run.
 * @param folder n8n's user folder
 * @returns whether something changed
 */
export function installPack(folder: string, pack: string): boolean {
  const nodes = join(folder, '.n8n', 'nodes');
  const target = join(nodes, 'node_modules', PACK_NAME);
  if (existsSync(target) && fingerprint(target) === fingerprint(pack)) return false;
  // Beside node_modules, where n8n would take half a pack for a package.
  const half = join(nodes, `${PACK_NAME}.part`);
  rmSync(half, { recursive: true, force: true });
  mkdirSync(dirname(target), { recursive: true, mode: 0o700 });
  cpSync(pack, half, { recursive: true });
  rmSync(target, { recursive: true, force: true });
  renameSync(half, target);
  return true;
}

/** SHA-256 over names and contents. */
function fingerprint(...paths: string[]): string {
  const hash = createHash('sha256');
  for (const path of paths.filter((one) => existsSync(one))) {
    const files = statSync(path).isDirectory()
      ? readdirSync(path, { recursive: true, encoding: 'utf8' }).map((name) => join(path, name))
      : [path];
    for (const file of files.sort()) {
      if (!statSync(file).isFile()) continue;
      const content = readFileSync(file);
      hash.update(`${relative(path, file)}\0${content.length}\0`).update(content);
    }
  }
  return hash.digest('hex');
}

function packFailed(): PermanentError {
  return new PermanentError({
    code: 'editor.pack_failed',
    message: 'The n8n pack does not compile: what the compiler said stands above.',
    fix: 'Correct nodes/ and credentials/, then start again.',
  });
}
