/** Runs `switchyard` in a folder of its own, as a person does. */
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';

export interface Folder {
  path: string;
  run(args: string[], stdin?: string): Promise<{ status: number | null; stdout: string; stderr: string }>;
  remove(): Promise<void>;
}

const MAIN = resolve('cli/main.ts');

/** In a folder that is there. */
export async function runCommand(
  path: string,
  args: string[],
  stdin = '',
): Promise<{ status: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd: path,
    stdio: 'pipe',
    env: { ...process.env, SWITCHYARD_ADDRESSES: undefined, SWITCHYARD_CONFIG: undefined },
  });
  child.stdin.end(stdin);
  const closed = new Promise<number | null>((done) => child.on('close', done));
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { status: await closed, stdout, stderr };
}

export async function commandFolder(configuration: string): Promise<Folder> {
  const path = await mkdtemp(join(tmpdir(), 'switchyard-cli-'));
  await writeFile(join(path, 'switchyard.yaml'), configuration);
  return {
    path,
    run: (args, stdin) => runCommand(path, args, stdin),
    remove: () => rm(path, { recursive: true, force: true }),
  };
}
