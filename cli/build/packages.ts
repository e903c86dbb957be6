/**
 * Builds what is published:
 *
 * - `dist/server`: the package `switchyard-server`, with the servers, the worker's workflow bundle and the command;
 * - `dist/nodes` and `dist/credentials`: the n8n pack, which is the root package.
 */
import { chmodSync, copyFileSync, cpSync, existsSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { BUNDLE_FILE, buildWorkflowBundle } from '../../servers/worker/bundle.ts';
import { createProgress } from '../progress.mjs';
import { runTool } from '../tool.ts';
import { serverManifest } from './manifest.ts';
import { assemblePack, compilePack, copyOthers } from './pack.ts';

const root = dirname(dirname(import.meta.dirname));
const dist = join(root, 'dist');
const server = join(dist, 'server');

/** Folders whose other files (launcher, assets, migrations) go into the package as they are. */
const SERVER_FOLDERS = ['protocols', 'stores', 'activities', 'servers', 'cli'];

/** @returns the exit status */
export async function buildPackages(): Promise<number> {
  const progress = createProgress();
  rmSync(dist, { recursive: true, force: true });

  const compiling = progress.step('Compiling the servers and the command');
  if (await runTool('typescript', ['-p', 'tsconfig.server.json'], 'tsc')) return failed(compiling);
  copyOthers(SERVER_FOLDERS, server);
  compiling.done();

  const bundling = progress.step('Bundling the workflows');
  writeFileSync(join(server, BUNDLE_FILE), await buildWorkflowBundle());
  bundling.done();

  const manifest = serverManifest(root, server);
  writeFileSync(join(server, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  for (const file of ['LICENSE', 'README.md', 'switchyard.example.yaml']) {
    if (existsSync(join(root, file))) copyFileSync(join(root, file), join(server, file));
  }
  chmodSync(join(server, 'cli', 'launch.mjs'), 0o755);

  const packing = progress.step('Compiling the n8n pack');
  if (await compilePack(dist)) return failed(packing);
  // The editor that `up` starts gets its nodes and workflows from here.
  assemblePack(dist, join(server, 'pack'));
  if (existsSync(join(root, 'templates')))
    cpSync(join(root, 'templates'), join(server, 'templates'), { recursive: true });
  packing.done();

  process.stdout.write(
    [
      '',
      `  dist/server                  ${manifest.name} ${manifest.version}, ${Object.keys(manifest.dependencies).length} dependencies`,
      '  dist/nodes, dist/credentials  the n8n pack',
      '',
      '  Next:  npm pack ./dist/server  then  npm install --global ./switchyard-server-*.tgz',
      '',
    ].join('\n'),
  );
  return 0;
}

function failed(step: { fail(): void }): number {
  step.fail();
  return 1;
}
