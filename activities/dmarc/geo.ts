/**
 * Country and network of an address, out of database files (MaxMind DB format 2.0) that the operator names. A file is
 * read when it is first asked, and again when it was replaced; a broken new one does not take the place of a good one.
 */
import { readFile, stat } from 'node:fs/promises';
import { Reader, type Response } from 'mmdb-lib';
import type { Configuration } from '../../stores/configuration/schema.ts';
import { messageOf, PermanentError } from '../../protocols/errors.ts';

/** What the files say; null where they say nothing, or none is named. */
export interface Place {
  /** ISO 3166-1 alpha-2. */
  country: string | null;
  /** Such as `AS15169 Google LLC`. */
  network: string | null;
}

export interface Geo {
  /** Whether there is any file to ask. */
  enabled: boolean;
  /**
   * Places of addresses, those of which nothing is known left out.
   * @throws PermanentError `dmarc.geo_unreadable` where a file never was readable
   */
  find(addresses: Iterable<string>): Promise<Map<string, Place>>;
  /**
   * Names the files that are asked: another one when one of them was replaced, '' without any.
   * @throws PermanentError `dmarc.geo_unreadable`, with the setting, where a file never was readable
   */
  version(): Promise<string>;
}

type Setting = keyof Configuration['dmarc']['geo'];

/** Characters of the name of a network; the names of honest ones are shorter. */
const NAME = 200;
/** Addresses between two breaks for others: a look-up takes microseconds, a report may have 500,000. */
const AT_ONCE = 2_000;

export function createGeo({ dmarc: { geo } }: Pick<Configuration, 'dmarc'>): Geo {
  const country = geo.country === undefined ? undefined : createFile(geo.country, 'country');
  const network = geo.network === undefined ? undefined : createFile(geo.network, 'network');
  return {
    enabled: country !== undefined || network !== undefined,
    async find(addresses) {
      const [countries, networks] = await Promise.all([country?.current(), network?.current()]);
      const places = new Map<string, Place>();
      let asked = 0;
      for (const address of addresses) {
        if (++asked % AT_ONCE === 0) await new Promise((resolve) => setImmediate(resolve));
        const place = { country: countryIn(countries, address), network: networkIn(networks, address) };
        if (place.country !== null || place.network !== null) places.set(address, place);
      }
      return places;
    },
    async version() {
      const versions = [await country?.version(), await network?.version()];
      return versions.filter((one) => one !== undefined).join(', ');
    },
  };
}

type Database = Reader<Response>;

/** A file that may be replaced at any time. */
function createFile(path: string, setting: Setting): { current(): Promise<Database>; version(): Promise<string> } {
  let known: { version: string; database: Database } | undefined;
  /** What was there the last time that it could not be read: it is not read again and again. */
  let broken: string | undefined;
  const look = async () => {
    let version: string | undefined;
    try {
      const { mtimeMs, size, ino } = await stat(path);
      version = `${mtimeMs} ${size} ${ino}`;
      if (known && (version === known.version || version === broken)) return known;
      known = { version, database: open(await readFile(path)) };
      return known;
    } catch (thrown) {
      broken = version;
      if (known) return known;
      throw unreadable(path, setting, thrown);
    }
  };
  return { current: async () => (await look()).database, version: async () => (await look()).version };
}

/** @throws Error of what is none */
function open(bytes: Buffer): Database {
  const database = new Reader<Response>(bytes);
  // A file that was cut has its metadata no more, and one that was joined wrongly cannot be walked.
  for (const address of ['192.0.2.1', '255.255.255.255']) database.get(address);
  return database;
}

const unreadable = (path: string, setting: Setting, thrown: unknown): PermanentError =>
  new PermanentError({
    code: 'dmarc.geo_unreadable',
    message: `dmarc.geo.${setting}: ${path} cannot be read as a MaxMind DB: ${messageOf(thrown)}`,
    fix: `Put the file there (.mmdb, unpacked), or take dmarc.geo.${setting} out of switchyard.yaml.`,
    details: { setting: `dmarc.geo.${setting}`, file: path },
    cause: thrown,
  });

/** The fields of the makers of such files: MaxMind and DB-IP nest the country, IPinfo does not. */
interface Entry {
  country?: { iso_code?: unknown } | string;
  registered_country?: { iso_code?: unknown };
  country_code?: unknown;
  autonomous_system_number?: unknown;
  autonomous_system_organization?: unknown;
  asn?: unknown;
  as_name?: unknown;
}

function countryIn(database: Database | undefined, address: string): string | null {
  const { country, registered_country: registered, country_code: code } = entryOf(database, address);
  const found = [typeof country === 'object' ? country.iso_code : undefined, code, country, registered?.iso_code];
  return found.find((one): one is string => typeof one === 'string' && /^[A-Z]{2}$/.test(one)) ?? null;
}

function networkIn(database: Database | undefined, address: string): string | null {
  const entry = entryOf(database, address);
  const number = Number(String(entry.autonomous_system_number ?? entry.asn ?? '').replace(/^AS/i, ''));
  const name = entry.autonomous_system_organization ?? entry.as_name;
  const words = [
    ...(Number.isSafeInteger(number) && number > 0 ? [`AS${number}`] : []),
    ...(typeof name === 'string' ? [name.trim().slice(0, NAME)] : []),
  ];
  return words.join(' ') || null;
}

/** A file may be whole and have one bad entry: that is an address of which nothing is known. */
function entryOf(database: Database | undefined, address: string): Entry {
  try {
    const entry: unknown = database?.get(address);
    return typeof entry === 'object' && entry !== null ? entry : {};
  } catch {
    return {};
  }
}
