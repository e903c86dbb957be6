/**
 * The workflow bundle: the code that runs inside Temporal's workflow sandbox. In the published package it lies ready;
 * in a checkout it is built once for each state of the sources and kept in the cache.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cacheFolder } from '../../stores/configuration/cache.mjs';

const root = dirname(dirname(import.meta.dirname));

/** Name of the bundle in the published package. */
export const BUNDLE_FILE = 'workflow-bundle.js';

/** Path of the bundle, for the worker's `workflowBundle` and for replays. Builds it in a checkout when a source has changed. */
export async function workflowBundle(): Promise<{ codePath: string }> {
  const packaged = join(root, BUNDLE_FILE);
  if (existsSync(packaged)) return { codePath: packaged };
  const folder = join(cacheFolder(), 'bundles');
  const codePath = join(folder, `${sourceHash()}.js`);
  if (!existsSync(codePath)) {
    mkdirSync(folder, { recursive: true });
    const half = `${codePath}.${process.pid}.part`;
    writeFileSync(half, await buildWorkflowBundle());
    renameSync(half, codePath);
  }
  return { codePath };
}

/**
 * Bundles workflows/index, or another entry in a test. Unminified, since stack traces of runs point into it; without a source map and with
 * webpack's production mode it is a third of the default's size and built in half the time.
 */
export async function buildWorkflowBundle(entry = join(root, 'workflows', 'index.ts')): Promise<string> {
  const { bundleWorkflowCode } = await import('@temporalio/worker');
  const { code } = await bundleWorkflowCode({
    workflowsPath: entry,
    webpackConfigHook: (config) => ({
      ...config,
      mode: 'production',
      devtool: false,
      optimization: { ...config.optimization, minimize: false },
    }),
    logger: { log() {}, trace() {}, debug() {}, info() {}, warn: console.warn, error: console.error },
  });
  return `${code}\n//# sourceMappingURL=data:application/json;base64,${Buffer.from(EMPTY_SOURCE_MAP).toString('base64')}\n`;
}

/** The worker refuses a bundle without an inline map; an empty one keeps the bundle small, and stack traces name its lines. */
const EMPTY_SOURCE_MAP = JSON.stringify({ version: 3, sources: [], names: [], mappings: '' });

/** Everything that ends in the bundle: our sources and, by the lock file, the SDK and the packages. */
function sourceHash(): string {
  const hash = createHash('sha256');
  const files = ['workflows', 'protocols'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .sort()
      .map((name) => join(folder, name)),
  );
  for (const file of [...files, 'package-lock.json'])
    hash
      .update(file)
      .update('\0')
      .update(readFileSync(join(root, file)))
      .update('\0');
  return hash.digest('hex').slice(0, 32);
}
