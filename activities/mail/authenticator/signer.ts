/**
 * DKIM signatures (RFC 6376) and ARC sets (RFC 8617) over mailauth's canonicalisation. mailauth signs too, but it parses
 * the PEM of the key for every signature, which takes as long as the signature, and reads the message once for each;
 * here a key is parsed once, and one reading of the message serves all three signatures.
 */
import { createPrivateKey, sign as signBytes, type KeyObject } from 'node:crypto';
import arcParts from 'mailauth/lib/arc/index.js';
import bodyParts from 'mailauth/lib/dkim/body/index.js';
import headerParts from 'mailauth/lib/dkim/header/index.js';
import tools, { type HeaderRow } from 'mailauth/lib/tools.js';
import { messageOf, PermanentError } from '../../../protocols/errors.ts';
import type { SignRequest } from './port.ts';

type Key = NonNullable<SignRequest['dkim']>;
type Seal = NonNullable<SignRequest['arc']>;

/** What signatures are made over. */
export interface Digested {
  /** Top first. */
  rows: HeaderRow[];
  /** Of the body, relaxed, SHA-256, base64: the same for every signature. */
  bodyHash: string;
}

/** RFC 8301, 3.1; the keys of the house are RSA. */
const ALGORITHM = 'rsa-sha256';
/** RFC 8301, 3.2: verifiers take no shorter ones. */
const MIN_BITS = 1_024;
/** RFC 8617, section 4.2.1. */
const MAX_ARC_SETS = 50;
/** RFC 8617, section 4.1.2: an ARC-Message-Signature covers neither sets nor Authentication-Results. */
const ARC_FIELDS = tools.defaultARCFieldNames;
/** Keys kept parsed, one a domain that signs. */
const KEPT_KEYS = 1_000;

