/** A certificate authority for one test file, made with the openssl command. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Certificate {
  key: string;
  cert: string;
}

export interface Authority {
  /** PEM of the authority. */
  ca: string;
  /** A certificate for these names. */
  issue(...names: string[]): Certificate;
  /** One that nobody signed but itself. */
  selfSigned(name: string): Certificate;
}

export function createAuthority(): Authority {
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-ca-'));
  const file = (name: string) => join(folder, name);
  const read = (name: string) => readFileSync(file(name), 'utf8');
  const openssl = (...words: string[]) => execFileSync('openssl', words, { stdio: ['ignore', 'ignore', 'pipe'] });
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

  openssl('req', '-x509', ...newKey, '-keyout', file('ca.key'), '-out', file('ca.pem'), '-subj', '/CN=Test CA');
  return {
    ca: read('ca.pem'),
    issue(...names) {
      writeFileSync(file('ext'), `subjectAltName=${names.map((name) => `DNS:${name}`).join(',')}\n`);
      openssl(
        'req',
        ...newKey.slice(0, 4),
        '-nodes',
        '-keyout',
        file('one.key'),
        '-out',
        file('one.csr'),
        '-subj',
        '/CN=peer',
      );
      openssl(
        ...['x509', '-req', '-in', file('one.csr'), '-CA', file('ca.pem'), '-CAkey', file('ca.key'), '-CAcreateserial'],
        ...['-days', '2', '-extfile', file('ext'), '-out', file('one.pem')],
      );
      return { key: read('one.key'), cert: read('one.pem') };
    },
    selfSigned(name) {
      openssl(
        ...['req', '-x509', ...newKey, '-keyout', file('self.key'), '-out', file('self.pem')],
        ...['-subj', `/CN=${name}`, '-addext', `subjectAltName=DNS:${name}`],
      );
      return { key: read('self.key'), cert: read('self.pem') };
    },
  };
}
