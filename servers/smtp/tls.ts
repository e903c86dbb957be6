/** The certificate for STARTTLS: the operator's, or a self-signed one made once, which opportunistic senders take. */
import { generate } from 'selfsigned';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Configuration } from '../../stores/configuration/schema.ts';
import { messageOf, PermanentError } from '../../protocols/errors.ts';

export interface Certificate {
  key: string;
  cert: string;
}

/** Ten years: nobody verifies a self-signed certificate, and an expired one only breaks TLS. */
const VALID_DAYS = 3_650;

export async function certificateFor(configuration: Configuration): Promise<Certificate> {
  const { tls } = configuration.mail;
  if (tls)
    return {
      key: await readPem(tls.key, 'mail.tls.key'),
      cert: await readPem(tls.certificate, 'mail.tls.certificate'),
    };
  const folder = join(configuration.state, 'tls');
  const file = join(folder, `${configuration.hostname}.pem`);
  const stored = await readFile(file, 'utf8').catch(() => undefined);
  const split = stored?.indexOf('-----BEGIN CERTIFICATE-----') ?? -1;
  if (stored && split > 0) return { key: stored.slice(0, split), cert: stored.slice(split) };
  const made = await generate([{ name: 'commonName', value: configuration.hostname }], {
    keySize: 2048,
    algorithm: 'sha256',
    notAfterDate: new Date(Date.now() + VALID_DAYS * 86_400_000),
  });
  await mkdir(folder, { recursive: true, mode: 0o700 });
  // Written aside and renamed, so that a second process never reads half a file.
  const aside = `${file}.${process.pid}`;
  await writeFile(aside, `${made.private.trim()}\n${made.cert.trim()}\n`, { mode: 0o600 });
  await rename(aside, file);
  return { key: made.private, cert: made.cert };
}

async function readPem(file: string, key: string): Promise<string> {
  return readFile(file, 'utf8').catch((thrown: unknown) => {
    throw new PermanentError({
      code: 'configuration.invalid',
      message: `${key}: ${file} cannot be read: ${messageOf(thrown)}`,
      fix: 'Name a PEM file that the smtp process may read.',
    });
  });
}
