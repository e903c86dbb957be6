/** The n8n pack, compiled, and laid out as n8n's installer leaves it. Needs the checkout's own TypeScript. */
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { runTool } from '../tool.ts';

const root = dirname(dirname(import.meta.dirname));

const PACK_FOLDERS = ['nodes', 'credentials'];
/** What n8n's installer removes from package.json, and what says nothing to n8n. */
const NOT_INSTALLED = ['devDependencies', 'scripts', 'overrides', 'allowScripts'];

/**
 * Compiles nodes and credentials.
 * @param target becomes the pack's `dist`
 * @param output where the compiler says what is wrong
 * @returns the exit status of the compiler
 */
export async function compilePack(target: string, output?: 'stdout' | 'stderr'): Promise<number> {
  const status = await runTool('typescript', ['-p', 'tsconfig.nodes.json', '--outDir', target], 'tsc', output);
  if (status) return status;
  copyOthers(PACK_FOLDERS, target);
  // n8n loads nodes with require, and the root package.json says "module".
  writeFileSync(join(target, 'package.json'), `${JSON.stringify({ type: 'commonjs' })}\n`);
  return 0;
}

/** Lays out a whole pack: package.json, licence, and `dist` copied from what `compilePack` wrote. */
export function assemblePack(compiled: string, target: string): void {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<string, unknown>;
  const installed = Object.entries(manifest).filter(([key]) => !NOT_INSTALLED.includes(key));
  mkdirSync(join(target, 'dist'), { recursive: true });
  writeFileSync(join(target, 'package.json'), `${JSON.stringify(Object.fromEntries(installed), null, 2)}\n`);
  for (const name of ['LICENSE', 'README.md'])
    if (existsSync(join(root, name))) copyFileSync(join(root, name), join(target, name));
  for (const name of [...PACK_FOLDERS, 'package.json'].filter((one) => existsSync(join(compiled, one))))
    cpSync(join(compiled, name), join(target, 'dist', name), { recursive: true });
}

/** Everything of the checkout's folders that is not TypeScript: that was compiled, or it is types only. */
export function copyOthers(folders: string[], target: string): void {
  for (const folder of folders.filter((name) => existsSync(join(root, name)))) {
    mkdirSync(join(target, folder), { recursive: true });
    cpSync(join(root, folder), join(target, folder), { recursive: true, filter: (path) => !/\.m?ts$/.test(path) });
  }
}
