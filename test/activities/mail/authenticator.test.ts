import { execFileSync, spawnSync } from 'node:child_process';
import { getEventListeners } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateKeyPairSync } from 'node:crypto';
import { text } from 'node:stream/consumers';
import mailauth from 'mailauth';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openAuthenticator } from '../../../activities/mail/authenticator/threads.ts';
import type { Authenticator } from '../../../activities/mail/authenticator/port.ts';
import { openComposed } from '../../../activities/mail/compose.ts';
import { startDnsServer, type DnsServer } from '../../../cli/demo/dns-server.ts';
import { signed } from '../../../cli/demo/messages.ts';
import { createWorld, SIGNED_DOMAIN, type World } from '../../../cli/demo/world.ts';
import { openBlobs } from '../../../stores/blobs/open.ts';
import type { BlobStore } from '../../../stores/blobs/port.ts';
import { Configuration } from '../../../stores/configuration/schema.ts';

/** Debian's python3-dkim belongs to the system's Python, which need not be the first on the PATH. */
const python = ['/usr/bin/python3', 'python3'].find((one) => spawnSync(one, ['-c', 'import dkim']).status === 0);
const VERIFIER = join(import.meta.dirname, '..', '..', 'support', 'verify_arc.py');

let folder: string;
let world: World;
let dns: DnsServer;
let blobs: BlobStore;
let configuration: Configuration;
let authenticator: Authenticator;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'switchyard-authenticator-'));
  world = await createWorld();
  dns = await startDnsServer(world.zones);
  configuration = Configuration.parse({
    hostname: 'mx.forward.test',
    state: folder,
    dns: { servers: [dns.address], keep: '0s' },
  });
  blobs = await openBlobs(configuration);
  authenticator = openAuthenticator(configuration);
});
afterAll(async () => {
  await authenticator.close();
  await blobs.close();
  await dns.close();
  await rm(folder, { recursive: true, force: true });
});

const message = (header: string[] = [], body = 'Hello.\r\n') =>
  Buffer.from(
    [
      ...header,
      ...(header.some((line) => line.startsWith('From:')) ? [] : [`From: Alice <alice@${SIGNED_DOMAIN}>`]),
      'To: bob@forward.test',
      'Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=',
      'Message-ID: <1@signed.test>',
      'Date: Tue, 24 Nov 2026 08:00:00 +0000',
      '',
      body,
    ].join('\r\n'),
  );

async function verify(bytes: Buffer, from: 'signed' | 'forger' = 'signed', sender = `alice@${SIGNED_DOMAIN}`) {
  const { key } = await blobs.write(
    (async function* () {
      yield bytes;
    })(),
    { prefix: 'mail', maxBytes: 10_000_000 },
  );
  return authenticator.verify({
    key,
    sourceAddress: world.senders[from].address,
    helo: world.senders[from].helo,
    sender,
  });
}

