/** Haraka with its own plugins: SPF and DKIM verified, DKIM signed, queued on disk, forwarded. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { findNpm, runNpm } from '../../cli/npm.mjs';
import { cacheFolder } from '../../stores/configuration/cache.mjs';
import type { Candidate } from './candidate.ts';
import { end, FORWARD_DOMAIN, FORWARD_HOST, freePort, reachable, SELECTOR, SENDER_DOMAIN } from './world.ts';

const VERSION = '3.3.4';

export const haraka: Candidate = {
  name: `Haraka ${VERSION}`,
  does: 'SPF, DKIM, DKIM signature, queue on disk; no DMARC, no ARC',
  async start(world, folder) {
    const program = await install();
    const port = await freePort();
    const config = join(folder, 'config');
    await Promise.all(
      ['config/dkim', 'plugins', 'queue'].map((name) => mkdir(join(folder, name), { recursive: true })),
    );
    const files: Record<string, string> = {
      'smtp.ini': `listen=127.0.0.1:${port}\nnodes=${availableParallelism()}\n`,
      me: FORWARD_HOST,
      host_list: FORWARD_DOMAIN,
      plugins: 'spf\ndkim\nrcpt_to.in_host_list\nbench\n',
      'log.ini': '[main]\nlevel=ERROR\n',
      'dkim.ini': `[sign]\nenabled=true\nselector=${SELECTOR}\ndomain=${SENDER_DOMAIN}\n[verify]\nenabled=true\n`,
      'dkim.private.key': await readFile(world.keyFile, 'utf8'),
      'outbound.ini': 'concurrency_max=100\nenable_tls=false\n',
    };
    for (const [name, text] of Object.entries(files)) await writeFile(join(config, name), text);
    // A Haraka without this file, or with a part of it, ends at its first connection.
    await copyFile(join(program, '../../config/connection.ini'), join(config, 'connection.ini'));
    await writeFile(
      join(folder, 'plugins', 'bench.js'),
      [
        'exports.hook_data = (next, connection) => { connection.relaying = true; next(); };',
        `exports.hook_get_mx = (next) => next(OK, { priority: 0, exchange: '${world.sink.host}', port: ${world.sink.port} });`,
        '',
      ].join('\n'),
    );
    // Its plugins ask the default resolver.
    const preload = join(folder, 'dns.cjs');
    const server = JSON.stringify([`${world.dns.host}:${world.dns.port}`]);
    await writeFile(preload, `require('dns').setServers(${server}); require('dns').promises.setServers(${server});\n`);
    const child = spawn(process.execPath, ['--require', preload, program, '-c', folder], {
      stdio: ['ignore', process.env.DEBUG ? 'inherit' : 'ignore', process.env.DEBUG ? 'inherit' : 'ignore'],
      env: { ...process.env, NODE_OPTIONS: `--require ${preload}` },
    });
    await reachable('127.0.0.1', port);
    return { port, parts: { haraka: [child.pid ?? 0] }, close: () => end(child) };
  },
};

async function install(): Promise<string> {
  const folder = join(cacheFolder(), 'bench', `haraka-${VERSION}`);
  const program = join(folder, 'node_modules', 'Haraka', 'bin', 'haraka');
  if (existsSync(program)) return program;
  const half = `${folder}.${process.pid}.part`;
  await mkdir(half, { recursive: true });
  const args = ['install', '--prefix', half, '--no-save', '--no-audit', '--no-fund', `Haraka@${VERSION}`];
  await runNpm({ npm: findNpm(), args, cwd: half, onLine: () => undefined });
  await rename(half, folder);
  return program;
}
