/**
 * Heads of the members of a tar archive: the interchange format of POSIX.1-2017 (pax, "ustar Interchange Format"), and of
 * what GNU tar adds the long names. An archive is a row of blocks: a head, the bytes of the member, zeros up to the next
 * block; two blocks of zeros end it.
 */
import { PermanentError } from './errors.ts';

export const TAR_BLOCK = 512;
/** Bytes of a member that says something about the next one: a name. */
export const MAX_TAR_EXTENSION = 65_536;

export interface TarMember {
  name: string;
  /** Bytes. */
  size: number;
  /** Seconds since 1970. */
  modifiedAt: number;
}

export interface TarHead extends TarMember {
  /** `extension`: its bytes say something about the next member. `other`: a folder, a link, a device. */
  type: 'file' | 'extension' | 'other';
}

/** Bytes from the head of a member to that of the next. */
export const tarSpan = (size: number): number => TAR_BLOCK + Math.ceil(size / TAR_BLOCK) * TAR_BLOCK;

export const isTar = (head: Uint8Array): boolean =>
  head.length >= TAR_BLOCK && Buffer.from(head.subarray(257, 262)).toString('latin1') === 'ustar';

/**
 * The head of a file, with one of its own before it where the name or the size needs that. No owner and no rights: the
 * same files make the same archive.
 */
export function tarHead({ name, size, modifiedAt }: TarMember): Buffer {
  const isPlain = /^[\x20-\x7e]{1,100}$/.test(name) && size < OCTAL_SIZE;
  if (isPlain) return block(name, size, modifiedAt, '0');
  const bytes = Buffer.from(paxRecord('path', name) + paxRecord('size', String(size)));
  const padding = Buffer.alloc(tarSpan(bytes.length) - TAR_BLOCK - bytes.length);
  const extension = Buffer.concat([block('name', bytes.length, modifiedAt, 'x'), bytes, padding]);
  return Buffer.concat([extension, block('long-name', size < OCTAL_SIZE ? size : 0, modifiedAt, '0')]);
}

export const TAR_END = Buffer.alloc(2 * TAR_BLOCK);

/**
 * @returns null for a block of zeros, the end
 * @throws PermanentError `archive.broken`
 */
export function readTarHead(bytes: Buffer): TarHead | null {
  if (bytes.length < TAR_BLOCK) throw brokenArchive('it ends in the head of a file');
  if (bytes.every((byte) => byte === 0)) return null;
  if (sumOf(bytes) !== number(bytes.subarray(148, 156))) throw brokenArchive('the checksum of a head is wrong');
  const folder = isTar(bytes) && bytes[262] === 0 ? text(bytes.subarray(345, 500)) : '';
  const name = text(bytes.subarray(0, 100));
  return {
    name: folder === '' ? name : `${folder}/${name}`,
    size: number(bytes.subarray(124, 136)),
    modifiedAt: number(bytes.subarray(136, 148)),
    type: TYPES[String.fromCharCode(bytes[156] ?? 0)] ?? 'other',
  };
}

/** What an extension says about the next member: records of pax, or the bare name of GNU tar. */
export function readTarExtension(head: Buffer, bytes: Buffer): Partial<Pick<TarMember, 'name' | 'size'>> {
  const type = String.fromCharCode(head[156] ?? 0);
  if (type === 'L') return { name: text(bytes) };
  const said: Partial<Pick<TarMember, 'name' | 'size'>> = {};
  if (type !== 'x') return said;
  for (let at = 0; at < bytes.length;) {
    const length = Number(/^\d{1,6}(?= )/.exec(bytes.subarray(at, at + 7).toString('latin1'))?.[0]);
    if (!(length > 4)) break;
    const [, key, value] = /^\d+ ([^=]+)=(.*)\n$/s.exec(bytes.subarray(at, at + length).toString()) ?? [];
    if (key === 'path' && value) said.name = value;
    if (key === 'size' && /^\d{1,15}$/.test(value ?? '')) said.size = Number(value);
    at += length;
  }
  return said;
}

export function brokenArchive(why: string): PermanentError {
  return new PermanentError({
    code: 'archive.broken',
    message: `The archive is no whole tar archive: ${why}.`,
    fix: 'Pack it again with tar, without compression, and import it anew: what was imported counts once.',
  });
}

/** What eleven octal digits hold. */
const OCTAL_SIZE = 8 ** 11;

const TYPES: Record<string, TarHead['type']> = {
  '0': 'file',
  '\0': 'file',
  '7': 'file',
  x: 'extension',
  g: 'extension',
  L: 'extension',
  K: 'extension',
};

function block(name: string, size: number, modifiedAt: number, type: string): Buffer {
  const bytes = Buffer.alloc(TAR_BLOCK);
  const octal = (value: number, length: number) => value.toString(8).padStart(length - 1, '0');
  bytes.write(name, 0, 'latin1');
  bytes.write(octal(0o600, 8), 100);
  bytes.write(octal(0, 8), 108);
  bytes.write(octal(0, 8), 116);
  bytes.write(octal(size, 12), 124);
  bytes.write(octal(Math.max(0, Math.floor(modifiedAt)), 12), 136);
  bytes.write(type, 156);
  bytes.write('ustar\0', 257);
  bytes.write('00', 263);
  bytes.write(`${octal(sumOf(bytes), 7)}\0 `, 148);
  return bytes;
}

/** The length counts itself. */
function paxRecord(key: string, value: string): string {
  const rest = Buffer.byteLength(` ${key}=${value}\n`);
  let length = rest;
  while (rest + String(length).length !== length) length = rest + String(length).length;
  return `${length} ${key}=${value}\n`;
}

/** The sum of all bytes, those of the sum itself taken for blanks. */
function sumOf(bytes: Buffer): number {
  let sum = 8 * 0x20;
  for (let at = 0; at < TAR_BLOCK; at += 1) if (at < 148 || at >= 156) sum += bytes[at] ?? 0;
  return sum;
}

const text = (bytes: Buffer): string => {
  const end = bytes.indexOf(0);
  return bytes.subarray(0, end < 0 ? bytes.length : end).toString();
};

/** Octal digits; or of GNU tar a number in base 256, marked by its first bit. */
function number(bytes: Buffer): number {
  if (((bytes[0] ?? 0) & 0x80) !== 0) {
    const value = bytes.subarray(1).reduce((sum, byte) => sum * 256 + byte, 0);
    if (value > Number.MAX_SAFE_INTEGER) throw brokenArchive('a number in a head is too large');
    return value;
  }
  const digits = text(bytes).trim();
  if (!/^[0-7]*$/.test(digits)) throw brokenArchive('a number in a head is none');
  return digits === '' ? 0 : parseInt(digits, 8);
}
