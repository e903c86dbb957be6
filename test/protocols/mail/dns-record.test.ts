import { expect, it } from 'vitest';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { dkimRecord, dmarcRecord, spfRecord, suggestRecords } from '../../../protocols/mail/dns-record.ts';

const pem = generateKeyPairSync('rsa', { modulusLength: 2048 })
  .publicKey.export({ type: 'spki', format: 'pem' })
  .toString();

it('publishes an RSA key that can be read back (RFC 6376, 3.6.1)', () => {
  const record = dkimRecord({ selector: 's1', domain: 'fwd.test', publicKey: pem });
  expect(record).toMatchObject({ name: 's1._domainkey.fwd.test', type: 'TXT' });
  const key = /^v=DKIM1; k=rsa; p=([A-Za-z0-9+/=]+)$/.exec(record.value)![1]!;
  expect(
    createPublicKey({ key: Buffer.from(key, 'base64'), format: 'der', type: 'spki' }).export({
      type: 'spki',
      format: 'pem',
    }),
  ).toBe(pem);
});

it('cuts a long value for the zone file into strings of 255 octets that join to it (RFC 1035, 3.3.14)', () => {
  const { value, zoneFile } = dkimRecord({ selector: 's1', domain: 'fwd.test', publicKey: pem });
  expect(zoneFile.startsWith('s1._domainkey.fwd.test. IN TXT ( "')).toBe(true);
  expect(zoneFile.endsWith(' )')).toBe(true);
  const strings = [...zoneFile.matchAll(/"([^"]*)"/g)].map(([, string]) => string!);
  expect(value.length).toBeGreaterThan(255);
  expect(strings.every((string) => string.length <= 255)).toBe(true);
  expect(strings.join('')).toBe(value);
});

it('prints name, type and value for the form of a provider', () => {
  expect(spfRecord({ domain: 'fwd.test' }).pasteable).toBe('Name:  fwd.test\nType:  TXT\nValue: v=spf1 mx -all');
});

it('says who may send (RFC 7208)', () => {
  expect(
    spfRecord({
      domain: 'fwd.test',
      addresses: ['192.0.2.1', '2001:db8::/32'],
      hosts: ['mx.fwd.test'],
      includes: ['_spf.other.test'],
      all: '~all',
    }).value,
  ).toBe('v=spf1 ip4:192.0.2.1 ip6:2001:db8::/32 a:mx.fwd.test include:_spf.other.test ~all');
});

it('asks for a DMARC policy, its separators escaped in the address (RFC 9989)', () => {
  expect(dmarcRecord({ domain: 'fwd.test' })).toMatchObject({ name: '_dmarc.fwd.test', value: 'v=DMARC1; p=none' });
  expect(dmarcRecord({ domain: 'fwd.test', policy: 'reject', reports: 'a!b;c,d@fwd.test' }).value).toBe(
    'v=DMARC1; p=reject; rua=mailto:a%21b%3Bc%2Cd@fwd.test',
  );
});

it('suggests the three for a domain', () => {
  const records = suggestRecords({ domain: 'fwd.test', hostname: 'mx.fwd.test', selector: 's1', publicKey: pem });
  expect(records.map(({ name }) => name)).toEqual(['s1._domainkey.fwd.test', 'fwd.test', '_dmarc.fwd.test']);
  expect(records[1]!.value).toBe('v=spf1 a:mx.fwd.test -all');
});
