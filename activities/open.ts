/** Opens everything that steps may need, from the configuration: for the worker, the http process and the command line alike. */
import type { Configuration } from '../stores/configuration/schema.ts';
import { callbackOrigins, publicUrl, type Addresses } from '../stores/configuration/addresses.ts';
import { openBlobs } from '../stores/blobs/open.ts';
import { openKeys } from '../stores/keys/open.ts';
import { openRecords } from '../stores/records/open.ts';
import type { Dependencies } from './dependencies.ts';
import { createGeo } from './dmarc/geo.ts';
import { openAuthenticator } from './mail/authenticator/threads.ts';
import { createResolver } from './network/dns.ts';
import { createDialer } from './network/smtp-dialer.ts';
import { createCallbacks } from './triggers/call.ts';

export interface OpenDependencies extends Dependencies {
  /** Closes what was opened, threads and files. */
  close(): Promise<void>;
}

/**
 * @throws TemporaryError `records.unavailable`, `blob.unavailable`
 * @throws PermanentError `key.unreadable`, `records.newer`
 */
export async function openDependencies(
  configuration: Configuration,
  addresses: Pick<Addresses, 'inbox' | 'editor' | 'http'>,
): Promise<OpenDependencies> {
  const records = await openRecords(configuration);
  const blobs = await openBlobs(configuration);
  const keys = await openKeys(records, configuration);
  const resolver = createResolver(configuration.dns);
  const authenticator = openAuthenticator(configuration);
  const dialer = createDialer({ configuration, resolver, hostname: configuration.hostname, inbox: addresses.inbox });
  const callbacks = createCallbacks({
    resolver,
    tokens: records.tokens,
    origins: callbackOrigins(configuration, addresses),
    allow: configuration.outbound.allow,
    api: publicUrl(configuration, addresses),
  });
  return {
    configuration,
    records,
    blobs,
    keys,
    resolver,
    authenticator,
    dialer,
    callbacks,
    geo: createGeo(configuration),
    publicUrl: publicUrl(configuration, addresses),
    async close() {
      await dialer.close();
      await authenticator.close();
      await blobs.close();
      await records.close();
    },
  };
}
