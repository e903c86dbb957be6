/** Finds a domain's MTA-STS policy (RFC 8461): the TXT record says which version there is, HTTPS gives it, a cache keeps it. */
import { request } from 'node:https';
import { isIPv6 } from 'node:net';
import { getCACertificates } from 'node:tls';
import { MAX_POLICY_BYTES, parseMtaStsPolicy, parseMtaStsRecord, type Policy } from '../../protocols/mail/mta-sts.ts';
import { isReachable } from './addresses.ts';
import type { Resolver } from './resolver.ts';

export interface PolicyFinder {
  /**
   * The policy to apply now, null for none. What cannot be fetched is taken from the cache while that has not
   * expired, and is none otherwise (RFC 8461, 5.1): a broken policy host never stops mail.
   */
  find(domain: string, signal: AbortSignal): Promise<Policy | null>;
}

export interface PolicyFinderOptions {
  resolver: Resolver;
  /** `outbound.allow` */
  allow: readonly string[];
  /** One more certificate authority, PEM. */
  ca?: string;
  /** @default 443 */
  port?: number;
}

/** Domains whose policy is kept in memory; the least recently used goes first. */
const CACHED_DOMAINS = 2_000;
/** RFC 8461, 3.3 suggests a minute; the sender's session waits meanwhile (`mail.sessionWait`), so it is less. */
const FETCH_TIMEOUT_MS = 10_000;
/** RFC 8461, 3.3: a version that could not be fetched is not asked for again for five minutes. */
const RETRY_FETCH_MS = 300_000;
/** Addresses of the policy host that are tried. */
const FETCH_ADDRESSES = 3;

interface Cached {
  id: string;
  policy: Policy;
  /** ms since the epoch */
  expiresAt: number;
}

export function createPolicyFinder(options: PolicyFinderOptions): PolicyFinder {
  const cache = createBounded<Cached>(CACHED_DOMAINS);
  const failures = createBounded<{ id: string; until: number }>(CACHED_DOMAINS);
  return {
    async find(domain, signal) {
      const cached = cache.get(domain);
      const known = cached && cached.expiresAt > Date.now() ? cached : undefined;
      // The TXT record may be withheld by an attacker as well: its absence does not undo a policy that is in force.
      const announced = await announcement(domain, options.resolver);
      if (announced === null || announced.id === known?.id) return known?.policy ?? null;
      const failure = failures.get(domain);
      if (failure?.id === announced.id && failure.until > Date.now()) return known?.policy ?? null;
      try {
        const policy = await fetchPolicy(domain, options, signal);
        cache.set(domain, { id: announced.id, policy, expiresAt: Date.now() + policy.maxAge * 1_000 });
        return policy;
      } catch {
        if (!signal.aborted) failures.set(domain, { id: announced.id, until: Date.now() + RETRY_FETCH_MS });
        return known?.policy ?? null;
      }
    },
  };
}

async function announcement(domain: string, resolver: Resolver): Promise<{ id: string } | null> {
  try {
    return parseMtaStsRecord(await resolver.txt(`_mta-sts.${domain}`));
  } catch {
    return null;
  }
}

/** @throws when no address gave a valid policy */
async function fetchPolicy(domain: string, options: PolicyFinderOptions, signal: AbortSignal): Promise<Policy> {
  const host = `mta-sts.${domain}`;
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(FETCH_TIMEOUT_MS)]);
  const addresses = (await options.resolver.addresses(host)).filter((address) =>
    isReachable(address, host, options.allow),
  );
  let trouble: unknown = new Error(`${host} has no address that may be connected to`);
  for (const address of addresses.slice(0, FETCH_ADDRESSES)) {
    try {
      return parseMtaStsPolicy(await get(host, address, options, deadline));
    } catch (error) {
      trouble = error;
    }
  }
  throw trouble;
}

/** RFC 8461, 3.3: GET from the checked address, with a certificate for the policy host, 200 alone, no redirects, text/plain. */
function get(
  host: string,
  address: string,
  { ca, port = 443 }: PolicyFinderOptions,
  signal: AbortSignal,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const outgoing = request({
      host: address,
      family: isIPv6(address) ? 6 : 4,
      port,
      servername: host,
      path: '/.well-known/mta-sts.txt',
      headers: { host, accept: 'text/plain' },
      agent: false,
      signal,
      ...(ca === undefined ? {} : { ca: [...getCACertificates('default'), ca] }),
    });
    const refuse = (why: string) => outgoing.destroy(new Error(`${host}: ${why}`));
    outgoing.on('error', reject);
    outgoing.on('response', (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on('error', reject);
      response.on('close', () => reject(new Error(`${host}: the answer was cut`)));
      if (response.statusCode !== 200) return refuse(`status ${response.statusCode}`);
      if (!/^text\/plain(?:\s*;|\s*$)/i.test(response.headers['content-type'] ?? '')) return refuse('not text/plain');
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > MAX_POLICY_BYTES) refuse(`more than ${MAX_POLICY_BYTES} bytes`);
        else chunks.push(chunk);
      });
      response.on('end', () => {
        resolve(Buffer.concat(chunks).toString('utf8'));
        outgoing.destroy();
      });
    });
    outgoing.end();
  });
}

/** A map that forgets what was not used for longest. */
function createBounded<Value>(limit: number) {
  const entries = new Map<string, Value>();
  return {
    get(key: string): Value | undefined {
      const value = entries.get(key);
      if (value === undefined) return undefined;
      entries.delete(key);
      entries.set(key, value);
      return value;
    },
    set(key: string, value: Value): void {
      entries.delete(key);
      entries.set(key, value);
      for (const oldest of entries.keys()) {
        if (entries.size <= limit) break;
        entries.delete(oldest);
      }
    },
  };
}
