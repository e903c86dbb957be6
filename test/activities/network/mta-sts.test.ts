/** MTA-STS (RFC 8461) from the TXT record to the certificate of the mail host, with real DNS, HTTPS and TLS on loopback. */
import { createServer, type Server } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Dialer } from '../../../activities/network/dialer.ts';
import { startDnsServer, type DnsServer } from '../../../cli/demo/dns-server.ts';
import { createAuthority, type Certificate } from '../../support/certificates.ts';
import { MESSAGE, openDialer, sendTo } from '../../support/dialing.ts';
import { startPeer, type Peer, type PeerOptions } from '../../support/smtp-peer.ts';

const authority = createAuthority();
const policyOf = (mode: string, mx = 'mx.b.test', maxAge = 86_400) =>
  `version: STSv1\r\nmode: ${mode}\r\nmx: ${mx}\r\nmax_age: ${maxAge}\r\n`;
const { signal } = new AbortController();

let dns: DnsServer;
let policyHost: Server;
let policyPort: number;
let certificate: Certificate;
let respond: (request: IncomingMessage, response: ServerResponse) => void;
let requests: string[];
const closing: (() => Promise<void>)[] = [];

const serve = (text: string, headers: Record<string, string> = { 'content-type': 'text/plain' }, status = 200) => {
  respond = (_request, response) => void response.writeHead(status, headers).end(text);
};

beforeAll(async () => {
  certificate = authority.issue('mta-sts.b.test');
  policyHost = createServer(certificate, (request, response) => {
    requests.push(`${request.method} https://${request.headers.host}${request.url}`);
    respond(request, response);
  });
  await new Promise<void>((resolve) => policyHost.listen(0, '127.0.0.3', resolve));
  policyPort = (policyHost.address() as { port: number }).port;
});
afterAll(() => {
  policyHost.closeAllConnections();
  return new Promise<void>((resolve) => policyHost.close(() => resolve()));
});
beforeEach(async () => {
  requests = [];
  serve(policyOf('enforce'));
  policyHost.setSecureContext(certificate);
  dns = await startDnsServer({
    'b.test': ['MX 10 mx.b.test'],
    'mx.b.test': ['A 127.0.0.2'],
    '_mta-sts.b.test': ['TXT v=STSv1; id=1;'],
    'mta-sts.b.test': ['A 127.0.0.3'],
  });
});
afterEach(async () => {
  vi.useRealTimers();
  await Promise.all(closing.splice(0).map((close) => close()));
  await dns.close();
});

function dialer(port = 25, allow = ['127.0.0.0/8']): Dialer {
  const one = openDialer(
    { outbound: { allow, port, commandTimeout: '1s' }, dns: { servers: [dns.address], timeout: '250ms', keep: '0s' } },
    { ca: authority.ca, policyPort },
  );
  closing.push(() => one.close());
  return one;
}
const policy = async (one: Dialer) => (await one.route('b.test', signal)).mtaSts;

describe('fetching a policy', () => {
  it('asks the well-known place, once for each version', async () => {
    const one = dialer();
    expect(await policy(one)).toEqual({ mode: 'enforce', mx: ['mx.b.test'] });
    expect(await policy(one)).toEqual({ mode: 'enforce', mx: ['mx.b.test'] });
    expect(requests).toEqual(['GET https://mta-sts.b.test/.well-known/mta-sts.txt']);
    dns.set('_mta-sts.b.test', ['TXT v=STSv1; id=2;']);
    serve(policyOf('testing', '*.b.test'));
    expect(await policy(one)).toEqual({ mode: 'testing', mx: ['*.b.test'] });
    expect(requests).toHaveLength(2);
  });

  it('asks nothing where no policy is announced, or for the transport map', async () => {
    dns.set('_mta-sts.b.test', ['TXT v=spf1 -all']);
    expect(await policy(dialer())).toBeNull();
    expect(requests).toEqual([]);
  });

  it.each([
    ['status 404', () => serve(policyOf('enforce'), { 'content-type': 'text/plain' }, 404)],
    ['a redirect', () => serve(policyOf('enforce'), { 'content-type': 'text/plain', location: '/other' }, 301)],
    ['another content type', () => serve(policyOf('enforce'), { 'content-type': 'text/html' })],
    ['no content type', () => serve(policyOf('enforce'), {})],
    ['no policy in it', () => serve('<html>')],
    ['more than 64 KB', () => serve(policyOf('enforce') + 'x: y\r\n'.repeat(12_000))],
    [
      'an answer that is cut',
      () =>
        void (respond = (_request, response) => {
          response.writeHead(200, { 'content-type': 'text/plain', 'content-length': '1000' });
          response.write('version: STSv1\r\nmode: enforce\r\nmx: mx.b.test\r\nmax_age: 86400\r\n');
          setTimeout(() => response.destroy(), 20);
        }),
    ],
    ['a certificate for another name', () => policyHost.setSecureContext(authority.issue('b.test'))],
    ['a certificate that nobody signed', () => policyHost.setSecureContext(authority.selfSigned('mta-sts.b.test'))],
  ])('takes %s for no policy, and does not ask again at once', async (_name, prepare) => {
    prepare();
    const one = dialer();
    expect(await policy(one)).toBeNull();
    const asked = requests.length;
    serve(policyOf('enforce'));
    policyHost.setSecureContext(certificate);
    expect(await policy(one)).toBeNull();
    expect(requests).toHaveLength(asked);
  });

  it('stops reading a policy that has no end', async () => {
    let written = 0;
    respond = (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/plain' });
      const more = () => {
        while (!response.destroyed && written < 50_000_000) {
          written += 65_536;
          if (!response.write('x'.repeat(65_536))) return void response.once('drain', more);
        }
      };
      more();
    };
    expect(await policy(dialer())).toBeNull();
    expect(written).toBeLessThan(25_000_000);
  });

  it('never connects to a policy host that is not public', async () => {
    // The mail host is allowed by name, the policy host is not.
    expect(await policy(dialer(25, ['mx.b.test']))).toBeNull();
    expect(requests).toEqual([]);
  });

  it('goes on when DNS or the policy host is away, and keeps a policy that has not expired', async () => {
    const fresh = dialer();
    dns.fail('_mta-sts.b.test', 'servfail');
    expect(await policy(fresh)).toBeNull();

    dns.fail('_mta-sts.b.test', null);
    const one = dialer();
    expect(await policy(one)).toMatchObject({ mode: 'enforce' });
    dns.fail('_mta-sts.b.test', 'servfail');
    expect(await policy(one)).toMatchObject({ mode: 'enforce' });
    dns.fail('_mta-sts.b.test', null);
    dns.set('_mta-sts.b.test', []);
    expect(await policy(one)).toMatchObject({ mode: 'enforce' });
    dns.set('_mta-sts.b.test', ['TXT v=STSv1; id=2;']);
    serve('gone', {}, 500);
    expect(await policy(one)).toMatchObject({ mode: 'enforce' });
  });

  it('drops a policy when its max_age is over', async () => {
    serve(policyOf('enforce', 'mx.b.test', 1));
    const one = dialer();
    expect(await policy(one)).toMatchObject({ mode: 'enforce' });
    dns.set('_mta-sts.b.test', []);
    await sleep(1_100);
    expect(await policy(one)).toBeNull();
  });

  it('gives up with the caller', async () => {
    respond = () => undefined;
    const cancel = new AbortController();
    const attempt = dialer().route('b.test', cancel.signal);
    await expect.poll(() => requests.length).toBe(1);
    cancel.abort(new Error('enough'));
    await expect(attempt).rejects.toThrow('enough');
  });
});

