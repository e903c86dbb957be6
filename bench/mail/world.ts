/** What every candidate of the bench meets: a sender with SPF, DKIM and DMARC, a name server, and a sink for all. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export const SENDER_DOMAIN = 'sender.bench';
export const FORWARD_DOMAIN = 'forward.bench';
export const FORWARD_HOST = 'mx.forward.bench';
export const DESTINATION_DOMAIN = 'destination.bench';
export const SELECTOR = 'bench';
/** TEST-NET-3 (RFC 5737), put on the loopback device: the peers look at nothing that comes from a private address. */
export const SOURCE = '203.0.113.25';

export interface World {
  folder: string;
  /** File with the sender's key, PKCS#8 PEM. */
  keyFile: string;
  dns: { host: string; port: number };
  sink: Sink;
  /** Undefined where SOURCE could not be put on the loopback device. */
  source: string | undefined;
  close(): Promise<void>;
}

export interface Sink {
  host: string;
  port: number;
  /** Messages that it has taken. */
  count(): number;
}

export async function startWorld(): Promise<World> {
  const folder = await mkdtemp(join(tmpdir(), 'switchyard-bench-'));
  const source = takeSource();
  const keys = generateKeyPairSync('rsa', { modulusLength: 2_048 });
  const p = keys.publicKey.export({ type: 'spki', format: 'der' }).toString('base64');
  const from = source ?? '127.0.0.1';
  const keyFile = join(folder, 'sender.pem');
  await writeFile(keyFile, keys.privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  const dns = await startDns(folder, [
    `${SENDER_DOMAIN}. TXT "v=spf1 ip4:${from} -all"`,
    `${SENDER_DOMAIN}. MX 10 mx.${SENDER_DOMAIN}.`,
    `mx.${SENDER_DOMAIN}. A ${from}`,
    `_dmarc.${SENDER_DOMAIN}. TXT "v=DMARC1; p=reject"`,
    // A string of TXT has 255 octets at most.
    `${SELECTOR}._domainkey.${SENDER_DOMAIN}. TXT "v=DKIM1; k=rsa; p=${p.slice(0, 200)}" "${p.slice(200)}"`,
    `${FORWARD_DOMAIN}. MX 10 ${FORWARD_HOST}.`,
    `${FORWARD_HOST}. A 127.0.0.1`,
  ]);
  const sink = await startSink();
  return {
    folder,
    keyFile,
    dns: dns.endpoint,
    sink: sink.sink,
    source,
    async close() {
      await Promise.all([end(dns.process), end(sink.process)]);
      if (source) execFileSync('ip', ['addr', 'del', `${source}/32`, 'dev', 'lo'], { stdio: 'ignore' });
    },
  };
}

/** Puts the address on the loopback device, which reaches no network; needs root. */
function takeSource(): string | undefined {
  try {
    execFileSync('ip', ['addr', 'add', `${SOURCE}/32`, 'dev', 'lo'], { stdio: 'pipe' });
  } catch (thrown) {
    if (!/exists|assigned/i.test(String((thrown as { stderr?: Buffer }).stderr))) return undefined;
  }
  return SOURCE;
}

async function startDns(folder: string, records: string[]) {
  const port = await freePort();
  const file = join(folder, 'unbound.conf');
  await writeFile(
    file,
    [
      'server:',
      `  interface: 127.0.0.1@${port}`,
      '  access-control: 127.0.0.0/8 allow',
      '  do-daemonize: no',
      '  use-syslog: no',
      '  username: ""',
      '  chroot: ""',
      `  directory: "${folder}"`,
      `  pidfile: "${join(folder, 'unbound.pid')}"`,
      '  num-threads: 1',
      '  module-config: "iterator"',
      '  local-zone: "bench." static',
      ...records.map((record) => `  local-data: '${record}'`),
      'remote-control:',
      '  control-enable: no',
      '',
    ].join('\n'),
  );
  const child = spawn('unbound', ['-d', '-c', file], { stdio: 'ignore' });
  await sleep(500);
  if (child.exitCode !== null) throw new Error('unbound did not start; it is a Debian package');
  return { endpoint: { host: '127.0.0.1', port }, process: child };
}

/** postfix's `smtp-sink`: it takes everything, in C, and counts. */
async function startSink(): Promise<{ sink: Sink; process: ChildProcess }> {
  const port = await freePort();
  const user = process.getuid?.() === 0 ? ['-u', 'nobody'] : [];
  const child = spawn('smtp-sink', [...user, '-c', `127.0.0.1:${port}`, '1000'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let count = 0;
  child.stdout?.on('data', (chunk: Buffer) => {
    for (const found of chunk.toString().matchAll(/mesg=(\d+)/g)) count = Math.max(count, Number(found[1]));
  });
  await reachable('127.0.0.1', port);
  return { sink: { host: '127.0.0.1', port, count: () => count }, process: child };
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Waits until somebody listens there. */
export async function reachable(host: string, port: number, withinMs = 20_000): Promise<void> {
  for (const until = Date.now() + withinMs; ; await sleep(100)) {
    const socket = connect(port, host);
    const open = await Promise.race([
      once(socket, 'connect').then(() => true),
      once(socket, 'error').then(() => false),
    ]).catch(() => false);
    socket.destroy();
    if (open) return;
    if (Date.now() > until) throw new Error(`nobody listens at ${host}:${port}`);
  }
}

export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGTERM');
  const late = setTimeout(() => child.kill('SIGKILL'), 5_000);
  await gone;
  clearTimeout(late);
}