describe('a signal', () => {
  const stored = async () => {
    const source = (async function* () {
      yield message();
    })();
    return (await blobs.write(source, { prefix: 'mail', maxBytes: 10_000_000 })).key;
  };

  it('has no listener when the answer is there: a composite one with a listener is never collected', async () => {
    const signal = AbortSignal.any([new AbortController().signal]);
    expect((await authenticator.read({ key: await stored() }, signal)).subject).toBe('Grüße');
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  it('that is aborted ends the wait', async () => {
    const key = await stored();
    await expect(authenticator.read({ key }, AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough');
  });
});

describe('verify', () => {
  it('finds SPF, DKIM and DMARC passing on a good message and reads the fields people know it by', async () => {
    const found = await verify(await signed(message(), world.keys.signed));
    expect(found.authentication.spf).toEqual({ result: 'pass', domain: SIGNED_DOMAIN, scope: 'mfrom' });
    expect(found.authentication.dkim).toEqual([
      {
        result: 'pass',
        domain: SIGNED_DOMAIN,
        selector: world.keys.signed.selector,
        algorithm: 'rsa-sha256',
        aligned: true,
        underSized: 0,
      },
    ]);
    expect(found.authentication.dmarc).toEqual({
      result: 'pass',
      domain: SIGNED_DOMAIN,
      policy: 'reject',
      disposition: 'none',
    });
    expect(found.authentication.arc).toEqual({ result: 'none', instance: 0 });
    expect(found.authentication.authenticationResults).toMatch(/^mx\.forward\.test;\r\n dkim=pass /);
    expect(found).toMatchObject({
      subject: 'Grüße',
      headerMessageId: '<1@signed.test>',
      temporary: false,
      authorProblem: null,
    });
  });

  it('says what a forged message fails and what its policy asks for', async () => {
    const { authentication } = await verify(message(), 'forger');
    expect(authentication.spf.result).toBe('fail');
    expect(authentication.dkim).toEqual([]);
    expect(authentication.dmarc).toMatchObject({ result: 'fail', policy: 'reject', disposition: 'reject' });
  });

  it('reports the HELO identity for the null sender', async () => {
    dns.set(world.senders.signed.helo, [`TXT v=spf1 ip4:${world.senders.signed.address} -all`]);
    const { authentication } = await verify(message(), 'signed', '');
    expect(authentication.spf).toEqual({ result: 'pass', domain: world.senders.signed.helo, scope: 'helo' });
  });

  it('does not let a signature with l= and an appended body pass DMARC', async () => {
    const { signatures } = await mailauth.dkimSign(message(), {
      signingDomain: world.keys.signed.domain,
      selector: world.keys.signed.selector,
      privateKey: world.keys.signed.privateKey,
      signatureData: [
        {
          signingDomain: world.keys.signed.domain,
          selector: world.keys.signed.selector,
          privateKey: world.keys.signed.privateKey,
          maxBodyLength: 8,
        },
      ],
    });
    const appended = Buffer.concat([
      Buffer.from(signatures.split(/(?=DKIM-Signature)/).find((one) => one.includes('l=8')) ?? ''),
      message([], 'Hello.\r\nBuy this instead.\r\n'),
    ]);
    const { authentication } = await verify(appended, 'forger');
    expect(authentication.dkim[0]).toMatchObject({ result: 'pass', aligned: false });
    expect(authentication.dkim[0]?.underSized).toBeGreaterThan(0);
    expect(authentication.dmarc.result).toBe('fail');
    expect(authentication.authenticationResults).toContain('dmarc=fail');
    expect(authentication.authenticationResults).not.toContain('dmarc=pass');
  });

  it('names the problem of a message with two authors', async () => {
    const found = await verify(message([`From: alice@${SIGNED_DOMAIN}`, 'From: mallory@forger.test']));
    expect(found.authorProblem).toBeTruthy();
  });

  it('says that a result is temporary when DNS does not answer for it', async () => {
    dns.fail(`_dmarc.${SIGNED_DOMAIN}`, 'servfail');
    try {
      const found = await verify(message());
      expect(found.temporary).toBe(true);
    } finally {
      dns.fail(`_dmarc.${SIGNED_DOMAIN}`, null);
    }
  });

  it('gives up at the deadline and takes the next message', async () => {
    const hasty = openAuthenticator({
      ...configuration,
      mail: { ...configuration.mail, limits: { ...configuration.mail.limits, verification: 1_500 } },
    });
    dns.fail(SIGNED_DOMAIN, 'silent');
    try {
      const { key } = await blobs.write(
        (async function* () {
          yield message();
        })(),
        { prefix: 'mail', maxBytes: 10_000 },
      );
      const request = { key, sourceAddress: '127.0.0.99', helo: 'client.test', sender: `alice@${SIGNED_DOMAIN}` };
      await expect(hasty.verify(request)).rejects.toMatchObject({
        name: 'TemporaryError',
        code: 'mail.verification_timeout',
      });
      dns.fail(SIGNED_DOMAIN, null);
      await expect(hasty.verify(request)).resolves.toMatchObject({ authentication: { spf: { result: 'fail' } } });
    } finally {
      dns.fail(SIGNED_DOMAIN, null);
      await hasty.close();
    }
  });
});

describe('a message that computes without end', () => {
  it('costs its thread, and neither the others nor those after it', async () => {
    const hasty = openAuthenticator({
      ...configuration,
      mail: { ...configuration.mail, limits: { ...configuration.mail.limits, verification: 4_000 } },
    });
    const request = { key: '', sourceAddress: '127.0.0.99', helo: 'client.test', sender: '' };
    // Seconds of CPU in mailauth when the guard at the door does not refuse it.
    const folded = message([`X-Folded: ${'a\r\n '.repeat(150_000)}`]);
    try {
      const hostile = hasty.verify({ ...request, bytes: folded });
      const beside = Promise.allSettled(
        Array.from({ length: 6 }, () => hasty.verify({ ...request, bytes: message() })),
      );
      await expect(hostile).rejects.toMatchObject({ code: 'mail.verification_timeout' });
      expect((await beside).filter((one) => one.status === 'fulfilled').length).toBeGreaterThanOrEqual(1);
      const after = Array.from({ length: 6 }, () => hasty.verify({ ...request, bytes: message() }));
      for (const one of await Promise.all(after)) expect(one.headerMessageId).toBe('<1@signed.test>');
    } finally {
      await hasty.close();
    }
  });
});

describe('sign', () => {
  const key = () => {
    const { domain, selector, privateKey } = world.keys.signed;
    return { domain, selector, privateKey };
  };
  const store = (bytes: Buffer) =>
    blobs.write(
      (async function* () {
        yield bytes;
      })(),
      { prefix: 'mail', maxBytes: 10_000_000 },
    );

  it('signs and seals what is then sent, with forged Authentication-Results of ours taken out', async () => {
    const forged = 'Authentication-Results: mx.forward.test; dkim=pass header.d=bank.test';
    const stored = await store(message([forged, 'Authentication-Results: other.test; spf=pass']));
    const { header, instance } = await authenticator.sign({
      key: stored.key,
      prepend: 'Received: from a by b; now\r\n',
      dkim: key(),
      arc: { ...key(), authenticationResults: 'mx.forward.test; spf=pass', cv: 'none' },
    });
    expect(instance).toBe(1);
    const sent = await text(
      await openComposed(blobs, { key: stored.key, prepend: header, authservId: 'mx.forward.test' }),
    );
    expect(sent).not.toContain(forged);
    expect(sent).toContain('Authentication-Results: other.test; spf=pass');
    // The second opinion on our seal and signature: the verifier over the real DNS.
    const found = await verify(Buffer.from(sent), 'forger');
    expect(found.authentication.dkim).toMatchObject([{ result: 'pass', domain: SIGNED_DOMAIN }]);
    expect(found.authentication.arc).toEqual({ result: 'pass', instance: 1 });
  });

  it('makes signatures and chains that an implementation of others verifies, from the first set to the fiftieth', async (context) => {
    if (python === undefined) return context.skip('python3-dkim is not installed');
    const zones = join(folder, 'zones.json');
    await writeFile(zones, JSON.stringify(world.zones));
    const bodies = {
      plain: 'Hello.\r\n',
      none: '',
      spaces: ' a \t b\r\n\r\n  \r\nend \r\n\r\n\r\n',
      utf8: 'Grüße\r\n.\r\n',
    };
    const files: string[] = [];
    for (const [name, body] of Object.entries(bodies)) {
      let bytes: Buffer = message(['X-A: one', 'Subject: two \t words', 'Cc:x@y.test,\r\n\tz@y.test'], body);
      for (let i = 1; i <= (name === 'plain' ? 50 : 2); i += 1) {
        const bytesNow = i % 2 === 0 ? { key: (await store(bytes)).key } : { key: '', bytes };
        const arc = {
          ...key(),
          authenticationResults: `mx${i}.test; spf=pass smtp.mailfrom=ä@b.test`,
          cv: i === 1 ? ('none' as const) : ('pass' as const),
        };
        const { header, instance } = await authenticator.sign({
          ...bytesNow,
          prepend: `Received: from a by b${i}; now\r\n`,
          dkim: i < 4 ? key() : null,
          arc,
        });
        expect(instance).toBe(i);
        bytes = Buffer.concat([Buffer.from(header), bytes]);
        if (![1, 2, 3, 50].includes(i)) continue;
        const file = join(folder, `${name}-${i}.eml`);
        await writeFile(file, bytes);
        files.push(file);
        const found = await verify(bytes, 'forger');
        expect([file, found.authentication.arc]).toEqual([file, { result: 'pass', instance: i }]);
        expect(found.authentication.dkim.map((one) => one.result)).toEqual(Array(Math.min(i, 3)).fill('pass'));
      }
      if (name !== 'plain') continue;
      const over = { ...key(), authenticationResults: 'mx.test; none', cv: 'pass' as const };
      await expect(authenticator.sign({ key: '', bytes, prepend: '', dkim: null, arc: over })).rejects.toMatchObject({
        code: 'arc.too_many_instances',
      });
    }
    const told = execFileSync(python, [VERIFIER, zones, ...files], { encoding: 'utf8' })
      .trim()
      .split('\n');
    for (const line of told) {
      const found = JSON.parse(line) as {
        file: string;
        arc: string;
        sets: { seal: boolean; message: boolean }[];
        dkim: boolean[];
      };
      expect([found.file, found.arc]).toEqual([found.file, 'pass']);
      expect(found.sets.every((set) => set.seal)).toBe(true);
      expect([found.file, found.dkim.every(Boolean)]).toEqual([found.file, true]);
    }
    expect(told).toHaveLength(files.length);
  });

  it('refuses to seal over a chain that is broken, or with a cv= that does not fit', async () => {
    const arc = { ...key(), authenticationResults: 'mx.test; none' };
    const once = await authenticator.sign({
      key: '',
      bytes: message(),
      prepend: '',
      dkim: null,
      arc: { ...arc, cv: 'none' },
    });
    const sealed = Buffer.concat([Buffer.from(once.header), message()]);
    const withoutResults = Buffer.from(sealed.toString().replace(/ARC-Authentication-Results:.*\r\n/, ''));
    for (const [bytes, cv] of [
      [message(), 'pass'],
      [sealed, 'none'],
      [withoutResults, 'pass'],
    ] as const)
      await expect(
        authenticator.sign({ key: '', bytes, prepend: '', dkim: null, arc: { ...arc, cv } }),
      ).rejects.toMatchObject({ code: 'arc.chain_broken' });
  });

  it('does not sign a message without an author', async () => {
    const bytes = Buffer.from('Subject: nobody\r\n\r\nHello.\r\n');
    await expect(authenticator.sign({ key: '', bytes, prepend: '', dkim: key(), arc: null })).rejects.toMatchObject({
      code: 'key.unusable',
    });
  });

  it('refuses a key that cannot sign instead of sending unsigned mail', async () => {
    const { privateKey } = generateKeyPairSync('rsa', {
      modulusLength: 512,
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    });
    const { key: blob } = await store(message());
    const weak = { ...key(), privateKey };
    await expect(authenticator.sign({ key: blob, prepend: '', dkim: weak, arc: null })).rejects.toMatchObject({
      code: 'key.unusable',
    });
    const broken = { ...key(), privateKey: 'not a key' };
    await expect(
      authenticator.sign({
        key: blob,
        prepend: '',
        dkim: null,
        arc: { ...broken, authenticationResults: 'mx.forward.test; none', cv: 'none' },
      }),
    ).rejects.toMatchObject({ code: 'key.unusable' });
  });
});
