/**
 * The TXT records that a mail domain publishes: DKIM keys (RFC 6376, 3.6.1), SPF (RFC 7208, 4.5), DMARC (RFC 9989),
 * in the forms that people paste.
 */

export interface DnsRecord {
  /** Owner name without the final dot. */
  name: string;
  type: 'TXT';
  /** The value as one string. */
  value: string;
  /** A line for a zone file, the value in strings of at most 255 octets (RFC 1035, 3.3.14). */
  zoneFile: string;
  /** Name, type and value on three lines, for the form of a DNS provider. */
  pasteable: string;
}

/** RFC 1035, 3.3: octets of one character-string. */
const MAX_STRING = 255;

/** @param key `publicKey` is the SubjectPublicKeyInfo in PEM or base64; Ed25519 keys go by `keyType` (RFC 8463), whose `publicKey` is the bare 32 bytes in base64. */
export function dkimRecord(key: {
  selector: string;
  domain: string;
  publicKey: string;
  keyType?: 'rsa' | 'ed25519';
}): DnsRecord {
  const base64 = key.publicKey.replace(/-----[^-]+-----/g, '').replace(/\s+/g, '');
  return txt(`${key.selector}._domainkey.${key.domain}`, `v=DKIM1; k=${key.keyType ?? 'rsa'}; p=${base64}`);
}

/**
 * Who may send with envelope senders of the domain: the hosts and addresses named, or its own MX.
 * `all` says what to make of everybody else: `-all` fail, `~all` softfail.
 */
export function spfRecord(sender: {
  domain: string;
  hosts?: string[];
  addresses?: string[];
  includes?: string[];
  all?: '-all' | '~all';
}): DnsRecord {
  const mechanisms = [
    ...(sender.addresses ?? []).map((address) => `${address.includes(':') ? 'ip6' : 'ip4'}:${address}`),
    ...(sender.hosts ?? []).map((host) => `a:${host}`),
    ...(sender.includes ?? []).map((domain) => `include:${domain}`),
  ];
  return txt(
    sender.domain,
    ['v=spf1', ...(mechanisms.length > 0 ? mechanisms : ['mx']), sender.all ?? '-all'].join(' '),
  );
}

/** `policy` is what receivers are asked to do with mail that fails; `reports` the address for aggregate reports. */
export function dmarcRecord(domain: {
  domain: string;
  policy?: 'none' | 'quarantine' | 'reject';
  reports?: string;
}): DnsRecord {
  const reports = domain.reports ? `; rua=${mailtoUri(domain.reports)}` : '';
  return txt(`_dmarc.${domain.domain}`, `v=DMARC1; p=${domain.policy ?? 'none'}${reports}`);
}

/** An address as a report destination. */
export const mailtoUri = (address: string): string => reportUri(`mailto:${encodeURI(address)}`);

/** A URI as a report destination: a comma would part two, an exclamation mark begin a size (RFC 7489, 6.2; RFC 8460, 3). */
export const reportUri = (uri: string): string =>
  uri.replace(/[,!;]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);

/** All that a forwarding domain should publish: its key, its sending host, a DMARC policy to begin with. */
export function suggestRecords(domain: {
  domain: string;
  hostname: string;
  selector: string;
  publicKey: string;
  reports?: string;
}): DnsRecord[] {
  return [
    dkimRecord(domain),
    spfRecord({ domain: domain.domain, hosts: [domain.hostname] }),
    dmarcRecord({ domain: domain.domain, reports: domain.reports }),
  ];
}

export function txt(name: string, value: string): DnsRecord {
  const strings = (value.match(new RegExp(`.{1,${MAX_STRING}}`, 'gs')) ?? ['']).map(
    (part) => `"${part.replace(/["\\]/g, '\\$&')}"`,
  );
  const data = strings.length === 1 ? strings[0]! : `( ${strings.join('\n    ')} )`;
  return {
    name,
    type: 'TXT',
    value,
    zoneFile: `${name}. IN TXT ${data}`,
    pasteable: `Name:  ${name}\nType:  TXT\nValue: ${value}`,
  };
}
