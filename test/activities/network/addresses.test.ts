import { describe, expect, it } from 'vitest';
import { classifyAddress, isAllowed, isReachable } from '../../../activities/network/addresses.ts';

// From the IANA IPv4 and IPv6 special-purpose address registries (RFC 6890), one address a block.
const NOT_PUBLIC = [
  ['0.0.0.0', 'this network'],
  ['0.1.2.3', 'this network'],
  ['10.1.2.3', 'RFC 1918'],
  ['100.64.0.1', 'RFC 6598 shared address space'],
  ['100.127.255.255', 'RFC 6598 shared address space'],
  ['127.0.0.1', 'loopback'],
  ['127.255.0.9', 'loopback'],
  ['169.254.169.254', 'link-local, cloud metadata'],
  ['172.16.0.1', 'RFC 1918'],
  ['172.31.255.254', 'RFC 1918'],
  ['192.0.0.170', 'IETF protocol assignments'],
  ['192.0.2.1', 'TEST-NET-1'],
  ['192.168.1.1', 'RFC 1918'],
  ['198.18.0.1', 'benchmarking'],
  ['198.51.100.7', 'TEST-NET-2'],
  ['203.0.113.7', 'TEST-NET-3'],
  ['224.0.0.251', 'multicast'],
  ['240.0.0.1', 'reserved'],
  ['255.255.255.255', 'broadcast'],
  ['::', 'unspecified'],
  ['::1', 'loopback'],
  ['::10.0.0.1', 'IPv4-compatible, deprecated'],
  ['::8.8.8.8', 'IPv4-compatible, deprecated'],
  ['::ffff:127.0.0.1', 'IPv4-mapped loopback'],
  ['::ffff:10.0.0.1', 'IPv4-mapped private'],
  ['::ffff:a9fe:a9fe', 'IPv4-mapped link-local in hex'],
  ['64:ff9b::10.0.0.1', 'NAT64 of private'],
  ['64:ff9b::7f00:1', 'NAT64 of loopback'],
  ['64:ff9b:1::8.8.8.8', 'NAT64 for local use'],
  ['100::1', 'discard-only'],
  ['2001::1', 'Teredo'],
  ['2001:db8::1', 'documentation'],
  ['2002:7f00:1::', '6to4 of loopback'],
  ['2002:c0a8:101::5', '6to4 of private'],
  ['3fff::1', 'documentation'],
  ['5f00::1', 'segment routing'],
  ['fc00::1', 'unique local'],
  ['fd12:3456::1', 'unique local'],
  ['fe80::1', 'link-local'],
  ['fec0::1', 'site-local'],
  ['ff02::1', 'multicast'],
] as const;

describe('addresses that a stranger may send us to', () => {
  it.each(NOT_PUBLIC)('%s is not public (%s)', (address) => {
    expect(classifyAddress(address).public).toBe(false);
  });

  it.each(['8.8.8.8', '100.63.255.255', '100.128.0.1', '172.32.0.1', '2606:4700::1111', '2a00:1450::5'])(
    '%s is public',
    (address) => {
      expect(classifyAddress(address)).toEqual({ public: true, range: 'unicast' });
    },
  );

  it.each(['::ffff:8.8.8.8', '64:ff9b::808:808', '2002:808:808::1'])('%s carries a public address', (address) => {
    expect(classifyAddress(address).public).toBe(true);
  });

  it.each(['127.1', '0x7f000001', '2130706433', '010.0.0.1', '8.8.8.8 ', 'host.example', '', '[::1]'])(
    '%j is no address and not public',
    (text) => {
      expect(classifyAddress(text)).toEqual({ public: false, range: 'invalid' });
    },
  );
});

describe('the list of allowed hosts', () => {
  it('takes host names without case and final dot, and no others', () => {
    expect(isAllowed('10.0.0.1', 'Relay.Internal.', ['relay.internal'])).toBe(true);
    expect(isAllowed('10.0.0.1', 'evil-relay.internal', ['relay.internal'])).toBe(false);
    expect(isAllowed('10.0.0.1', 'relay.internal.evil.example', ['relay.internal'])).toBe(false);
  });

  it('takes addresses in any spelling', () => {
    expect(isAllowed('::1', 'x', ['0:0:0:0:0:0:0:1'])).toBe(true);
    expect(isAllowed('::ffff:127.0.0.1', 'x', ['127.0.0.1'])).toBe(true);
    expect(isAllowed('127.0.0.2', 'x', ['127.0.0.1'])).toBe(false);
  });

  it('takes networks', () => {
    expect(isAllowed('10.1.255.1', 'x', ['10.1.0.0/16'])).toBe(true);
    expect(isAllowed('10.2.0.1', 'x', ['10.1.0.0/16'])).toBe(false);
    expect(isAllowed('fd00::5', 'x', ['fd00::/8'])).toBe(true);
    expect(isAllowed('10.1.0.1', 'x', ['fd00::/8'])).toBe(false);
    expect(isAllowed('10.1.0.1', 'x', ['10.1.0.0/99', '10.1'])).toBe(false);
  });

  it('is needed only for what is not public', () => {
    expect(isReachable('8.8.8.8', 'x', [])).toBe(true);
    expect(isReachable('127.0.0.1', 'x', [])).toBe(false);
    expect(isReachable('127.0.0.1', 'x', ['127.0.0.0/8'])).toBe(true);
  });
});
