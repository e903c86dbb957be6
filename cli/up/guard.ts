/**
 * Stands between the supervisor and a server that knows no parent (Temporal, n8n): when the supervisor is gone, even
 * by kill -9, the IPC channel closes and the guard ends the server.
 * Run as: node guard <ms between SIGTERM and SIGKILL> <program> <arguments>.
 */
import { spawn } from 'node:child_process';

/** What the guard tells the supervisor. */
export type GuardMessage = { type: 'server'; pid: number } | { type: 'ended'; reason: string };

const [grace, program, ...args] = process.argv.slice(2);
if (program === undefined) throw new Error('guard: no program given');

const server = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit'] });
server.on('error', (error) => end(error.message, 1));
server.on('exit', (code, signal) => end(signal ?? `exit status ${code}`, code ?? 1));
if (server.pid !== undefined) tell({ type: 'server', pid: server.pid });

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, stop);
process.on('disconnect', stop);

function stop(): void {
  server.kill('SIGTERM');
  setTimeout(() => server.kill('SIGKILL'), Number(grace));
}

function end(reason: string, code: number): void {
  if (!process.connected) process.exit(code);
  process.send?.({ type: 'ended', reason } satisfies GuardMessage, undefined, undefined, () => process.exit(code));
}

function tell(message: GuardMessage): void {
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
}
