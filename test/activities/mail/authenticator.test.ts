import { mkdtemp, rm } from 'node:fs/promises';
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
  configuration = Configuration.parse({ hostname: 'mx.forward.test', state: folder, dns: { servers: [dns.address] } });
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
