import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { packageVersion } from '../../cli/version.ts';

const scratch = mkdtempSync(join(tmpdir(), 'switchyard-launch-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true, maxRetries: 5 }));

/** They pass what they are given on to tools. */
const OF_THE_CHECKOUT = new Set(['bench', 'build', 'fault', 'fuzz', 'lint', 'test']);

describe('the command line', () => {
  const switchyard = (...args: string[]) =>
    spawnSync(process.execPath, ['cli/launch.mjs', ...args], { encoding: 'utf8' });

  it('prints the version of package.json', () => {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
    expect(switchyard('--version').stdout).toBe(`${version}\n`);
  });

  it('ends with status 2 on an unknown command and names the nearest one', () => {
    const result = switchyard('inti');
    expect(result.status).toBe(2);
    expect(result.stderr).toContain('Did you mean: switchyard init?');
  });

  it.each(
    readdirSync('cli/commands')
      .map((file) => file.replace('.ts', ''))
      .filter((name) => !OF_THE_CHECKOUT.has(name)),
  )('says what %s does, does nothing else, and takes no unknown option', (name) => {
    const help = switchyard(name, '--help');
    expect(help).toMatchObject({ status: 0, stdout: expect.stringMatching(`^switchyard ${name}\\b`) });
    expect(switchyard(name, '--no-such-option').status).toBe(2);
  });

  it('lists every command with a line about it', () => {
    const { stdout, status } = switchyard('--help');
    expect(status).toBe(0);
    for (const file of readdirSync('cli/commands'))
      expect(stdout).toMatch(new RegExp(`^ {4}${file.replace('.ts', '')} +\\S+ \\S+`, 'm'));
  });
});

/** Some minutes, and the registry: in CI always, elsewhere on request. */
const isSlowWanted = process.env.CI === 'true' || process.env.SWITCHYARD_SLOW_TESTS === '1';
const SLOW = 15 * 60_000;

describe.skipIf(!isSlowWanted)('a fresh checkout with an empty home, on an old Node', { timeout: SLOW }, () => {
  let oldNode: string;
  let checkout: string;
  const home = join(scratch, 'home');
  const environment = () => ({
    ...Object.fromEntries(
      Object.entries(process.env).filter(
        ([name]) =>
          !/^(npm_|XDG_|SWITCHYARD_|NODE_(ENV|OPTIONS)|VITEST)/i.test(name) ||
          /^npm_config_(registry|cafile|ca|proxy|https_proxy|noproxy)$/i.test(name),
      ),
    ),
    HOME: home,
    PATH: [
      dirname(oldNode),
      ...(process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== dirname(process.execPath)),
    ].join(delimiter),
  });
  const launch = (...args: string[]) => {
    const child = spawn(oldNode, ['cli/launch.mjs', ...args], {
      cwd: checkout,
      env: environment(),
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    const exited = once(child, 'exit').then(([code, signal]) => (code ?? signal) as number | string);
    return { child, exited, printed: () => stdout, said: () => stderr };
  };

  beforeAll(async () => {
    oldNode = findOldNode();
    checkout = join(scratch, 'checkout');
    mkdirSync(home);
    // Registry settings of this machine are no part of what is tested.
    if (existsSync(join(homedir(), '.npmrc'))) cpSync(join(homedir(), '.npmrc'), join(home, '.npmrc'));
    const files = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
      encoding: 'utf8',
    })
      .split('\0')
      .filter((file) => file && existsSync(file));
    for (const file of files) cpSync(file, join(checkout, file));
  }, SLOW);

  it('sets itself up, for two at once too, and is quick the second time', async () => {
    const both = [launch('--version'), launch('--version')];
    const status = await Promise.all(both.map(({ exited }) => exited));
    expect(status, both.map(({ said }) => said()).join('\n')).toEqual([0, 0]);
    for (const { printed } of both) expect(printed()).toBe(`${packageVersion()}\n`);
    expect(both.map(({ said }) => said()).join()).toContain('Installing Node 24');
    expect(readdirSync(join(home, '.cache/switchyard/node')).filter((name) => name.endsWith('.part'))).toEqual([]);

    const again = launch('--version');
    expect(await again.exited).toBe(0);
    expect(again.said()).toBe('');
  });

  it('puts `npx switchyard` in place', () => {
    const npx = spawnSync(join(checkout, 'node_modules/.bin/switchyard'), ['--version'], {
      cwd: checkout,
      env: environment(),
      encoding: 'utf8',
    });
    expect(npx.stdout).toBe(`${packageVersion()}\n`);
  });

  it('repairs an install that was killed', async () => {
    rmSync(join(checkout, 'node_modules'), { recursive: true });
    const killed = launch('--version');
    await vi.waitUntil(
      () => existsSync(join(checkout, 'node_modules')) && readdirSync(join(checkout, 'node_modules')).length > 5,
      { timeout: SLOW, interval: 20 },
    );
    process.kill(-(killed.child.pid as number), 'SIGKILL');
    await killed.exited;

    const repaired = launch('--version');
    expect(await repaired.exited, repaired.said()).toBe(0);
    expect(repaired.said()).toContain('Installing packages');
    expect(repaired.printed()).toBe(`${packageVersion()}\n`);
  });

  it('passes signals and the exit status on', async () => {
    writeFileSync(
      join(checkout, 'cli/commands/init.ts'),
      "export const summary = 'wait for a signal';\nexport const run = () => new Promise((resolve) => { process.on('SIGTERM', () => resolve(7)); setInterval(() => {}, 1000); console.log('waiting'); });\n",
    );
    const waiting = launch('init');
    await vi.waitUntil(() => waiting.printed().includes('waiting'), { timeout: 60_000 });
    waiting.child.kill('SIGTERM');
    expect(await waiting.exited).toBe(7);
  });
});

/** A Node before 24: one of this machine, or from npm. */
function findOldNode(): string {
  const onPath = [...new Set([...(process.env.PATH ?? '').split(delimiter), '/usr/bin', '/usr/local/bin'])]
    .map((folder) => join(folder, 'node'))
    .filter((path) => existsSync(path));
  const old = onPath.find((path) => {
    const major = Number(/^v(\d+)/.exec(spawnSync(path, ['--version'], { encoding: 'utf8' }).stdout ?? '')?.[1]);
    return major >= 18 && major < 24;
  });
  if (old) return resolve(old);
  const name = `node-${process.platform}-${process.arch}`;
  const prefix = join(scratch, 'old-node');
  mkdirSync(prefix);
  execFileSync('npm', ['install', '--prefix', prefix, '--no-save', `${name}@20`], { stdio: 'ignore' });
  return join(prefix, 'node_modules', name, 'bin', 'node');
}
