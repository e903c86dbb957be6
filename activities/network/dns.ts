/** The resolver of the house: local zones first, then DNS with a time-out. The port is `resolver.ts`. */
import { Resolver as DnsResolver } from 'node:dns/promises';
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { PermanentError, TemporaryError, messageOf } from '../../protocols/errors.ts';
import type { Configuration } from '../../stores/configuration/schema.ts';
import { createAnswers } from './dns-answers.ts';
import { createLocalZones, normalizeName, type LocalRecord, type LocalZones } from './local-zones.ts';
import type { MxRecord, RecordType, Resolver } from './resolver.ts';

/** Each server is asked this often before the answer is "it cannot be known". */
const TRIES = 2;
/** CNAMEs that are followed from the local zones; real chains have one or two. */
const MAX_ALIASES = 8;
/** RFC 6761: nobody on the internet answers these, so asking only leaks them and waits. */
const RESERVED = ['test', 'invalid', 'localhost', 'example'];
const NOTHING_THERE = new Set(['ENOTFOUND', 'ENODATA']);

/**
 * @param dns `dns` of the configuration; without servers the system's are asked
 * @throws PermanentError `configuration.invalid` for a malformed server or zone entry
 */
export function createResolver(dns: Omit<Configuration['dns'], 'keep'> & { keep?: number }): Resolver {
  const zones = createLocalZones(dns.zones);
  const network = new DnsResolver({ timeout: dns.timeout, tries: TRIES });
  if (dns.servers.length > 0) setServers(network, dns.servers);
  const answers = createAnswers<Kept>(dns.keep ?? 0);
  const lookUp = (name: string, type: RecordType) =>
    query(name, type, { zones, network, answers, internet: dns.servers.length === 0 });

  return {
    async addresses(name) {
      const answers = await Promise.allSettled([typed(lookUp, name, 'AAAA'), typed(lookUp, name, 'A')]);
      const found = answers.flatMap((answer) => (answer.status === 'fulfilled' ? (answer.value as string[]) : []));
      // One family may fail where the other is enough to connect.
      const failed = answers.find((answer) => answer.status === 'rejected');
      if (found.length === 0 && failed) throw failed.reason;
      return found;
    },
    async mx(name) {
      const records = (await typed(lookUp, name, 'MX')) as MxRecord[];
      return records
        .map(({ exchange, priority }) => ({ exchange, priority }))
        .toSorted((a, b) => a.priority - b.priority);
    },
    async txt(name) {
      return ((await typed(lookUp, name, 'TXT')) as string[][]).map((strings) => strings.join(''));
    },
    async ptr(address) {
      return (await typed(lookUp, reverseName(address), 'PTR')) as string[];
    },
    // MX answers are objects, as node:dns gives them and mailauth reads them.
    resolve: async (name, type) => (await lookUp(name, type.toUpperCase() as RecordType)) as string[][] | string[],
  };
}

/** The name under which an address has its PTR record (RFC 1035, 3.5; RFC 3596, 2.5); '' for no address. */
export function reverseName(address: string): string {
  if (isIP(address) === 0) return '';
  const ip = ipaddr.process(address);
  if (ip instanceof ipaddr.IPv4) return `${ip.octets.toReversed().join('.')}.in-addr.arpa`;
  const nibbles = ip.toByteArray().map((byte) => byte.toString(16).padStart(2, '0'));
  return `${nibbles.join('').split('').toReversed().join('.')}.ip6.arpa`;
}

type Answer = string[] | string[][] | MxRecord[];
/** That nothing is there is an answer too. */
type Kept = Answer[number] | { nothing: string };
type LookUp = (name: string, type: RecordType) => Promise<Answer>;

/** Nothing there is an empty list; not knowing is an error that says so. */
async function typed(lookUp: LookUp, name: string, type: RecordType): Promise<Answer> {
  try {
    return await lookUp(name, type);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== undefined && NOTHING_THERE.has(code)) return [];
    throw new TemporaryError({
      code: 'dns.unavailable',
      message: `DNS gave no answer for ${type} of ${name.slice(0, 255)}: ${messageOf(error)}.`,
      fix: 'It is asked again later; if it lasts, see `dns.servers` in switchyard.yaml, or the domain has broken name servers.',
      details: { name: name.slice(0, 255), type, reason: code ?? null },
      cause: error,
    });
  }
}

interface Sources {
  zones: LocalZones;
  network: DnsResolver;
  answers: ReturnType<typeof createAnswers<Kept>>;
  /** The system's servers are asked, which know only the public tree. */
  internet: boolean;
}

/** Rejects with an error whose `code` is c-ares' (`ENOTFOUND`, `ENODATA`, `ESERVFAIL`, `ETIMEOUT`, ...). */
async function query(asked: string, type: RecordType, sources: Sources): Promise<Answer> {
  let name = asked;
  for (let aliases = 0; aliases <= MAX_ALIASES; aliases += 1) {
    const normal = normalizeName(name);
    // What cannot be a name has no records; servers answer such questions in all sorts of ways.
    // So for addresses, which careless people put into MX records: no top-level domain is a number (RFC 3696, 2).
    if (normal === null || /(?:^|\.)\d+$/.test(normal)) throw dnsError('ENOTFOUND', type, name);
    const local = sources.zones.look(normal, type);
    if (!local.known) return await askNetwork(normal, type, sources);
    if (!local.exists) throw dnsError('ENOTFOUND', type, name);
    if (local.records.length > 0) return local.records.map((record: LocalRecord) => record.value) as Answer;
    if (local.alias === null) throw dnsError('ENODATA', type, name);
    name = local.alias;
  }
  throw dnsError('ESERVFAIL', type, asked);
}

async function askNetwork(name: string, type: RecordType, { network, answers, internet }: Sources): Promise<Answer> {
  if (internet && RESERVED.includes(name.slice(name.lastIndexOf('.') + 1))) throw dnsError('ENOTFOUND', type, name);
  try {
    const found = await answers(`${type} ${name}`, async () => {
      try {
        return (await network.resolve(name, type)) as Answer;
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code !== undefined && NOTHING_THERE.has(code)) return [{ nothing: code }];
        throw error;
      }
    });
    const [first] = found;
    if (typeof first === 'object' && 'nothing' in first) throw dnsError(first.nothing, type, name);
    return found as Answer;
  } catch (error) {
    // Characters that c-ares does not take; to it the name is wrong for good, not for now.
    if ((error as NodeJS.ErrnoException).code === 'EBADNAME') throw dnsError('ENOTFOUND', type, name);
    throw error;
  }
}

function dnsError(code: string, type: string, name: string): Error {
  const shown = name.slice(0, 255);
  return Object.assign(new Error(`query${type} ${code} ${shown}`), { code, hostname: shown, syscall: `query${type}` });
}

function setServers(network: DnsResolver, servers: string[]): void {
  try {
    network.setServers(servers);
  } catch (error) {
    throw new PermanentError({
      code: 'configuration.invalid',
      message: `dns.servers: ${messageOf(error)}.`,
      fix: 'Write each server as an address or address:port, such as 127.0.0.1:5353 or [::1]:53.',
      cause: error,
    });
  }
}
