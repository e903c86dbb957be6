/** The names of blobs, and what every driver says about them. */
import { PermanentError } from '../../protocols/errors.ts';

/** Names of letters, digits, `_`, `-` and inner dots: none can leave a folder or hide in it. */
const NAME = '[A-Za-z0-9_-][A-Za-z0-9_.-]*';
const PREFIX = new RegExp(`^${NAME}(?:/${NAME})*$`);
const KEY = new RegExp(`^${NAME}(?:/${NAME})*/[0-9a-f]{64}$`);

export const isKey = (name: string): boolean => KEY.test(name);

/** @throws PermanentError `blob.key_invalid` */
export function checkKey(key: string): string {
  if (!KEY.test(key)) throw invalidKey(key);
  return key;
}

/** @throws PermanentError `blob.key_invalid` */
export function checkPrefix(prefix: string): string {
  if (!PREFIX.test(prefix)) throw invalidKey(prefix);
  return prefix;
}

const invalidKey = (key: string): PermanentError =>
  new PermanentError({
    code: 'blob.key_invalid',
    message: `${JSON.stringify(key.slice(0, 200))} is no blob key.`,
    fix: 'Use the key of a blob reference as it was returned: prefix/sha256.',
  });

export const missing = (key: string): PermanentError =>
  new PermanentError({
    code: 'blob.missing',
    message: `There is no blob ${key}.`,
    fix: 'It was removed after its time, or never stored: store it again.',
    details: { key },
  });

export const tooLarge = (maxBytes: number): PermanentError =>
  new PermanentError({
    code: 'blob.too_large',
    message: `More than ${maxBytes} bytes arrived.`,
    fix: 'Send less at once.',
    details: { maxBytes },
  });
