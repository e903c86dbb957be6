/** Signing keys and secrets of the installation: sealed in the records under the master key. */
import { createPrivateKey, createPublicKey, generateKeyPair, randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { PermanentError, SwitchyardError } from '../../protocols/errors.ts';
import type { Configuration } from '../configuration/schema.ts';
import type { KeyRow, Records } from '../records/port.ts';
import { hasMasterKey, masterKey, MASTER_KEY_FILE } from './master.ts';
import type { KeyStore, PublicKeyRecord, SigningKey } from './port.ts';
import { seal, unseal } from './seal.ts';

/** RFC 8301, 3.2: signers use at least 2048 bits; longer ones do not fit in one TXT string or a small UDP answer. */
const RSA_BITS = 2_048;
/** ms an opened key is kept: spares a query a message, and a new key of another process signs soon. */
const CACHED = 5_000;
const SECRET_BYTES = 32;
/** One or more DNS labels, as in RFC 6376, 3.1. */
const SELECTOR = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/;

const generate = promisify(generateKeyPair);

/**
 * @throws PermanentError `key.master_missing`, `key.master_invalid`, `key.master_exposed`, `key.master_unavailable`
 */
export async function openKeys(
  records: Pick<Records, 'keys'>,
  configuration: Pick<Configuration, 'state'>,
): Promise<KeyStore> {
  // A new one would open nothing: records that several machines share have one key.
  if (!hasMasterKey(configuration.state) && (await records.keys.list()).length > 0) throw masterMissing(configuration);
  const master = await masterKey(configuration.state);
  const opened = new Map<string, { key: SigningKey; until: number }>();
  const secrets = new Map<string, Buffer>();
  return {
    async create(domain, selector) {
      const pair = await generate('rsa', { modulusLength: RSA_BITS });
      const publicKey = pair.publicKey.export({ type: 'spki', format: 'der' }).toString('base64');
      const privateKey = pair.privateKey.export({ type: 'pkcs8', format: 'pem' });
      const name = domain.toLowerCase();
      const row = await addUnder(records, selector, name, (chosen) => ({
        domain: name,
        selector: chosen,
        publicKey,
        sealed: seal(master, Buffer.from(privateKey), keyContext(name, chosen)),
        createdAt: new Date().toISOString(),
      }));
      opened.delete(name);
      return publicPart(row);
    },
    async signingKey(domain) {
      const name = domain.toLowerCase();
      const known = opened.get(name);
      if (known && known.until > Date.now()) return known.key;
      const row = await records.keys.newest(name);
      if (!row) throw missing(name);
      const privateKey = unseal(master, row.sealed, keyContext(row.domain, row.selector))?.toString();
      if (privateKey === undefined || !isPair(privateKey, row.publicKey)) throw unreadable(`The key of ${name}`);
      const key: SigningKey = { ...publicPart(row), privateKey };
      opened.set(name, { key, until: Date.now() + CACHED });
      return key;
    },
    async list() {
      return (await records.keys.list()).map(publicPart);
    },
    async secret(name) {
      const known = secrets.get(name);
      if (known) return Buffer.from(known);
      const context = `secret/${name}`;
      const stored = await records.keys.secret(name, seal(master, randomBytes(SECRET_BYTES), context));
      const secret = unseal(master, stored, context);
      if (!secret) throw unreadable(`The secret ${name}`);
      secrets.set(name, secret);
      return Buffer.from(secret);
    },
  };
}

/** Adds the row under the wished selector, or under the first free `sy202611`, `sy202611-2`, ... of this month. */
async function addUnder(
  records: Pick<Records, 'keys'>,
  wished: string | undefined,
  domain: string,
  rowFor: (selector: string) => KeyRow,
): Promise<KeyRow> {
  if (wished !== undefined && !SELECTOR.test(wished)) throw selectorInvalid(wished);
  const month = `sy${new Date().toISOString().slice(0, 7).replace('-', '')}`;
  const taken = new Set((await records.keys.list()).filter((row) => row.domain === domain).map((row) => row.selector));
  for (let counter = 1; ; counter += 1) {
    const selector = wished ?? (counter === 1 ? month : `${month}-${counter}`);
    if (wished === undefined && taken.has(selector)) continue;
    const row = rowFor(selector);
    try {
      await records.keys.add(row);
      return row;
    } catch (thrown) {
      // Another process took the name in between.
      if (wished !== undefined || !(thrown instanceof SwitchyardError && thrown.code === 'key.exists')) throw thrown;
    }
  }
}

const keyContext = (domain: string, selector: string): string => `key/${domain}/${selector}`;

/** The public half is not sealed: a changed one would publish a record that no signature matches. */
function isPair(privateKey: string, publicKey: string): boolean {
  const own = createPublicKey(createPrivateKey(privateKey)).export({ type: 'spki', format: 'der' });
  return own.toString('base64') === publicKey;
}

function publicPart(row: KeyRow): PublicKeyRecord {
  return {
    domain: row.domain,
    selector: row.selector,
    algorithm: 'rsa-sha256',
    publicKey: row.publicKey,
    createdAt: row.createdAt,
  };
}

const missing = (domain: string): PermanentError =>
  new PermanentError({
    code: 'key.missing',
    message: `There is no key to sign for ${domain}.`,
    fix: `switchyard keys create ${domain}`,
    details: { domain },
  });

const masterMissing = ({ state }: Pick<Configuration, 'state'>): PermanentError =>
  new PermanentError({
    code: 'key.master_missing',
    message: `The keys in the records are sealed with a master key that is not here: ${MASTER_KEY_FILE} is not in ${state}.`,
    fix: `Put it there, from your backup or from the machine that made it, or set SWITCHYARD_MASTER_KEY to what is in it.`,
  });

const unreadable = (what: string): PermanentError =>
  new PermanentError({
    code: 'key.unreadable',
    message: `${what} cannot be opened with this master key.`,
    fix: `Put back the master key that it was made with (SWITCHYARD_MASTER_KEY, or ${MASTER_KEY_FILE} in the state folder).`,
  });

const selectorInvalid = (selector: string): PermanentError =>
  new PermanentError({
    code: 'key.selector_invalid',
    message: `${JSON.stringify(selector.slice(0, 100))} is no selector.`,
    fix: 'Use lower-case letters, digits and hyphens, such as sy202611 (RFC 6376, section 3.1).',
  });
