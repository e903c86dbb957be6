import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, utimesSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openBucket, type S3Settings } from '../../../stores/blobs/s3-bucket.ts';
import { openS3Blobs } from '../../../stores/blobs/s3.ts';
import { createAuthority } from '../../support/certificates.ts';
import { hasS3, signedRequest, startS3, type S3Server } from '../../support/s3.ts';
import { blobContract, chunks, hashOf, listed } from '../contract/blobs.ts';

let server: S3Server;
let folder: string;
beforeAll(async () => {
  if (hasS3) server = await startS3();
});
afterAll(() => server?.close());
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'switchyard-spool-'));
});

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
  rmSync(folder, { recursive: true, force: true });
});

const options = { prefix: 'mail', maxBytes: 40_000_000 };
const refusal = { name: 'TemporaryError', code: 'blob.unavailable' };

/** A bucket of its own, and blobs in it. */
async function opened(change: Partial<S3Settings> = {}) {
  const s3 = { ...(await server.blobs()).s3, ...change };
  return { s3, blobs: await openS3Blobs(s3, folder) };
}

/** Stands between; once `cut` is set, a connection ends when so many bytes more have come back over it. */
async function startProxy(to: string): Promise<{ endpoint: string; cut: number; connections: number }> {
  const proxy = { endpoint: '', cut: Infinity, connections: 0 };
  const { hostname, port } = new URL(to);
  const sockets = new Set<Socket>();
  const listener = createServer((near) => {
    proxy.connections += 1;
    const far = connect(Number(port), hostname);
    let sent = 0;
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one);
      one.on('error', () => other.destroy());
      one.on('close', () => other.destroy());
    }
    near.pipe(far);
    far.on('data', (chunk) => {
      if (proxy.cut === Infinity) return void near.write(chunk);
      near.write(chunk.subarray(0, Math.max(0, proxy.cut - sent)));
      sent += chunk.byteLength;
      if (sent >= proxy.cut) near.end();
    });
  }).listen(0, '127.0.0.1');
  await once(listener, 'listening');
  cleanUps.push(() => {
    for (const socket of sockets) socket.destroy();
    listener.close();
  });
  proxy.endpoint = `http://127.0.0.1:${(listener.address() as AddressInfo).port}`;
  return proxy;
}