/** Reads a message once. @param source its bytes, lines ending in CRLF */
export async function digest(source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<Digested> {
  const body = bodyParts.dkimBody('relaxed', 'sha256', false);
  let head: Buffer | undefined = Buffer.alloc(0);
  let rows: HeaderRow[] = [];
  for await (const chunk of source) {
    if (!head) {
      body.update(chunk);
      continue;
    }
    // A header that begins with an empty line is an empty one (RFC 5322, 2.1).
    const from: number = Math.max(0, head.length - 3);
    head = head.length === 0 ? Buffer.from(chunk) : Buffer.concat([head, chunk]);
    const end = head.subarray(0, 2).equals(CRLF) ? 0 : head.indexOf(HEADER_END, from) + 2;
    if (end === 1) continue;
    rows = tools.parseHeaders(head.subarray(0, end)).parsed;
    if (head.length > end + 2) body.update(head.subarray(end + 2));
    head = undefined;
  }
  if (head) rows = tools.parseHeaders(head).parsed;
  return { rows, bodyHash: body.digest('base64') };
}

const CRLF = Buffer.from('\r\n');
const HEADER_END = Buffer.from('\r\n\r\n');

/**
 * The DKIM-Signature field, with its CRLF.
 * @throws PermanentError `key.unusable`
 */
export function dkimSignature(message: Digested, key: Key): string {
  const line = signature('DKIM', message, key, tools.defaultDKIMFieldNames);
  return `${line}\r\n`;
}

/**
 * One ARC set (RFC 8617, section 5.1): seal, message signature and results, each with its CRLF.
 * @throws PermanentError `arc.chain_broken`, `arc.too_many_instances`, `key.unusable`
 */
export function arcSet(message: Digested, seal: Seal): { header: string; instance: number } {
  const chain = chainOf(message.rows);
  if ((seal.cv === 'none') !== (chain.length === 0))
    throw chainBroken(`cv=${seal.cv} does not fit a message with ${chain.length} sets`);
  const instance = chain.length + 1;
  if (instance > MAX_ARC_SETS)
    throw new PermanentError({
      code: 'arc.too_many_instances',
      message: `The message already carries ${chain.length} ARC sets; RFC 8617, section 4.2.1 allows no more.`,
      fix: 'Forward it without a seal, or look for a mail loop.',
    });
  // Internationalised addresses in it are UTF-8 (RFC 6532); like every line here it is held one byte a character.
  const payload = Buffer.from(seal.authenticationResults, 'utf8').toString('latin1');
  const results = `ARC-Authentication-Results: i=${instance}; ${payload}`;
  const messageSignature = signature('ARC', message, seal, ARC_FIELDS, instance);
  const sealed = [
    ...chain.flatMap((set) => [
      set['arc-authentication-results'].original,
      set['arc-message-signature'].original,
      set['arc-seal'].original,
    ]),
    results,
    messageSignature,
  ];
  const tags = {
    i: instance,
    a: ALGORITHM,
    t: Math.floor(Date.now() / 1_000),
    cv: seal.cv,
    d: seal.domain,
    s: seal.selector,
  };
  // Folded as it will be: an empty `b=` would fold at other places.
  const unsigned = tools.formatSignatureHeaderLine('AS', { ...tags, b: 'a'.repeat(73) }, true);
  const b = signed(
    Buffer.concat([
      ...sealed.map((line) => tools.formatRelaxedLine(line, '\r\n')),
      tools.stripSignatureValue(tools.formatRelaxedLine(unsigned)),
    ]),
    seal,
  );
  const lines = [tools.formatSignatureHeaderLine('AS', { ...tags, b }, true), messageSignature, results];
  return { header: Buffer.from(lines.map((line) => `${line}\r\n`).join(''), 'latin1').toString('utf8'), instance };
}

/** The message with one more field on top. */
export function withField(message: Digested, field: string): Digested {
  const line = Buffer.from(field.trimEnd(), 'utf8');
  const casedKey = field.slice(0, field.indexOf(':'));
  return { ...message, rows: [{ key: casedKey.toLowerCase(), casedKey, line }, ...message.rows] };
}

function signature(type: 'DKIM' | 'ARC', message: Digested, key: Key, fields: string, instance?: number): string {
  const rows = tools.getSigningHeaderLines(message.rows, fields);
  // RFC 6376, section 5.4: a signature must cover From.
  if (!rows.headers.some((row) => row.key === 'from')) throw unusable(key, 'the message has no From field');
  const { canonicalizedHeader, dkimHeaderOpts } = headerParts.generateCanonicalizedHeader(type, rows, {
    signingDomain: key.domain,
    selector: key.selector,
    algorithm: ALGORITHM,
    canonicalization: 'relaxed/relaxed',
    bodyHash: message.bodyHash,
    timestamp: Math.floor(Date.now() / 1_000),
    instance,
  });
  return tools.formatSignatureHeaderLine(type, { ...dkimHeaderOpts, b: signed(canonicalizedHeader, key) }, true);
}

function chainOf(rows: HeaderRow[]): Exclude<ReturnType<typeof arcParts.getARChain>, false> {
  if (!rows.some((row) => row.key?.startsWith('arc-'))) return [];
  try {
    return arcParts.getARChain({ parsed: rows }, { strict: true }) || [];
  } catch (thrown) {
    throw chainBroken(messageOf(thrown));
  }
}

const parsedKeys = new Map<string, KeyObject>();

function signed(bytes: Buffer, key: Key): string {
  let parsed = parsedKeys.get(key.privateKey);
  if (!parsed) {
    parsed = parse(key);
    if (parsedKeys.size >= KEPT_KEYS) parsedKeys.clear();
    parsedKeys.set(key.privateKey, parsed);
  }
  return signBytes('sha256', bytes, parsed).toString('base64');
}

function parse(key: Key): KeyObject {
  let parsed: KeyObject;
  try {
    parsed = createPrivateKey(key.privateKey);
  } catch (thrown) {
    throw unusable(key, messageOf(thrown));
  }
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = parsed;
  if (type !== 'rsa') throw unusable(key, `it is of type ${type}, and signatures here are ${ALGORITHM}`);
  if ((details?.modulusLength ?? 0) < MIN_BITS) throw unusable(key, `it has fewer than ${MIN_BITS} bits`);
  return parsed;
}

function unusable(key: Key, why: string): PermanentError {
  return new PermanentError({
    code: 'key.unusable',
    message: `The key ${key.selector}._domainkey.${key.domain} did not sign: ${why}`,
    fix: `Make a new one: switchyard keys create ${key.domain}`,
  });
}

function chainBroken(why: string): PermanentError {
  return new PermanentError({
    code: 'arc.chain_broken',
    message: `The ARC chain on the message cannot be extended (RFC 8617, section 5.1): ${why}`,
    fix: 'Forward the message without a seal; a DKIM signature of your own still helps.',
  });
}
