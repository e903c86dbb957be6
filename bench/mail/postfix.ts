/** Debian's postfix as a plain relay: it verifies and signs nothing, and queues on disk. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Candidate } from './candidate.ts';
import { FORWARD_DOMAIN, FORWARD_HOST, freePort, reachable } from './world.ts';

/** The services that a relay needs; nothing is chrooted, since the queue lies in a temporary folder. */
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
];

export const postfix: Candidate = {
  name: 'postfix, plain relay',
  does: 'queue on disk; no check, no signature',
  async start(world, folder) {
    if (!existsSync('/usr/sbin/postfix') || process.getuid?.() !== 0)
      throw new Error('postfix is not installed, or this is not root');
    const port = await freePort();
    const [config, queue, data] = ['config', 'queue', 'data'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    await Promise.all([config, queue, data].map((path) => mkdir(path, { recursive: true })));
    execFileSync('chown', ['postfix', data]);
    execFileSync('chmod', ['755', folder, join(folder, '..')]);
    const settings = {
      compatibility_level: '3.6',
      queue_directory: queue,
      data_directory: data,
      myhostname: FORWARD_HOST,
      mydestination: '',
      inet_interfaces: '127.0.0.1',
      inet_protocols: 'ipv4',
      mynetworks: '192.0.2.0/32',
      relay_domains: FORWARD_DOMAIN,
      smtpd_relay_restrictions: 'reject_unauth_destination',
      relayhost: `[${world.sink.host}]:${world.sink.port}`,
      relay_transport: 'relay',
      local_recipient_maps: '',
      alias_maps: '',
      alias_database: '',
      smtpd_client_connection_count_limit: '0',
      default_process_limit: '250',
      maillog_file: '',
      disable_dns_lookups: 'yes',
    };
    await writeFile(
      join(config, 'main.cf'),
      Object.entries(settings)
        .map(([name, value]) => `${name} = ${value}\n`)
        .join(''),
    );
    await writeFile(join(config, 'master.cf'), [`127.0.0.1:${port} inet n - n - - smtpd`, ...SERVICES, ''].join('\n'));
    execFileSync('postfix', ['-c', config, 'start'], { stdio: ['ignore', 'ignore', 'pipe'] });
    await reachable('127.0.0.1', port);
    const master = Number(readFileSync(join(queue, 'pid', 'master.pid'), 'utf8'));
    return {
      port,
      parts: { postfix: [master] },
      close: async () => void execFileSync('postfix', ['-c', config, 'stop'], { stdio: 'ignore' }),
    };
  },
};
