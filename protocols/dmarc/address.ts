/** The one form of an IP address: by it sources are grouped. */
import ipaddr from 'ipaddr.js';

/**
 * Dotted decimal for IPv4, RFC 5952 for IPv6; an IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2) is the IPv4 address.
 * Brackets, a zone, leading zeros and letter case are put right.
 * @returns undefined when it is no address: no number forms (`0x7f.1`, `2130706433`), no names, no networks
 */
export function normalizeAddress(text: string): string | undefined {
  if (CANONICAL.test(text)) return text;
  if (DOTTED.test(text)) {
    const parts = text.split('.').map(Number);
    return parts.every((part) => part <= 255) ? parts.join('.') : undefined;
  }
  const bare = text.replace(/^\[(.*)\]$/, '$1').replace(/%[\w.-]{1,32}$/, '');
  if (!bare.includes(':') || !ipaddr.IPv6.isValid(bare)) return undefined;
  const address = ipaddr.IPv6.parse(bare);
  return address.isIPv4MappedAddress() ? address.toIPv4Address().toString() : address.toRFC5952String();
}

const DOTTED = /^\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}$/;
const OCTET = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)';
const CANONICAL = new RegExp(`^${OCTET}(?:\\.${OCTET}){3}$`);
