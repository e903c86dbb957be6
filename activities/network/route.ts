/** Where mail for a domain goes: the transport map, else MX, else the domain's own address (RFC 5321, 5.1). */
import { isIP } from 'node:net';
import { PermanentError, TemporaryError } from '../../protocols/errors.ts';
import { toAsciiDomain } from '../../protocols/mail/address.ts';
import type { Endpoint } from '../../stores/configuration/addresses.ts';
import type { Configuration } from '../../stores/configuration/schema.ts';
import { isReachable } from './addresses.ts';
import type { Route, RouteHost } from './dialer.ts';
import type { PolicyFinder } from './mta-sts-fetch.ts';
import type { MxRecord, Resolver } from './resolver.ts';

export interface RouteOptions {
  outbound: Configuration['outbound'];
  transport: TransportMap;
  resolver: Resolver;
  policies: PolicyFinder;
  /** Our own name, to see a loop. */
  hostname: string;
  /** Where `inbox` in the transport map points to. */
  inbox: Endpoint | null;
}

/** `outbound.transport` by A-label domain, `*` for all others. */
export type TransportMap = ReadonlyMap<string, string>;

/** @throws PermanentError `address.invalid` for a domain that is none */
export function readTransport(transport: Configuration['outbound']['transport']): TransportMap {
  return new Map(
    Object.entries(transport).map(([domain, to]) => [domain === '*' ? domain : toAsciiDomain(domain), to]),
  );
}

/** MX hosts that are looked up: a domain with more gains nothing, and could make us ask for hundreds of names. */
const MAX_MX = 10;
/** Addresses of one host. */
const MAX_ADDRESSES = 5;

/**
 * @throws TemporaryError `dns.unavailable`
 * @throws PermanentError `address.invalid` (address literals too), `mail.no_host`, `mail.null_mx`, `mail.loop`,
 * `network.address_refused`, `configuration.invalid`
 */
export async function findRoute(given: string, options: RouteOptions, signal: AbortSignal): Promise<Route> {
  const domain = toAsciiDomain(given);
  const transport = options.transport.get(domain) ?? options.transport.get('*');
  if (transport !== undefined)
    return { source: 'transport', hosts: [await transportHost(domain, transport, options)], mtaSts: null };

  const policy = options.policies.find(domain, signal);
  const records = await options.resolver.mx(domain);
  const { port } = options.outbound;
  const hosts =
    records.length === 0
      ? [{ host: domain, port }]
      : exchangesOf(domain, records, options.hostname).map((host) => ({ host, port }));
  const reachable = await withAddresses(domain, hosts, options);
  const mtaSts = await policy;
  signal.throwIfAborted();
  return {
    source: records.length === 0 ? 'address' : 'mx',
    hosts: reachable,
    mtaSts: mtaSts && { mode: mtaSts.mode, mx: mtaSts.mx },
  };
}

/** The operator's own word: any address may be meant, and names are looked up as the operator wrote them. */
async function transportHost(domain: string, transport: string, { resolver, inbox }: RouteOptions): Promise<RouteHost> {
  const endpoint = transport === 'inbox' ? inbox : parseEndpoint(transport);
  if (!endpoint) {
    throw new PermanentError({
      code: 'configuration.invalid',
      message: `outbound.transport sends mail for ${domain} to ${JSON.stringify(transport)}, which is ${transport === 'inbox' ? 'switched off' : 'no host:port'}.`,
      fix: 'Write host:port under outbound.transport in switchyard.yaml, or switch the inbox on with `inbox: { enabled: true }`.',
    });
  }
  const { host, port } = endpoint;
  if (isIP(host) !== 0) return { host, port, addresses: [host] };
  // RFC 6761, 6.3: resolvers answer localhost without asking; ours leaves it out for what strangers name.
  const addresses = host === 'localhost' ? ['127.0.0.1', '::1'] : await resolver.addresses(host);
  if (addresses.length === 0) throw noHost(domain, `the host ${host} of outbound.transport has no address`);
  return { host, port, addresses: addresses.slice(0, MAX_ADDRESSES) };
}

