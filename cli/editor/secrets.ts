/**
 * What the editor must keep to itself, each in a file that only its owner can read: n8n takes the key and the
 * password's hash from there, so that neither is on a command line or in an environment.
 */
import { randomBytes, randomInt } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { EditorProgram } from './provide.ts';

/** Who signs in. Nothing is ever sent there: `.test` is nobody's (RFC 6761). */
export const OWNER_EMAIL = 'owner@switchyard.test';
/** In the state folder: the owner's password, as it is typed. Who changes it there has the new one after the next start. */
export const PASSWORD_FILE = 'editor-password';

/** No letter that looks like another; 31 signs, so that four groups of four are 79 bits. */
const ALPHABET = 'abcdefghjkmnpqrstuvwxyz23456789';
const GROUPS = 4;
const GROUP_LENGTH = 4;
/** bcrypt's cost that n8n itself uses. */
const COST = 10;
/** AES-256. */
const KEY_BYTES = 32;

/** The owner's password; made at the first call. */
export function ownerPassword(state: string): string {
  return readOrMake(join(state, PASSWORD_FILE), newPassword);
}

/** The owner's password, or undefined before the first start. */
export function readPassword(state: string): string | undefined {
  const file = join(state, PASSWORD_FILE);
  return existsSync(file) ? readFileSync(file, 'utf8').trim() : undefined;
}

export interface SecretFiles {
  encryptionKey: string;
  passwordHash: string;
}

/**
 * Makes what is missing.
 * @param folder n8n's user folder
 */
export async function secretFiles(state: string, folder: string, program: EditorProgram): Promise<SecretFiles> {
  const files = { encryptionKey: join(folder, 'encryption-key'), passwordHash: join(folder, 'owner-password-hash') };
  readOrMake(files.encryptionKey, () => randomBytes(KEY_BYTES).toString('base64url'));
  const password = ownerPassword(state);
  const bcrypt = bcryptOf(program);
  const hash = readOrMake(files.passwordHash, () => '');
  // A new hash of the same password would end every session: n8n signs the hash into them.
  if (!hash || !(await bcrypt.compare(password, hash)))
    writeSecret(files.passwordHash, await bcrypt.hash(password, COST));
  return files;
}

/** Writes a file that only its owner can read, without a line end: n8n warns of one. */
export function writeSecret(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  writeFileSync(file, text, { mode: 0o600 });
  // The mode above is for new files only.
  chmodSync(file, 0o600);
}

function readOrMake(file: string, make: () => string): string {
  if (!existsSync(file)) writeSecret(file, make());
  return readFileSync(file, 'utf8').trim();
}

function newPassword(): string {
  const group = () => Array.from({ length: GROUP_LENGTH }, () => ALPHABET[randomInt(ALPHABET.length)]).join('');
  return Array.from({ length: GROUPS }, group).join('-');
}

interface Bcrypt {
  hash(password: string, cost: number): Promise<string>;
  compare(password: string, hash: string): Promise<boolean>;
}

/** n8n's own: it is the one that compares. */
function bcryptOf({ folder }: EditorProgram): Bcrypt {
  return createRequire(join(folder, 'node_modules', 'n8n', 'package.json'))('bcryptjs') as Bcrypt;
}
