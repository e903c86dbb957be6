/**
 * n8n's own rules for verified community nodes: its scanner on the sources and on the packed folder, and the compiler
 * with n8n's real types. The tools are in the cache and not in node_modules: they need another ESLint and another zod.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { cacheFolder } from '../../stores/configuration/cache.mjs';
import { PermanentError, messageOf } from '../../protocols/errors.ts';
import { findNpm, runNpm } from '../npm.mjs';
import type { Progress } from '../progress.mjs';
import { runTool } from '../tool.ts';
import { waitForLock } from '../up/lock.ts';
import { assemblePack, compilePack } from './pack.ts';

const root = dirname(dirname(import.meta.dirname));
const work = join(root, 'node_modules', '.cache', 'n8n-nodes-switchyard-rules');

/** The scanner, what it forgets to ask for, and the n8n-workflow of the n8n that the editor is. */
const TOOLS = {
  '@n8n/scan-community-package': '0.32.0',
  'n8n-workflow': '2.40.1',
  typescript: '6.0.3',
  zod: '3.25.76',
};
/** The scanner asks for an older one of its own rules. */
const OVERRIDES = { '@n8n/eslint-plugin-community-nodes': '0.32.0' };
/** Another set of tools is another folder. */
const FOLDER = Object.values({ ...TOOLS, ...OVERRIDES }).join('-');

interface Scanner {
  SOURCE_FILE_PATTERNS: string[];
  analyzePackage(folder: string, patterns: string[]): Promise<{ passed: boolean; message?: string; details?: string }>;
}

/** Folder with the `node_modules` of the tools, or undefined where they were never installed. */
export function findPackTools(): string | undefined {
  const folder = join(cacheFolder(), 'pack-rules', FOLDER);
  return existsSync(folder) ? folder : undefined;
}

/** @throws PermanentError `lint.tools_failed` */
export async function providePackTools(progress: Progress): Promise<string> {
  const found = findPackTools();
  if (found) return found;
  const cache = join(cacheFolder(), 'pack-rules');
  mkdirSync(cache, { recursive: true });
  const lock = await waitForLock(join(cache, 'lock.sqlite'));
  try {
    return findPackTools() ?? (await install(cache, progress));
  } finally {
    lock.release();
  }
}

async function install(cache: string, progress: Progress): Promise<string> {
  // Under the lock nobody works on them any more: an earlier install was killed.
  for (const name of readdirSync(cache).filter((one) => one.endsWith('.part')))
    rmSync(join(cache, name), { recursive: true, force: true });
  const step = progress.step("Installing n8n's rules for community nodes (half a minute, once)");
  const half = join(cache, `${process.pid}.part`);
  try {
    mkdirSync(half);
    const manifest = { name: 'switchyard-pack-rules', private: true, dependencies: TOOLS, overrides: OVERRIDES };
    writeFileSync(join(half, 'package.json'), JSON.stringify(manifest));
    // Their peers contradict each other; their install scripts build what linting does not need.
    const args = ['install', '--legacy-peer-deps', '--ignore-scripts', '--no-audit', '--no-fund'];
    await runNpm({ npm: findNpm(), args, cwd: half });
    renameSync(half, join(cache, FOLDER));
  } catch (error) {
    step.fail();
    throw new PermanentError({
      code: 'lint.tools_failed',
      message: `n8n's rules could not be installed: ${messageOf(error)}`,
      fix: 'Check the network or the npm registry setting, then run it again.',
      cause: error,
    });
  } finally {
    rmSync(half, { recursive: true, force: true });
  }
  step.done();
  return join(cache, FOLDER);
}

/**
 * Holds the pack against n8n's rules and types.
 * @param say where findings go
 * @returns whether all is well
 */
export async function checkPack(tools: string, say: (text: string) => void): Promise<boolean> {
  if ((await compileWithRealTypes(tools)) !== 0) return false;
  const pack = join(work, 'pack');
  rmSync(work, { recursive: true, force: true });
  if ((await compilePack(join(work, 'compiled'))) !== 0) return false;
  assemblePack(join(work, 'compiled'), pack);
  const scanner = (await import(
    pathToFileURL(join(tools, 'node_modules/@n8n/scan-community-package/scanner/scanner.mjs')).href
  )) as Scanner;
  const results = [
    await scanner.analyzePackage(root, scanner.SOURCE_FILE_PATTERNS),
    await scanner.analyzePackage(pack, ['**/*.js', 'package.json']),
  ];
  for (const { passed, message, details } of results) if (!passed) say(details ?? message ?? 'refused');
  return results.every(({ passed }) => passed);
}

/** The nodes' own declaration of n8n is short and written by hand: here it must not promise more than n8n keeps. */
async function compileWithRealTypes(tools: string): Promise<number> {
  mkdirSync(work, { recursive: true });
  const project = join(work, 'tsconfig.json');
  const configuration = {
    extends: join(root, 'tsconfig.nodes.json'),
    compilerOptions: {
      noEmit: true,
      rootDir: '/',
      typeRoots: [join(root, 'node_modules/@types')],
      paths: { 'n8n-workflow': [join(tools, 'node_modules/n8n-workflow/dist/esm/index.d.ts')] },
    },
    include: [join(root, 'nodes/**/*.ts'), join(root, 'credentials/**/*.ts')],
    exclude: [join(root, 'nodes/n8n-workflow.d.ts')],
  };
  writeFileSync(project, JSON.stringify(configuration));
  return runTool('typescript', ['-p', project], 'tsc');
}