describe('a mail host under a policy', () => {
  const peerWith = async (options: PeerOptions): Promise<Peer> => {
    const peer = await startPeer({ host: '127.0.0.2', ...options });
    closing.push(peer.close);
    return peer;
  };
  const good = authority.issue('mx.b.test');

  it('gets the mail under enforce when its certificate is for its name', async () => {
    const peer = await peerWith({ tls: good });
    expect(await sendTo(dialer(peer.port), 'b.test')).toMatchObject({
      status: 'delivered',
      tls: expect.stringMatching(/^TLS/),
    });
    expect(peer.messages).toEqual([MESSAGE]);
  });

  it.each([
    ['has no STARTTLS', (): PeerOptions => ({})],
    ['refuses STARTTLS', (): PeerOptions => ({ tls: good, starttls: '454 4.7.0 Not now' })],
    ['breaks the handshake', (): PeerOptions => ({ tls: good, starttls: (socket) => void socket.end('220 Go\r\n') })],
    ['has a certificate for another name', (): PeerOptions => ({ tls: authority.issue('mx.evil.test') })],
    ['has a certificate that nobody signed', (): PeerOptions => ({ tls: authority.selfSigned('mx.b.test') })],
  ])('gets nothing under enforce when it %s', async (_name, options) => {
    const peer = await peerWith(options());
    expect(await sendTo(dialer(peer.port), 'b.test')).toMatchObject({
      status: 'deferred',
      code: 'mtasts.failed',
      host: 'mx.b.test',
    });
    expect(peer.commands.filter((line) => /^(MAIL|RCPT|DATA)/.test(line))).toEqual([]);
    expect(peer.connections).toBe(1);
  });

  it('is not connected to under enforce when the policy does not name it', async () => {
    serve(policyOf('enforce', '*.other.test'));
    const peer = await peerWith({ tls: good });
    expect(await sendTo(dialer(peer.port), 'b.test')).toMatchObject({ status: 'deferred', code: 'mtasts.failed' });
    expect(peer.connections).toBe(0);
  });

  it('is passed over for one that the policy names', async () => {
    dns.set('b.test', ['MX 1 mx.evil.test', 'MX 10 mx.b.test']);
    dns.set('mx.evil.test', ['A 127.0.0.4']);
    const peer = await peerWith({ tls: good });
    const evil = await startPeer({ host: '127.0.0.4', port: peer.port, tls: authority.issue('mx.evil.test') });
    closing.push(evil.close);
    expect(await sendTo(dialer(peer.port), 'b.test')).toMatchObject({ status: 'delivered', host: 'mx.b.test' });
    expect(evil.connections).toBe(0);
  });

  it.each([
    ['has no STARTTLS', (): PeerOptions => ({})],
    ['has a certificate that nobody signed', (): PeerOptions => ({ tls: authority.selfSigned('mx.b.test') })],
  ])('gets the mail under testing though it %s, and this is said', async (_name, options) => {
    serve(policyOf('testing', 'mx.other.test'));
    const peer = await peerWith(options());
    const log: string[] = [];
    expect(await sendTo(dialer(peer.port), 'b.test', { log })).toMatchObject({ status: 'delivered' });
    expect(log).toContain('mta-sts testing: mx.b.test is not in the policy');
    expect(log).toContain('mta-sts testing: the connection to mx.b.test would fail the policy');
  });
});