function parseEndpoint(text: string): Endpoint | null {
  const [, v6, name, port] = /^(?:\[([0-9a-fA-F:.]+)\]|([^:\s]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = v6 ?? name;
  if (host === undefined || Number(port) < 1 || Number(port) > 65_535) return null;
  return { host: host.toLowerCase(), port: Number(port) };
}

/** Exchanges in the order to try. */
function exchangesOf(domain: string, records: MxRecord[], hostname: string): string[] {
  // RFC 7505, 3: the root as the one exchange says that the domain takes no mail; beside others it means nothing.
  const real = records.filter((record) => record.exchange !== '' && record.exchange !== '.');
  if (real.length === 0) {
    throw new PermanentError({
      code: 'mail.null_mx',
      message: `${domain} takes no mail: it publishes a null MX (RFC 7505).`,
      fix: 'Check the address; its domain does not want mail.',
    });
  }
  // RFC 5321, 5.1: we are an exchange ourselves, so only hosts that are preferred to us may be tried.
  const own = real.find((record) => sameName(record.exchange, hostname));
  const candidates = own ? real.filter((record) => record.priority < own.priority) : real;
  if (candidates.length === 0) {
    throw new PermanentError({
      code: 'mail.loop',
      message: `The best mail host of ${domain} is this server (${hostname}), which has no transport for it.`,
      fix: `Declare ${domain} under mail.domains, give it a host under outbound.transport, or take ${hostname} out of its MX records.`,
    });
  }
  const ordered = candidates
    .map((record) => ({ ...record, draw: Math.random() }))
    .toSorted((a, b) => a.priority - b.priority || a.draw - b.draw);
  return [...new Set(ordered.map((record) => record.exchange.toLowerCase().replace(/\.$/, '')))].slice(0, MAX_MX);
}

/** Looks the hosts up and keeps those that may be connected to. */
async function withAddresses(
  domain: string,
  hosts: Omit<RouteHost, 'addresses'>[],
  { resolver, outbound }: RouteOptions,
): Promise<RouteHost[]> {
  const looked = await Promise.allSettled(hosts.map(({ host }) => resolver.addresses(host)));
  let refused: { host: string; address: string } | undefined;
  let failure: unknown;
  const reachable: RouteHost[] = [];
  for (const [index, answer] of looked.entries()) {
    const host = hosts[index]!;
    if (answer.status === 'rejected') {
      failure ??= answer.reason;
      continue;
    }
    const addresses = answer.value.filter((address) => isReachable(address, host.host, outbound.allow));
    const dropped = answer.value.find((address) => !addresses.includes(address));
    if (addresses.length > 0) reachable.push({ ...host, addresses: addresses.slice(0, MAX_ADDRESSES) });
    else if (dropped !== undefined) refused ??= { host: host.host, address: dropped };
  }
  if (reachable.length > 0) return reachable;
  if (failure instanceof TemporaryError) throw failure;
  if (!refused) throw noHost(domain, 'it has neither a mail host nor an address');
  throw new PermanentError({
    code: 'network.address_refused',
    message: `Mail for ${domain} would go to ${refused.host} [${refused.address}], which is not a public address.`,
    fix: `If that host is meant, list ${refused.host} or its address under outbound.allow in switchyard.yaml.`,
    details: { host: refused.host, address: refused.address },
  });
}

function sameName(a: string, b: string): boolean {
  return a.toLowerCase().replace(/\.$/, '') === b.toLowerCase().replace(/\.$/, '');
}

function noHost(domain: string, why: string): PermanentError {
  return new PermanentError({
    code: 'mail.no_host',
    message: `There is no way to ${domain}: ${why}.`,
    fix: 'Check the address for a typing error, or ask the owner of the domain about its DNS.',
  });
}
