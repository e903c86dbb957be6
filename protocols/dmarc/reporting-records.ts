/** What to publish so that reports about a domain come: RFC 9989 (rua, ruf), RFC 9990 (external destinations), RFC 8460 (TLS). */
import { tagsOf, type Discovered } from './discovery.ts';
import { isWithin } from './identity.ts';
import { dmarcRecord, mailtoUri, reportUri, txt, type DnsRecord } from '../mail/dns-record.ts';

export interface ReportingRecord extends Pick<DnsRecord, 'name' | 'type'> {
  /** The record as it is to be, and as a line of a zone file; null where that depends on one that nobody knows now. */
  value: string | null;
  zoneFile: string | null;
  /** Where it is null: the tag to have in the record that is there. */
  add: string | null;
  /** What to know before it is published, in a sentence or two. */
  note: string | null;
  /** What it does, in a few words. */
  purpose: string;
  /** The domain whose DNS it belongs into. */
  zone: string;
}

/** A domain and what it publishes now; `unknown` where the DNS does not answer. */
export interface Published {
  domain: string;
  dmarc: Discovered | 'unknown';
  /** Its TXT records at `_smtp._tls`. */
  tls: string[] | 'unknown';
}

/**
 * What is there stays, and the address is added to it: a policy is never made weaker, nor is anybody else's address lost.
 * @param address a report address, checked
 * @param post https URL that takes reports on TLS too; a reporter may send to every destination (RFC 8460, 3)
 */
export function reportingRecords(
  { domain, dmarc, tls }: Published,
  address: string,
  { post }: { post?: string | null } = {},
): ReportingRecord[] {
  const uri = mailtoUri(address);
  const mailDomain = address.slice(address.lastIndexOf('@') + 1);
  return [
    {
      ...policyRecord(domain, dmarc, address),
      purpose: 'asks for reports on who sends as the domain',
      zone: domain,
    },
    {
      ...tlsRecord(`_smtp._tls.${domain}`, tls, [uri, ...(post ? [reportUri(post)] : [])]),
      purpose: 'asks for reports on TLS to its mail hosts',
      zone: domain,
    },
    ...(needsConsent(domain, mailDomain)
      ? [
          {
            ...whole(`${domain}._report._dmarc.${mailDomain}`, 'v=DMARC1'),
            purpose: `says that ${mailDomain} takes these reports`,
            zone: mailDomain,
          },
        ]
      : []),
  ];
}

type Advised = Omit<ReportingRecord, 'purpose' | 'zone'>;

function whole(name: string, text: string, note: string | null = null): Advised {
  const { type, value, zoneFile } = txt(name, text);
  return { name, type, value, zoneFile, add: null, note };
}

const onlyAdd = (name: string, uris: string[], note: string): Advised => {
  return { name, type: 'TXT', value: null, zoneFile: null, add: `rua=${uris.join(',')}`, note };
};

const UNKNOWN =
  'The DNS did not answer, so nobody knows which record is there. Add this to it, and change nothing else; ask again before you publish a new one.';
const severalWords = (count: number): string =>
  `${count} records stand there, and while it is more than one none of them counts. Keep one, remove the others, and add this to it.`;

function policyRecord(domain: string, dmarc: Published['dmarc'], address: string): Advised {
  const name = `_dmarc.${domain}`;
  const uri = mailtoUri(address);
  if (dmarc === 'unknown') return onlyAdd(name, [uri], UNKNOWN);
  switch (dmarc.kind) {
    case 'several':
      return onlyAdd(name, [uri], severalWords(dmarc.count));
    case 'own':
      return whole(name, withAddresses(dmarc.record, [uri]));
    case 'inherited':
      return whole(
        name,
        withAddresses(asOwn(dmarc.record, dmarc.policy), [uri]),
        `It has no record of its own, and that of ${dmarc.from} holds for it: with this one it keeps p=${dmarc.policy}, and no longer follows ${dmarc.from}.`,
      );
    case 'none':
      return whole(name, dmarcRecord({ domain, reports: address }).value);
  }
}

/** Tags that say what becomes of names below, or of which kind the domain is: they are not of a domain without a record. */
const OF_ITS_DOMAIN = new Set(['v', 'p', 'sp', 'np', 'psd']);

/** A record for a domain below that changes nothing for it. */
const asOwn = (record: string, policy: string): string =>
  [
    'v=DMARC1',
    `p=${policy}`,
    ...tagsOf(record)
      .filter(({ name }) => !OF_ITS_DOMAIN.has(name))
      .map(({ text }) => text),
  ].join('; ');

/** RFC 8460, 3: what begins otherwise is none, and of several none counts. */
function tlsRecord(name: string, published: Published['tls'], uris: string[]): Advised {
  if (published === 'unknown') return onlyAdd(name, uris, UNKNOWN);
  const [current, ...others] = published.filter((one) => /^v=TLSRPTv1[ \t]*(?:;|$)/.test(one));
  if (others.length > 0) return onlyAdd(name, uris, severalWords(others.length + 1));
  return whole(name, withAddresses(current ?? 'v=TLSRPTv1', uris));
}

/**
 * RFC 9990, section 4: reporters send to another organisation only where that one says that it wants the reports. Domains
 * of one organisation need nothing; that they are is certain where one lies in the other, and a record too many does no
 * harm.
 */
function needsConsent(domain: string, mailDomain: string): boolean {
  return !isWithin(domain, mailDomain) && !isWithin(mailDomain, domain);
}

/** The record with the addresses among those that it has; as it is where it has them. */
function withAddresses(current: string, uris: string[]): string {
  const tags = tagsOf(current);
  const at = tags.findIndex(({ name }) => name === 'rua');
  const known = (tags[at]?.value ?? '')
    .split(',')
    .map((one) => one.trim())
    .filter((one) => one !== '');
  const isThere = (uri: string) =>
    known.some((one) => one.replace(/!\d+[kmgt]?$/i, '').toLowerCase() === uri.toLowerCase());
  const rua = `rua=${[...known, ...uris.filter((uri) => !isThere(uri))].join(',')}`;
  const texts = tags.map(({ text }) => text);
  return (at < 0 ? [...texts, rua] : texts.with(at, rua)).join('; ');
}
