/**
 * Which addresses a stranger's DNS may send us to. Everything that is not public is refused, so that no mail domain
 * and no policy host can reach the services of our own network, but for what the operator lists.
 */
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

export interface AddressClass {
  public: boolean;
  /** The range, for the message: `loopback`, `private`, `carrierGradeNat`, ..., `unicast` for public ones. */
  range: string;
}

/**
 * Classifies an IP address by the IANA special-purpose registries (RFC 6890). Addresses that carry an IPv4 address
 * (mapped, NAT64, 6to4) are what they carry: a gateway unwraps them.
 * @param ip text form; anything else is `invalid` and not public
 */
export function classifyAddress(ip: string): AddressClass {
  // isIP first: the parser also takes `127.1` and `0x7f000001`, which no resolver returns.
  if (isIP(ip) === 0) return { public: false, range: 'invalid' };
  // The parser takes the deprecated IPv4-compatible form for the mapped one (RFC 4291, 2.5.5.1).
  if (/^::\d+\./.test(ip)) return { public: false, range: 'reserved' };
  const address = unwrap(ipaddr.parse(ip));
  const range = address.range();
  if (address instanceof ipaddr.IPv4) return { public: range === 'unicast', range };
  // RFC 4291, 2.4: IANA gives out global unicast from 2000::/3 only; the rest (such as ::10.0.0.1) is nobody's.
  if (range === 'unicast' && !address.match(GLOBAL_UNICAST)) return { public: false, range: 'reserved' };
  return { public: range === 'unicast', range };
}

/**
 * Whether the operator's list (`outbound.allow`) names this host or address.
 * @param host the name that the address was looked up for
 * @param allow host names, addresses, or networks such as `10.1.0.0/16`
 */
export function isAllowed(address: string, host: string, allow: readonly string[]): boolean {
  if (isIP(address) === 0) return false;
  const ip = unwrap(ipaddr.parse(address));
  const name = host.toLowerCase().replace(/\.$/, '');
  return allow.some((entry) => {
    if (isIP(entry) !== 0) return unwrap(ipaddr.parse(entry)).toString() === ip.toString();
    if (entry.includes('/') && ipaddr.isValidCIDR(entry)) {
      const [network, bits] = ipaddr.parseCIDR(entry);
      return network.kind() === ip.kind() && ip.match([network, bits]);
    }
    return entry.toLowerCase().replace(/\.$/, '') === name;
  });
}

/** The rule for an address that a stranger's DNS gave: public, or on the operator's list. */
export function isReachable(address: string, host: string, allow: readonly string[]): boolean {
  return classifyAddress(address).public || isAllowed(address, host, allow);
}

const GLOBAL_UNICAST = ipaddr.parseCIDR('2000::/3');
/** RFC 6052, 2.1: the well-known NAT64 prefix. 64:ff9b:1::/48 (RFC 8215) is for local use and never public. */
const NAT64 = ipaddr.parseCIDR('64:ff9b::/96');
/** RFC 3056, 2: 2002:V4ADDR::/48. */
const SIX_TO_FOUR = ipaddr.parseCIDR('2002::/16');

/** The IPv4 address inside an IPv6 address, or the address itself. */
function unwrap(address: ipaddr.IPv4 | ipaddr.IPv6): ipaddr.IPv4 | ipaddr.IPv6 {
  if (address instanceof ipaddr.IPv4) return address;
  if (address.isIPv4MappedAddress()) return address.toIPv4Address();
  const bytes = address.toByteArray();
  if (address.match(NAT64)) return new ipaddr.IPv4(bytes.slice(12, 16));
  if (address.match(SIX_TO_FOUR)) return new ipaddr.IPv4(bytes.slice(2, 6));
  return address;
}
