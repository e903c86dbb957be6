/** What to publish so that reports about a domain come: RFC 9989 (rua, ruf), RFC 9990 (external destinations), RFC 8460 (TLS). */
import { isWithin } from './identity.ts';
import { dmarcRecord, mailtoUri, reportUri, txt, type DnsRecord } from '../mail/dns-record.ts';

export interface ReportingRecord extends DnsRecord {
  /** What it does, in a few words. */
  purpose: string;
  /** The domain whose DNS it belongs into. */
  zone: string;
}

/**
 * @param address a report address, checked
 * @param current the DMARC record that the domain has now, if it has one: the address is added to it, nothing else changes
 * @param post https URL that takes reports on TLS too; a reporter may send to every destination (RFC 8460, 3)
 */
export function reportingRecords(
  domain: string,
  address: string,
  { current, post }: { current?: string; post?: string | null } = {},
): ReportingRecord[] {
  const uri = mailtoUri(address);
  const mailDomain = address.slice(address.lastIndexOf('@') + 1);
  const policy =
    current === undefined
      ? dmarcRecord({ domain, reports: address })
      : txt(`_dmarc.${domain}`, withAddress(current, uri));
  return [
    { ...policy, purpose: 'asks for reports on who sends as the domain', zone: domain },
    {
      ...txt(`_smtp._tls.${domain}`, `v=TLSRPTv1; rua=${[uri, ...(post ? [reportUri(post)] : [])].join(',')}`),
      purpose: 'asks for reports on TLS to its mail hosts',
      zone: domain,
    },
    ...(needsConsent(domain, mailDomain)
      ? [
          {
            ...txt(`${domain}._report._dmarc.${mailDomain}`, 'v=DMARC1'),
            purpose: `says that ${mailDomain} takes these reports`,
            zone: mailDomain,
          },
        ]
      : []),
  ];
}

/**
 * RFC 9990, section 4: reporters send to another organisation only where that one says that it wants the reports. Domains
 * of one organisation need nothing; that they are is certain where one lies in the other, and a record too many does no
 * harm.
 */
function needsConsent(domain: string, mailDomain: string): boolean {
  return !isWithin(domain, mailDomain) && !isWithin(mailDomain, domain);
}

/** The record with the address among those that it has; as it is where it has it. */
function withAddress(current: string, uri: string): string {
  const tags = current
    .split(';')
    .map((tag) => tag.trim())
    .filter((tag) => tag !== '');
  const at = tags.findIndex((tag) => /^rua\s*=/i.test(tag));
  if (at < 0) return [...tags, `rua=${uri}`].join('; ');
  const listed = (tags[at] ?? '').slice((tags[at] ?? '').indexOf('=') + 1);
  const known = listed.split(',').map((one) => one.trim());
  const isThere = known.some((one) => one.replace(/!\d+[kmgt]?$/i, '').toLowerCase() === uri.toLowerCase());
  return tags.with(at, `rua=${(isThere ? known : [...known, uri]).join(',')}`).join('; ');
}
