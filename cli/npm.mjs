/** Finds npm and runs it. Plain JavaScript for the launcher. */
import { spawn } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import { basename, delimiter, dirname, join } from 'node:path';
import { createInterface } from 'node:readline';

export function findNpm() {
  const script = 'npm-cli.js';
  const candidates = [
    process.env.npm_execpath,
    join(dirname(process.execPath), '..', 'lib', 'node_modules', 'npm', 'bin', script),
    join(dirname(process.execPath), 'node_modules', 'npm', 'bin', script),
    ...(process.env.PATH ?? '').split(delimiter).flatMap((folder) => {
      const link = join(folder, 'npm');
      if (!existsSync(link)) return [];
      const target = realpathSync(link);
      return [
        target,
        join(folder, '..', 'lib', 'node_modules', 'npm', 'bin', script),
        join(folder, 'node_modules', 'npm', 'bin', script),
      ];
    }),
  ];
  const found = candidates.find((path) => path && basename(path) === script && existsSync(path));
  if (found) return found;
  throw Object.assign(new Error('npm was not found.'), {
    fix: 'Install npm (it comes with Node from https://nodejs.org) and put it on the PATH.',
  });
}

export function runNpm({ npm, args, cwd, onLine, signal }) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [npm, ...args], {
      cwd,
      env: npmEnvironment(),
      stdio: ['ignore', 'pipe', 'pipe'],
      signal,
    });
    let lastLine = '';
    let errorLine = '';
    const read = (line) => {
      if (!line.trim()) return;
      lastLine = line;
      if (
        /^npm (error|ERR!)/.test(line) &&
        !/A complete log|(error|ERR!) (errno|code|syscall) |^npm (error|ERR!)\s*$/.test(line)
      )
        errorLine ||= line.replace(/^npm (error|ERR!)\s*/, '');
      onLine?.(line);
    };
    createInterface({ input: child.stdout }).on('line', read);
    createInterface({ input: child.stderr }).on('line', read);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      if (code === 0) resolve();
      else reject(new Error(`npm ${args[0]} ended with ${signal ?? code}: ${errorLine || lastLine || 'no message'}`));
    });
  });
}

/** What an outer `npm run` leaves in the environment describes the outer project: its folders must not reach this npm. */
function npmEnvironment() {
  const kept = Object.entries(process.env).filter(
    ([name]) =>
      !/^(npm_lifecycle_|npm_package_|npm_command$|INIT_CWD$|npm_config_(local_prefix|prefix|global_prefix|global)$)/i.test(
        name,
      ),
  );
  // What is compiled takes the headers of the Node that runs it, where they lie beside it: node-gyp would download them.
  const home = join(dirname(process.execPath), '..');
  const headers = existsSync(join(home, 'include', 'node', 'node.h')) ? { npm_config_nodedir: home } : {};
  return {
    ...Object.fromEntries(kept),
    ...headers,
    PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH ?? ''}`,
  };
}
