/**
 * The small world of the demo: the domains, who may send for them, their keys, and the zones that say so. Every
 * domain ends in `.test` (RFC 6761), and every host is a loopback address.
 */
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:net';
import { domainToASCII } from 'node:url';
import type { Zones } from './dns-server.ts';

/** A key pair that a demo domain signs with. */
export interface DemoKey {
  domain: string;
  selector: string;
  /** PKCS#8 PEM. */
  privateKey: string;
  /** The DNS name and its TXT value. */
  name: string;
  value: string;
}

/** Someone who sends: where from, and as whom. */
export interface Sender {
  /** Address the connection comes from. */
  address: string;
  /** Name in EHLO. */
  helo: string;
}

/** The installation's own domain and host. */
export const FORWARD_DOMAIN = 'forward.test';
export const FORWARD_HOST = 'mx.forward.test';
/** Where the forwarded mail goes. */
export const MAILBOX_DOMAIN = 'mailbox.test';
/** Signs all its mail, and asks for rejection of what does not pass. */
export const SIGNED_DOMAIN = 'signed.test';
/** Has SPF and nothing else. */
export const PLAIN_DOMAIN = 'plain.test';
/** p=reject: others pretend to be it. */
export const BANK_DOMAIN = 'bank.test';
/** Passes SPF for itself and writes another's name in From. */
export const FORGER_DOMAIN = 'forger.test';
/** Sends from elsewhere, has no key and no DMARC policy: nothing of it passes here. */
export const NOBODY_DOMAIN = 'nobody.test';
/** Signs, asks for nothing, and writes to a mailing list. */
export const AUTHOR_DOMAIN = 'author.test';
/** A mailing list that changes messages, and a relay behind it; both seal with ARC. */
export const LIST_DOMAIN = 'list.test';
export const RELAY_DOMAIN = 'relay.test';
/** An internationalised domain (RFC 5890), written as people write it. */
export const INTERNATIONAL_DOMAIN = 'bücher.test';

const SELECTOR = 'demo';
/** RFC 8301, 3.2. */
const RSA_BITS = 2_048;

export interface World {
  zones: Zones;
  senders: Record<'signed' | 'plain' | 'author' | 'forger' | 'relay' | 'international' | 'mailbox', Sender>;
  keys: Record<'signed' | 'author' | 'list' | 'relay' | 'international' | 'mailbox', DemoKey>;
}