describe.skipIf(!hasS3)('with a server', () => {
  blobContract('a bucket', async () => {
    const { s3, blobs } = await opened({ prefix: 'here/too' });
    return {
      blobs,
      leftovers: async () => server.filesOf(s3.bucket).length + readdirSync(folder).length,
      close: () => blobs.close(),
    };
  });

  describe('blobs in a bucket', () => {
    it('lists any number of them, and only its own', async () => {
      const { s3, blobs } = await opened({ prefix: 'ours' });
      const theirs = await openS3Blobs({ ...s3, prefix: 'ours-too' }, folder);
      await theirs.write(chunks('theirs'), options);
      for (const name of ['ours/README', 'ours/mail/a%26b%2B%20%C3%A4%3C.txt', `ours/.check/${hashOf('x')}`])
        await signedRequest(server.endpoint, 'PUT', `/${s3.bucket}/${name}`, 'x');
      const texts = Array.from({ length: 1_003 }, (_, index) => `blob ${index}`);
      for (let at = 0; at < texts.length; at += 50)
        await Promise.all(texts.slice(at, at + 50).map((text) => blobs.write(chunks(text), options)));
      expect(await listed(blobs)).toEqual(texts.map((text) => `mail/${hashOf(text)}`).sort());
    });

    it('makes an old blob young again when the same bytes arrive, so that the sweep leaves it', async () => {
      const { s3, blobs } = await opened();
      await blobs.write(chunks('again'), options);
      const [file] = server.filesOf(s3.bucket);
      utimesSync(file!, 1, 1);
      await blobs.write(chunks('again'), options);
      for await (const { modifiedAt } of blobs.list())
        expect(modifiedAt.getTime()).toBeGreaterThan(Date.now() - 60_000);
    });

    it('stores nothing whose bytes are not those that were hashed', async () => {
      const { s3 } = await opened();
      const put = openBucket(s3).put('mail/x', Buffer.from('altered on the way'), hashOf('as it was'));
      await expect(put).rejects.toMatchObject({ ...refusal, details: { s3: 'XAmzContentSHA256Mismatch' } });
      expect(server.filesOf(s3.bucket)).toEqual([]);
    });

    it('shows no blob after kill -9 in the middle of a write; the rest is removed when it is an hour old', async () => {
      const { s3, blobs } = await opened();
      const configuration = JSON.stringify({ state: folder, blobs: { s3 } });
      const child = spawn(process.execPath, [resolve('test/stores/processes/write-forever.ts'), configuration], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      await once(child.stdout, 'data');
      child.kill('SIGKILL');
      await once(child, 'exit');
      expect([await listed(blobs), server.filesOf(s3.bucket)]).toEqual([[], []]);
      const spool = join(folder, 'spool');
      const unfinished = join(spool, readdirSync(spool)[0]!);
      expect(statSync(unfinished).size).toBeGreaterThan(1_000_000);
      expect(statSync(unfinished).mode & 0o777).toBe(0o600);
      const old = Date.now() / 1_000 - 3_601;
      utimesSync(unfinished, old, old);
      await openS3Blobs(s3, spool);
      expect(existsSync(unfinished)).toBe(false);
    });

    it('answers a full disk of this machine with blob.unavailable, keeps nothing, and takes what memory holds', async ({
      skip,
    }) => {
      const full = join(folder, 'full');
      mkdirSync(full);
      try {
        execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=512k', 'tmpfs', full], { stdio: 'ignore' });
      } catch {
        console.log('skipped: a full disk is shown with a tmpfs, which only root can mount');
        skip();
      }
      cleanUps.push(() => execFileSync('umount', [full]));
      const { s3 } = await server.blobs();
      const blobs = await openS3Blobs(s3, full);
      await expect(blobs.write(chunks(Buffer.alloc(1_000_000)), options)).rejects.toMatchObject({
        ...refusal,
        details: { system: 'ENOSPC' },
      });
      expect([readdirSync(full), server.filesOf(s3.bucket)]).toEqual([[], []]);
      expect((await blobs.write(chunks(Buffer.alloc(200_000)), options)).size).toBe(200_000);
    });

    it('says blob.unavailable while the server is dead, keeps nothing, and works again when it is back', async () => {
      const own = await startS3();
      cleanUps.push(() => own.close());
      const { s3 } = await own.blobs();
      const blobs = await openS3Blobs(s3, folder);
      const ref = await blobs.write(chunks('kept'), options);
      await own.kill();
      const calls = [
        blobs.write(chunks(randomBytes(1_000_000)), options),
        blobs.read(ref.key),
        blobs.size(ref.key),
        blobs.remove(ref.key),
        listed(blobs),
        blobs.check(),
      ];
      for (const end of await Promise.allSettled<unknown>(calls))
        expect(end).toMatchObject({
          status: 'rejected',
          reason: { ...refusal, fix: expect.stringContaining('blobs.s3.endpoint') },
        });
      expect(readdirSync(folder)).toEqual([]);
      await own.start();
      expect(String(await buffer(await blobs.read(ref.key)))).toBe('kept');
      await blobs.check();
    });
  });

  describe('over a bad line', () => {
    it('goes on where an answer broke off', async () => {
      const proxy = await startProxy(server.endpoint);
      const { blobs } = await opened({ endpoint: proxy.endpoint });
      const bytes = randomBytes(3_000_000);
      const { key } = await blobs.write(chunks(bytes), options);
      proxy.cut = 700_000;
      const before = proxy.connections;
      expect(bytes.equals(await buffer(await blobs.read(key)))).toBe(true);
      expect(proxy.connections - before).toBeGreaterThanOrEqual(4);
    });

    it('repeats what got no answer', async () => {
      const proxy = await startProxy(server.endpoint);
      const { blobs } = await opened({ endpoint: proxy.endpoint });
      proxy.cut = 0;
      const writing = blobs.write(chunks(randomBytes(1_000_000)), options);
      setTimeout(() => (proxy.cut = Infinity), 150);
      const { key } = await writing;
      expect(await blobs.size(key)).toBe(1_000_000);
      expect(proxy.connections).toBeGreaterThan(1);
    });

    it('gives a temporary error to whoever reads when no more of it comes', async () => {
      const proxy = await startProxy(server.endpoint);
      const { blobs } = await opened({ endpoint: proxy.endpoint });
      const { key } = await blobs.write(chunks(randomBytes(10_000_000)), options);
      const stream = await blobs.read(key);
      await once(stream, 'readable');
      proxy.cut = 0;
      await expect(buffer(stream)).rejects.toMatchObject(refusal);
    });

    it('ends the connection of a reader that goes away', async () => {
      const { blobs } = await opened();
      const { key } = await blobs.write(chunks(randomBytes(10_000_000)), options);
      const stream = await blobs.read(key);
      await once(stream, 'readable');
      stream.destroy();
      await once(stream, 'close');
      expect(await blobs.size(key)).toBe(10_000_000);
    });

    it('waits for no server that says nothing', async () => {
      const silent = createServer((socket) => cleanUps.push(() => socket.destroy())).listen(0, '127.0.0.1');
      await once(silent, 'listening');
      cleanUps.push(() => silent.close());
      const endpoint = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
      const bucket = openBucket({ bucket: 'any', region: 'us-east-1', endpoint }, process.env, 300);
      await expect(bucket.size('x')).rejects.toMatchObject({ ...refusal, message: expect.stringContaining('in time') });
    });
  });

  describe('what is wrong is said with what to do', () => {
    it.each([
      ['a bucket that is not there', { bucket: 'no-such-bucket' }, 'blobs.s3.bucket'],
      ['a port where nobody listens', { endpoint: 'http://127.0.0.1:1' }, 'blobs.s3.endpoint'],
      ['a host without an address', { endpoint: 'http://nowhere.invalid' }, 'blobs.s3.endpoint'],
      ['a region that is another', { region: 'eu-central-1' }, 'blobs.s3.region'],
    ])('%s', async (_what, change, fix) => {
      const { blobs } = await opened(change);
      await expect(blobs.check()).rejects.toMatchObject({ ...refusal, fix: expect.stringContaining(fix) });
      await expect(listed(blobs)).rejects.toMatchObject(refusal);
    });

    it.each([[{ AWS_SECRET_ACCESS_KEY: 'not-the-secret' }], [{ AWS_ACCESS_KEY_ID: 'not-the-key' }]])(
      'keys that are not right, and they are not repeated: %j',
      async (change) => {
        const { s3 } = await server.blobs();
        const blobs = await openS3Blobs(s3, folder, { ...process.env, ...change });
        const error: Error & { fix: string } = await blobs.check().catch((thrown) => thrown);
        expect([error.message, error.fix]).toEqual([error.message, expect.stringContaining('AWS_SECRET_ACCESS_KEY')]);
        expect(JSON.stringify({ ...error, text: error.message, stack: error.stack })).not.toContain('not-the-secret');
      },
    );

    it('no keys at all', async () => {
      const { s3 } = await server.blobs();
      await expect(openS3Blobs(s3, folder, {})).rejects.toMatchObject({
        name: 'PermanentError',
        code: 'blob.credentials_missing',
        fix: expect.stringContaining('AWS_ACCESS_KEY_ID'),
      });
    });

    it('a certificate of an unknown authority', async () => {
      const own = await startS3(createAuthority().issue('localhost'));
      cleanUps.push(() => own.close());
      const blobs = await openS3Blobs({ bucket: 'any', region: 'us-east-1', endpoint: own.endpoint }, folder);
      await expect(blobs.check()).rejects.toMatchObject({
        ...refusal,
        fix: expect.stringContaining('NODE_EXTRA_CA_CERTS'),
      });
    });
  });
});

describe('the place of a bucket', () => {
  const keys = { AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b' };
  // https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
  it.each([
    [{ region: 'eu-west-1' }, 'https://mail.s3.eu-west-1.amazonaws.com/'],
    [{ region: 'eu-west-1', pathStyle: true, prefix: 'a/b' }, 'https://s3.eu-west-1.amazonaws.com/mail/a/b/'],
    [{ region: 'x', endpoint: 'https://s3.example.net:9000' }, 'https://s3.example.net:9000/mail/'],
    [{ region: 'x', endpoint: 'https://s3.example.net', pathStyle: false }, 'https://mail.s3.example.net/'],
  ])('of %j is %s', (change, place) => {
    expect(openBucket({ bucket: 'mail', ...change }, keys).place).toBe(place);
  });
});
