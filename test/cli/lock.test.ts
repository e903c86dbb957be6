import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { lockState, tryLock } from '../../cli/up/lock.ts';

const folder = mkdtempSync(join(tmpdir(), 'switchyard-lock-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Another process that takes the lock of a state folder and keeps it. */
async function holder(state: string) {
  const code = `const { lockState } = await import(${JSON.stringify(resolve('cli/up/lock.ts'))});
    globalThis.lock = lockState(${JSON.stringify(state)}); console.log('locked'); setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  return child;
}

describe('the lock of a state folder', () => {
  it('is refused while another process has it, naming that process', async () => {
    const state = join(folder, 'held');
    const other = await holder(state);
    expect(() => lockState(state)).toThrowError(
      expect.objectContaining({
        code: 'state.locked',
        message: expect.stringContaining(`process ${other.pid}`) as string,
      }) as Error,
    );
    other.kill('SIGKILL');
    await once(other, 'exit');
  });

  it('is free again after kill -9 of its holder', async () => {
    const state = join(folder, 'killed');
    const other = await holder(state);
    other.kill('SIGKILL');
    await once(other, 'exit');
    const lock = lockState(state);
    expect((JSON.parse(readFileSync(join(state, 'lock.json'), 'utf8')) as { pid: number }).pid).toBe(process.pid);
    lock.release();
  });

  it('is held until it is released', () => {
    const file = join(folder, 'plain.sqlite');
    const first = tryLock(file);
    expect(first).toBeDefined();
    expect(tryLock(file)).toBeUndefined();
    first?.release();
    const again = tryLock(file);
    expect(again).toBeDefined();
    again?.release();
  });
});