/** Makes keys and zones. Nothing is started. */
export async function createWorld(): Promise<World> {
  const [signed, plain, author, forger, relay, international, mailbox] = await sourceAddresses();
  const senders = {
    signed: { address: signed, helo: `mail.${SIGNED_DOMAIN}` },
    plain: { address: plain, helo: `mail.${PLAIN_DOMAIN}` },
    author: { address: author, helo: `mail.${AUTHOR_DOMAIN}` },
    forger: { address: forger, helo: `mail.${FORGER_DOMAIN}` },
    relay: { address: relay, helo: `mail.${RELAY_DOMAIN}` },
    international: { address: international, helo: `mail.${domainToASCII(INTERNATIONAL_DOMAIN)}` },
    mailbox: { address: mailbox, helo: `mx.${MAILBOX_DOMAIN}` },
  };
  const keys = {
    signed: createKey(SIGNED_DOMAIN),
    author: createKey(AUTHOR_DOMAIN),
    list: createKey(LIST_DOMAIN),
    relay: createKey(RELAY_DOMAIN),
    international: createKey(domainToASCII(INTERNATIONAL_DOMAIN)),
    mailbox: createKey(MAILBOX_DOMAIN),
  };
  const spf = (address: string) => `TXT v=spf1 ip4:${address} -all`;
  const zones: Zones = {
    [FORWARD_DOMAIN]: [`MX 10 ${FORWARD_HOST}`, spf(LOOPBACK)],
    [FORWARD_HOST]: [`A ${LOOPBACK}`, spf(LOOPBACK)],
    [`_dmarc.${FORWARD_DOMAIN}`]: ['TXT v=DMARC1; p=reject'],
    [MAILBOX_DOMAIN]: [`MX 10 mx.${MAILBOX_DOMAIN}`, spf(mailbox)],
    [`mx.${MAILBOX_DOMAIN}`]: [`A ${LOOPBACK}`, spf(mailbox)],
    [`_dmarc.${MAILBOX_DOMAIN}`]: ['TXT v=DMARC1; p=reject'],
    [SIGNED_DOMAIN]: [`MX 10 mx.${SIGNED_DOMAIN}`, spf(signed)],
    [`mx.${SIGNED_DOMAIN}`]: [`A ${LOOPBACK}`],
    [`_dmarc.${SIGNED_DOMAIN}`]: ['TXT v=DMARC1; p=reject'],
    [PLAIN_DOMAIN]: [`MX 10 mx.${PLAIN_DOMAIN}`, spf(plain)],
    [`mx.${PLAIN_DOMAIN}`]: [`A ${LOOPBACK}`],
    [`_dmarc.${PLAIN_DOMAIN}`]: ['TXT v=DMARC1; p=none'],
    // RFC 5737: an address that nobody here sends from.
    [BANK_DOMAIN]: ['TXT v=spf1 ip4:192.0.2.1 -all'],
    [`_dmarc.${BANK_DOMAIN}`]: ['TXT v=DMARC1; p=reject'],
    [NOBODY_DOMAIN]: ['TXT v=spf1 ip4:192.0.2.1 -all'],
    [AUTHOR_DOMAIN]: [spf(author)],
    [`_dmarc.${AUTHOR_DOMAIN}`]: ['TXT v=DMARC1; p=none'],
    [FORGER_DOMAIN]: [spf(forger)],
    [LIST_DOMAIN]: [`MX 10 mx.${LIST_DOMAIN}`, spf(relay)],
    [`mx.${LIST_DOMAIN}`]: [`A ${LOOPBACK}`],
    [RELAY_DOMAIN]: [spf(relay)],
    [domainToASCII(INTERNATIONAL_DOMAIN)]: [`MX 10 mx.${domainToASCII(INTERNATIONAL_DOMAIN)}`, spf(international)],
    [`mx.${domainToASCII(INTERNATIONAL_DOMAIN)}`]: [`A ${LOOPBACK}`],
    [`_dmarc.${domainToASCII(INTERNATIONAL_DOMAIN)}`]: ['TXT v=DMARC1; p=quarantine'],
    ...Object.fromEntries(Object.values(keys).map(({ name, value }) => [name, [`TXT ${value}`]])),
  };
  return { zones, senders, keys };
}

const LOOPBACK = '127.0.0.1';
/** Where the senders' addresses begin; any of 127/8 serves. */
const FIRST_SOURCE = 11;

/** An address for each sender. Linux takes all of 127/8; elsewhere there may be one, and the senders share it. */
async function sourceAddresses() {
  const source = async (index: number) => {
    const address = `127.0.0.${FIRST_SOURCE + index}`;
    return (await canBind(address)) ? address : LOOPBACK;
  };
  return Promise.all([source(0), source(1), source(2), source(3), source(4), source(5), source(6)]);
}

async function canBind(address: string): Promise<boolean> {
  const probe = createServer();
  return new Promise((resolve) => {
    probe.once('error', () => resolve(false));
    probe.listen(0, address, () => probe.close(() => resolve(true)));
  });
}

function createKey(domain: string): DemoKey {
  const pair = generateKeyPairSync('rsa', {
    modulusLength: RSA_BITS,
    publicKeyEncoding: { type: 'spki', format: 'der' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  return {
    domain,
    selector: SELECTOR,
    privateKey: pair.privateKey,
    name: `${SELECTOR}._domainkey.${domain}`,
    value: `v=DKIM1; k=rsa; p=${pair.publicKey.toString('base64')}`,
  };
}
