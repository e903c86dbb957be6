/** A real postfix in a folder of its own, from the Debian package; its master must be root. */
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export const hasPostfix = existsSync('/usr/sbin/postfix') && existsSync('/usr/sbin/smtp-source') && isRoot();
export const NO_POSTFIX = 'postfix is absent (a Debian package), or this is not root';

function isRoot(): boolean {
  return process.getuid?.() === 0;
}

export interface Postfix {
  /** Of its master. */
  pid: number;
  /** Runs one of its commands with this configuration, such as `postqueue -f`. */
  command(name: string, ...args: string[]): string;
  stop(): void;
}

/** Nothing is chrooted, since the queue lies in a temporary folder. */
const SERVICES = [
  'pickup unix n - n 60 1 pickup',
  'cleanup unix n - n - 0 cleanup',
  'qmgr unix n - n 300 1 qmgr',
  'tlsmgr unix - - n 1000? 1 tlsmgr',
  'rewrite unix - - n - - trivial-rewrite',
  'bounce unix - - n - 0 bounce',
  'defer unix - - n - 0 bounce',
  'trace unix - - n - 0 bounce',
  'verify unix - - n - 1 verify',
  'flush unix n - n 1000? 0 flush',
  'proxymap unix - - n - - proxymap',
  'proxywrite unix - - n - 1 proxymap',
  'smtp unix - - n - - smtp',
  'relay unix - - n - - smtp',
  'error unix - - n - - error',
  'retry unix - - n - - error',
  'discard unix - - n - - discard',
  'anvil unix - - n - 1 anvil',
  'scache unix - - n - 1 scache',
  'postlog unix-dgram n - n - 1 postlogd',
];

/**
 * Starts one. It listens at `port` of 127.0.0.1 once this returns.
 * @param settings of main.cf, over those that say where it lives
 */
export function startPostfix(folder: string, port: number, settings: Record<string, string>): Postfix {
  const [config, queue, data] = ['config', 'queue', 'data'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  for (const path of [config, queue, data]) mkdirSync(path, { recursive: true });
  execFileSync('chown', ['postfix', data]);
  // Its processes are other users.
  for (const path of [folder, join(folder, '..')]) chmodSync(path, 0o755);
  const all = {
    compatibility_level: '3.6',
    queue_directory: queue,
    data_directory: data,
    mydestination: '',
    inet_interfaces: '127.0.0.1',
    inet_protocols: 'ipv4',
    local_recipient_maps: '',
    alias_maps: '',
    alias_database: '',
    smtpd_client_connection_count_limit: '0',
    disable_dns_lookups: 'yes',
    ...settings,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name} = ${value}\n`);
  writeFileSync(join(config, 'main.cf'), lines.join(''));
  writeFileSync(join(config, 'master.cf'), [`127.0.0.1:${port} inet n - n - - smtpd`, ...SERVICES, ''].join('\n'));
  const command = (name: string, ...args: string[]) =>
    execFileSync(name, ['-c', config, ...args], { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' });
  command('postfix', 'start');
  const pid = Number(readFileSync(join(queue, 'pid', 'master.pid'), 'utf8'));
  // It is a daemon, and would outlive a test that was ended.
  const onExit = () => {
    try {
      process.kill(pid, 'SIGTERM');
    } catch {
      // It ended before.
    }
  };
  process.on('exit', onExit);
  return {
    pid,
    command,
    stop() {
      process.off('exit', onExit);
      command('postfix', 'stop');
    },
  };
}
