/**
 * Where reporters POST reports on TLS about a domain (RFC 8460, 5.4). Each domain has an address that nobody finds by
 * trying names; it is no secret, since the domain's own DNS record has it.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Configuration } from '../../stores/configuration/schema.ts';
import type { KeyStore } from '../../stores/keys/port.ts';

export const TLS_POST_PATH = '/v1/tlsrpt';

/** Bytes: enough that no number of tries finds one. */
const KEY_BYTES = 16;

/**
 * The address for a domain, the same as long as the installation keeps its master key.
 * @param keys opened only where there is an address
 * @returns null where others do not reach us by https: RFC 8460 knows nothing else
 */
export async function tlsPostUrl(
  domain: string,
  { http: { publicUrl } }: Pick<Configuration, 'http'>,
  keys: () => Promise<Pick<KeyStore, 'secret'>>,
): Promise<string | null> {
  if (publicUrl === undefined || new URL(publicUrl).protocol !== 'https:') return null;
  const key = keyOf(domain, await (await keys()).secret('tlsrpt')).toString('base64url');
  return `${publicUrl.replace(/\/$/, '')}${TLS_POST_PATH}/${domain}/${key}`;
}

/** Whether it is the key of the domain's address. */
export async function isTlsPostKey(domain: string, key: string, keys: Pick<KeyStore, 'secret'>): Promise<boolean> {
  const given = Buffer.from(key, 'base64url');
  return given.length === KEY_BYTES && timingSafeEqual(given, keyOf(domain, await keys.secret('tlsrpt')));
}

const keyOf = (domain: string, secret: Buffer): Buffer =>
  createHmac('sha256', secret).update(domain).digest().subarray(0, KEY_BYTES);
