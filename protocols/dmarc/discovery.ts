/** Which DMARC record holds for a domain (RFC 9989, 4.7 and 4.10): its own, or one that the tree walk finds above it. */
import { POLICIES, type Policy } from './aggregate.ts';

export type Discovered =
  | { kind: 'own'; record: string }
  /** More than one stands there, and receivers act as if there were none. */
  | { kind: 'several'; count: number }
  /** The domain has none; this one, of the domain that is named, holds for it, with this policy. */
  | { kind: 'inherited'; record: string; from: string; policy: Policy }
  | { kind: 'none' };

/** What the DNS says; each rejects where it does not answer. */
export interface Asked {
  /** The TXT records of a name, none where it has none. */
  txt(name: string): Promise<string[]>;
  /** Whether the name has an address or a mail host (RFC 9989, 4.7, np). */
  exists(name: string): Promise<boolean>;
}

/** RFC 9989, 4.10: a longer name is not asked for label by label, so that nobody causes more than eight questions. */
const MOST_LABELS = 7;
/** RFC 9989, 4.8: the version comes first and is case-sensitive. */
const VERSION = /^v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|$)/;

/**
 * @param domain in lower case, without a final dot
 * @throws what the questions reject with: then nobody knows which record holds
 */
export async function discoverPolicy(domain: string, asked: Asked): Promise<Discovered> {
  const recordsAt = async (name: string) => (await asked.txt(`_dmarc.${name}`)).filter((one) => VERSION.test(one));
  const [own, ...others] = await recordsAt(domain);
  if (others.length > 0) return { kind: 'several', count: others.length + 1 };
  if (own !== undefined) return { kind: 'own', record: own };
  const found = await walk(domain, recordsAt);
  if (!found) return { kind: 'none' };
  const policy = policyBelow(found.record);
  const { np } = policy;
  const holds = np !== policy.sp && !(await asked.exists(domain)) ? np : policy.sp;
  return { kind: 'inherited', ...found, policy: holds };
}

interface Found {
  record: string;
  from: string;
}

/**
 * The record of the organisational domain, else that of the public suffix (RFC 9989, 4.10.1 and 4.10.2). The domain itself
 * has none.
 */
async function walk(domain: string, recordsAt: (name: string) => Promise<string[]>): Promise<Found | undefined> {
  const labels = domain.split('.');
  let topmost: Found | undefined;
  for (let left = Math.max(1, labels.length - MOST_LABELS); left < labels.length; left += 1) {
    const from = labels.slice(left).join('.');
    const [record, ...others] = await recordsAt(from);
    // Several count for nothing here.
    if (record === undefined || others.length > 0) continue;
    const psd = tagOf(record, 'psd')?.toLowerCase();
    if (psd === 'n') return { record, from };
    // The organisation is one label below: its record holds, or where it has none, this one.
    if (psd === 'y') return topmost?.from === labels.slice(left - 1).join('.') ? topmost : { record, from };
    topmost = { record, from };
  }
  return topmost;
}

/** What a record says of names below its own: where they exist, and where they do not. */
function policyBelow(record: string): { sp: Policy; np: Policy } {
  const policyOf = (tag: string) => POLICIES.find((one) => one === tagOf(record, tag)?.toLowerCase());
  // RFC 9989, 4.7: a p that says nothing is none.
  const sp = policyOf('sp') ?? policyOf('p') ?? 'none';
  return { sp, np: policyOf('np') ?? sp };
}

/** The tags of a record in their order, without what stands in none. */
export const tagsOf = (record: string): { name: string; text: string; value: string }[] =>
  record
    .split(';')
    .map((text) => text.trim())
    .filter((text) => text !== '')
    .map((text) => {
      const [name = '', ...value] = text.split('=');
      return { name: name.trim().toLowerCase(), text, value: value.join('=').trim() };
    });

const tagOf = (record: string, tag: string): string | undefined =>
  tagsOf(record).find(({ name }) => name === tag)?.value;
