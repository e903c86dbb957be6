/** Names that are answered from the configuration (`dns.zones`) and never asked on the network: demos, tests, split horizons. */
import { isIPv4, isIPv6 } from 'node:net';
import { PermanentError } from '../../protocols/errors.ts';
import type { MxRecord, RecordType } from './resolver.ts';

/** One record, in the shape that node:dns gives. */
export type LocalRecord =
  | { type: 'A' | 'AAAA' | 'PTR' | 'CNAME'; value: string }
  | { type: 'MX'; value: MxRecord }
  | { type: 'TXT'; value: string[] };

/** What the local zones know of a name; `unknown` is for the network. */
export type LocalAnswer =
  { known: false } | { known: true; exists: boolean; records: LocalRecord[]; alias: string | null };

export interface LocalZones {
  /**
   * A listed name is answered with its records. A name below a listed one that is not listed itself does not exist:
   * it is not asked elsewhere, so that the names of a demo never leave the machine.
   */
  look(name: string, type: RecordType): LocalAnswer;
}

/**
 * Reads `dns.zones`.
 * @param zones records by name, in presentation form without TTL and class: `MX 10 mx.demo.test`, `TXT "v=spf1" " -all"`
 * @throws PermanentError `configuration.invalid`, naming the entry
 */
export function createLocalZones(zones: Record<string, string[]>): LocalZones {
  const byName = new Map<string, LocalRecord[]>();
  for (const [name, entries] of Object.entries(zones)) {
    const key = normalizeName(name);
    if (key === null) throw invalid(name, name, 'is not a domain name');
    byName.set(key, [...(byName.get(key) ?? []), ...entries.map((entry) => parseRecord(name, entry))]);
  }
  return {
    look(name, type) {
      const records = byName.get(name);
      if (!records)
        return isBelow(name, byName) ? { known: true, exists: false, records: [], alias: null } : { known: false };
      const alias = records.find((record) => record.type === 'CNAME');
      return {
        known: true,
        exists: true,
        records: records.filter((record) => record.type === type),
        alias: alias?.type === 'CNAME' && type !== 'CNAME' ? alias.value : null,
      };
    },
  };
}

/** RFC 1035, 2.3.4. */
const MAX_NAME = 253;
const MAX_LABEL = 63;

/** Lower case and without the final dot; null for what cannot be a name in DNS (too long, empty labels, not ASCII). */
export function normalizeName(name: string): string | null {
  const bare = name.endsWith('.') ? name.slice(0, -1) : name;
  if (bare.length === 0 || bare.length > MAX_NAME || !/^[\x21-\x7e]+$/.test(bare)) return null;
  if (bare.split('.').some((label) => label.length === 0 || label.length > MAX_LABEL)) return null;
  return bare.toLowerCase();
}

function isBelow(name: string, names: Map<string, unknown>): boolean {
  for (let dot = name.indexOf('.'); dot !== -1; dot = name.indexOf('.', dot + 1)) {
    if (names.has(name.slice(dot + 1))) return true;
  }
  return false;
}

function parseRecord(zone: string, entry: string): LocalRecord {
  const [, type, data] = /^\s*([A-Za-z]+)\s+(.*?)\s*$/s.exec(entry) ?? [];
  if (!type || !data) throw invalid(zone, entry, 'is no record: write its type and its data, such as `A 192.0.2.1`');
  switch (type.toUpperCase()) {
    case 'A':
      if (!isIPv4(data)) throw invalid(zone, entry, 'has no IPv4 address');
      return { type: 'A', value: data };
    case 'AAAA':
      if (!isIPv6(data)) throw invalid(zone, entry, 'has no IPv6 address');
      return { type: 'AAAA', value: data };
    case 'PTR':
    case 'CNAME': {
      const target = normalizeName(data);
      if (target === null) throw invalid(zone, entry, 'has no domain name as its target');
      return { type: type.toUpperCase() as 'PTR' | 'CNAME', value: target };
    }
    case 'MX': {
      const [, priority, exchange] = /^(\d{1,5})\s+(\S+)$/.exec(data) ?? [];
      // RFC 7505: the root as exchange is the null MX; node:dns gives it as ''.
      const target = exchange === '.' ? '' : normalizeName(exchange ?? '');
      if (target === null || Number(priority) > 65_535) throw invalid(zone, entry, 'is not `MX <preference> <host>`');
      return { type: 'MX', value: { priority: Number(priority), exchange: target } };
    }
    case 'TXT':
      return { type: 'TXT', value: parseStrings(data) };
    default:
      throw invalid(
        zone,
        entry,
        `has a type that local zones do not answer; they answer A, AAAA, CNAME, MX, PTR and TXT`,
      );
  }
}

/** Character-strings of a TXT record (RFC 1035, 5.1); text without quotes is one string, spaces included, as people write it in YAML. */
function parseStrings(data: string): string[] {
  if (!data.startsWith('"')) return [data];
  return [...data.matchAll(/"((?:[^"\\]|\\.)*)"/gs)].map(([, text = '']) => text.replace(/\\(.)/gs, '$1'));
}

function invalid(zone: string, entry: string, why: string): PermanentError {
  return new PermanentError({
    code: 'configuration.invalid',
    message: `dns.zones: ${JSON.stringify(zone)}: ${JSON.stringify(entry)} ${why}.`,
    fix: 'Correct the entry under dns.zones in switchyard.yaml.',
    details: { zone, entry },
  });
}
