/**
 * Asks for the names of the hosts that a report tells of, and where they are, before it is published. Best effort with an
 * end: this only helps people, and the report is not kept waiting for it. What is found serves all further reports.
 */
import { isIP } from 'node:net';
import { z } from 'zod';
import ipaddr from 'ipaddr.js';
import { defineStep } from '../step.ts';
import { BlobRef } from '../schemas.ts';
import type { Dependencies } from '../dependencies.ts';
import type { Place } from './geo.ts';
import { reportLimits } from './limits.ts';
import { MAX_ADDRESSES_SHOWN } from './parse-report.ts';
import { asBytes } from './raw.ts';
import { readFiles } from './read-files.ts';
import { DMARC_ERRORS } from '../../protocols/dmarc/errors.ts';
import { SwitchyardError } from '../../protocols/errors.ts';
import type { DmarcHost } from '../../stores/records/dmarc/port.ts';

/** Questions at once, of one report: the resolver serves the mail too. */
const LANES = 10;
/** Names of one address that are looked at; an honest one has one. */
const NAMES = 3;
/** RFC 1035, 2.3.4. */
const NAME_LENGTH = 253;

export const enrich = defineStep({
  name: 'dmarc.enrich',
  summary: 'Look up the names of the hosts in a report and where they are, so that people see who runs its sources.',
  input: z.object({
    report: BlobRef.describe('The stored bytes of the report.'),
    addresses: z
      .array(z.string().refine((text) => isIP(text) !== 0, 'is no IP address'))
      .max(MAX_ADDRESSES_SHOWN)
      .nullish()
      .describe('The addresses in it, as dmarc.parseReport lists them; without them they are read for it.'),
  }),
  output: z.object({
    addresses: z.number().int().describe('Addresses that the report names.'),
    asked: z.number().int().describe('Of these, how many were asked for now; the others were known, or too many.'),
    named: z.number().int().describe('Of these, how many have a name.'),
    located: z.number().int().default(0).describe('Addresses of which a file of dmarc.geo knows something.'),
  }),
  needs: ['configuration', 'blobs', 'records', 'resolver', 'geo'],
  takes: 'long',
  repeat: 'safe',
  scope: 'dmarc:write',
  errors: [...DMARC_ERRORS, 'blob.missing', 'blob.unavailable', 'dmarc.geo_unreadable', 'records.unavailable'],
  async run({ report, addresses: listed }, dependencies, step) {
    const { configuration, blobs } = dependencies;
    const addresses = listed
      ? new Set(listed)
      : await addressesIn(asBytes(await blobs.read(report.key)), configuration, step.signal);
    const { located, answered, named } = await learnHosts(addresses, dependencies, step.signal);
    return { addresses: addresses.size, located, asked: answered, named };
  },
});

/**
 * Finds out where the hosts are and, as the configuration allows, asks for the names of those that are not known; keeps
 * the answers.
 * @param asks false where nobody answers at the moment
 * @throws the errors of the files, `dmarc.geo_unreadable`; TemporaryError `records.unavailable`
 */
export async function learnHosts(
  addresses: Set<string>,
  dependencies: Omit<Part, 'blobs'>,
  signal: AbortSignal,
  { asks = true }: { asks?: boolean } = {},
): Promise<{ located: number; answered: number; unanswered: number; named: number }> {
  const { configuration, records } = dependencies;
  const { names } = configuration.dmarc;
  const { places, known } = await locateHosts([...addresses], dependencies);
  const unknown = names.enabled && asks ? unknownOf([...addresses].filter(isPublic), known, dependencies) : [];
  const asked = unknown.slice(0, names.most);
  if (asked.length === 0) return { located: places.size, answered: 0, unanswered: 0, named: 0 };
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(names.wait)]);
  const hosts = await nameAll(asked, dependencies, deadline);
  signal.throwIfAborted();
  await records.dmarc.hosts.put(hosts.map((host) => ({ ...NOWHERE, ...places.get(host.address), ...host })));
  const named = hosts.filter(({ name }) => name !== null).length;
  return { located: places.size, answered: hosts.length, unanswered: asked.length - hosts.length, named };
}

/**
 * Keeps where the hosts are, as the files of `dmarc.geo` say now.
 * @returns what the files say, and what was known before
 * @throws PermanentError `dmarc.geo_unreadable`; TemporaryError `records.unavailable`
 */
