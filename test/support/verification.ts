/** Verification as the session does it, over the real resolver and a DNS server that says what a test suite wants. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openAuthenticator } from '../../activities/mail/authenticator/threads.ts';
import type { Authenticator, Verified } from '../../activities/mail/authenticator/port.ts';
import type { Dependencies } from '../../activities/dependencies.ts';
import { parse } from '../../activities/mail/parse.ts';
import { createLog } from '../../servers/log.ts';
import { startDnsServer, type DnsServer, type DnsServerOptions, type Zones } from '../../cli/demo/dns-server.ts';
import { openBlobs } from '../../stores/blobs/open.ts';
import type { BlobStore } from '../../stores/blobs/port.ts';
import { Configuration, type ConfigurationInput } from '../../stores/configuration/schema.ts';

export interface Verification {
  dns: DnsServer;
  blobs: BlobStore;
  authenticator: Authenticator;
  configuration: Configuration;
  /** Stores the message and verifies it. */
  verify(request: { message: Buffer; sourceAddress?: string; helo?: string; sender?: string }): Promise<Verified>;
  store(message: Buffer): Promise<string>;
  close(): Promise<void>;
}

export async function openVerification(
  options: { zones?: Zones; lie?: DnsServerOptions['lie']; hostname?: string; dns?: ConfigurationInput['dns'] } = {},
): Promise<Verification> {
  const folder = await mkdtemp(join(tmpdir(), 'switchyard-verification-'));
  const dns = await startDnsServer(options.zones ?? {}, { lie: options.lie });
  const configuration = Configuration.parse({
    hostname: options.hostname ?? 'mx.own.test',
    state: folder,
    dns: { servers: [dns.address], keep: '0s', ...options.dns },
  });
  const blobs = await openBlobs(configuration);
  const authenticator = openAuthenticator(configuration);
  const store = async (message: Buffer): Promise<string> =>
    (
      await blobs.write(
        (async function* () {
          yield message;
        })(),
        { prefix: 'mail', maxBytes: configuration.mail.limits.messageSize },
      )
    ).key;
  return {
    dns,
    blobs,
    authenticator,
    configuration,
    store,
    async verify({ message, sourceAddress = '192.0.2.1', helo = 'client.test', sender = '' }) {
      return authenticator.verify({ key: await store(message), sourceAddress, helo, sender });
    },
    async close() {
      await authenticator.close();
      await blobs.close();
      await dns.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** The step mail.parse on one message. */
export async function parseWith(verification: Verification, message: Buffer) {
  const key = await verification.store(message);
  const step = {
    signal: new AbortController().signal,
    report: () => undefined,
    log: createLog('test', 'silent'),
    idempotencyKey: key,
  };
  const ref = { key, sha256: key.slice(key.lastIndexOf('/') + 1), size: message.length };
  return parse.call({ message: ref }, verification as unknown as Dependencies, step);
}
