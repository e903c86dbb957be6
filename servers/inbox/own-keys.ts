/**
 * A domain whose zone stands in the configuration is nobody's on the network (the demo's is), so its keys can be
 * published nowhere. The inbox verifies as a destination and takes them from the key store instead.
 */
import type { Configuration } from '../../stores/configuration/schema.ts';
import { openKeys } from '../../stores/keys/open.ts';
import type { PublicKeyRecord } from '../../stores/keys/port.ts';
import { openRecords } from '../../stores/records/open.ts';

/** The configuration with the DKIM records of such domains in its zones; what the zones say already stays. */
export async function withOwnKeys(configuration: Configuration): Promise<Configuration> {
  const records = await openRecords(configuration);
  try {
    const keys = await (await openKeys(records, configuration)).list();
    const published = keys.filter(({ domain }) => domain in configuration.dns.zones).map(zoneOf);
    const zones = { ...Object.fromEntries(published), ...configuration.dns.zones };
    return { ...configuration, dns: { ...configuration.dns, zones } };
  } finally {
    await records.close();
  }
}

/** RFC 6376, 3.6.1. */
function zoneOf({ domain, selector, publicKey }: PublicKeyRecord): [string, string[]] {
  return [`${selector}._domainkey.${domain}`, [`TXT v=DKIM1; k=rsa; p=${publicKey}`]];
}