export async function locateHosts(
  addresses: string[],
  { geo, records }: Pick<Part, 'geo' | 'records'>,
): Promise<{ places: Map<string, Place>; known: Map<string, DmarcHost>; moved: number }> {
  const places = await geo.find(addresses);
  const known = await records.dmarc.hosts.find(addresses);
  const moved = movedOf(known, places, addresses, { geo });
  await records.dmarc.hosts.locate(moved);
  return { places, known, moved: moved.length };
}

type Part = Pick<Dependencies, 'configuration' | 'blobs' | 'records' | 'resolver' | 'geo'>;

/**
 * The addresses that reports tell of.
 * @param source the bytes as they came
 * @throws PermanentError `DMARC_ERRORS`
 */
export async function addressesIn(
  source: AsyncIterable<Uint8Array>,
  configuration: Pick<Part['configuration'], 'dmarc'>,
  signal: AbortSignal,
): Promise<Set<string>> {
  const addresses = new Set<string>();
  const reading = {
    limits: reportLimits(configuration),
    onRecords: (some: { sourceIp: string }[]): void => {
      signal.throwIfAborted();
      for (const { sourceIp } of some) addresses.add(sourceIp);
    },
  };
  for await (const { outcome } of readFiles(source, reading)) {
    if ('refusal' in outcome || outcome.report.kind !== 'failure') continue;
    const { sourceIp } = outcome.report.failure;
    if (sourceIp !== null) addresses.add(sourceIp);
  }
  return addresses;
}

const NOWHERE: Place = { country: null, network: null };

/** Those of which the files say something else than is known. */
function movedOf(
  known: ReadonlyMap<string, Place>,
  places: ReadonlyMap<string, Place>,
  addresses: Iterable<string>,
  { geo }: Pick<Part, 'geo'>,
): (Place & { address: string })[] {
  if (!geo.enabled) return [];
  return [...addresses].flatMap((address) => {
    const [before, now] = [known.get(address) ?? NOWHERE, places.get(address) ?? NOWHERE];
    return before.country === now.country && before.network === now.network ? [] : [{ address, ...now }];
  });
}

/** Those that were never asked for, or too long ago. */
function unknownOf(
  addresses: string[],
  known: ReadonlyMap<string, DmarcHost>,
  { configuration }: Pick<Part, 'configuration'>,
): string[] {
  const since = new Date(Date.now() - configuration.dmarc.names.keep).toISOString();
  return addresses.filter((address) => (known.get(address)?.lookedUpAt ?? '') < since);
}

/** Names of networks of our own are nobody's business but ours, and nobody else knows them. */
function isPublic(address: string): boolean {
  const range = ipaddr.parse(address).range();
  return !['private', 'loopback', 'linkLocal', 'uniqueLocal', 'unspecified', 'multicast'].includes(range);
}

/** Those for which there was an answer before the deadline. */
async function nameAll(
  addresses: string[],
  { resolver }: Pick<Part, 'resolver'>,
  deadline: AbortSignal,
): Promise<{ address: string; name: string | null }[]> {
  const found: { address: string; name: string | null }[] = [];
  const queue = addresses.values();
  const ended = new Promise<void>((resolve) => deadline.addEventListener('abort', () => resolve(), { once: true }));
  const lane = async (): Promise<void> => {
    for (const address of queue) {
      if (deadline.aborted) return;
      try {
        found.push({ address, name: await nameOf(address, resolver) });
      } catch (thrown) {
        // Nobody knows now: it is asked again with the next report.
        if (!(thrown instanceof SwitchyardError)) throw thrown;
      }
    }
  };
  const lanes = Promise.all(Array.from({ length: LANES }, lane));
  lanes.catch(() => undefined);
  // A question that is under way at the deadline is not waited for, and what it finds is not kept.
  await Promise.race([lanes, ended]);
  return [...found];
}

/** The name whose addresses have this one among them (RFC 8601, 3 calls it iprev): anyone can write any PTR record. */
async function nameOf(address: string, resolver: Dependencies['resolver']): Promise<string | null> {
  for (const given of (await resolver.ptr(address)).slice(0, NAMES)) {
    const name = given.toLowerCase().replace(/\.$/, '');
    if (name.length > NAME_LENGTH || isIP(name) !== 0) continue;
    const addresses = await resolver.addresses(name);
    if (
      addresses.some((one) => isIP(one) !== 0 && ipaddr.process(one).toString() === ipaddr.process(address).toString())
    )
      return name;
  }
  return null;
}
