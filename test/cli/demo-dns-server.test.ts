import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { promises as dns } from 'node:dns';
import { connect } from 'node:net';
import * as packet from 'dns-packet';
import { afterEach, describe, expect, it } from 'vitest';
import { startDnsServer, type DnsServer, type Zones } from '../../cli/demo/dns-server.ts';

let server: DnsServer | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
});

async function start(zones: Zones) {
  server = await startDnsServer(zones);
  const resolver = new dns.Resolver({ timeout: 300, tries: 1 });
  resolver.setServers([server.address]);
  return { server, resolver };
}

async function askOverUdp(port: number, query: Buffer): Promise<Buffer> {
  const socket = createSocket('udp4');
  socket.send(query, port, '127.0.0.1');
  const [message] = (await once(socket, 'message')) as [Buffer];
  socket.close();
  return message;
}

const question = (name: string, type: 'TXT' | 'A', additionals: packet.OptAnswer[] = []) =>
  packet.encode({ type: 'query', id: 7, flags: packet.RECURSION_DESIRED, questions: [{ name, type }], additionals });
const edns = (size: number): packet.OptAnswer => ({
  type: 'OPT',
  name: '.',
  udpPayloadSize: size,
  extendedRcode: 0,
  ednsVersion: 0,
  flags: 0,
  flag_do: false,
  options: [],
});

describe('the demo DNS server', () => {
  it('answers every type that mail asks for, in any case', async () => {
    const { resolver } = await start({
      'mail.test': [
        'TXT v=spf1 ip4:127.0.0.2 -all',
        'TXT "two " "strings"',
        'MX 10 mx.mail.test',
        'A 127.0.0.1',
        'AAAA ::1',
      ],
      'alias.test': ['CNAME mail.test'],
      '1.0.0.127.in-addr.arpa': ['PTR mx.mail.test'],
      'nomail.test': ['MX 0 .'],
    });
    expect(await resolver.resolveTxt('Mail.TEST')).toEqual([['v=spf1 ip4:127.0.0.2 -all'], ['two ', 'strings']]);
    expect(await resolver.resolveMx('mail.test')).toMatchObject([{ exchange: 'mx.mail.test', priority: 10 }]);
    expect(await resolver.resolve4('alias.test')).toEqual(['127.0.0.1']);
    expect(await resolver.resolve6('mail.test')).toEqual(['::1']);
    expect(await resolver.resolvePtr('1.0.0.127.in-addr.arpa')).toEqual(['mx.mail.test']);
    expect(await resolver.resolveMx('nomail.test')).toMatchObject([{ exchange: '', priority: 0 }]);
  });

  it('tells a name that does not exist (NXDOMAIN) from one without such a record (NODATA)', async () => {
    const { resolver } = await start({ '_dmarc.mail.test': ['TXT v=DMARC1; p=none'] });
    await expect(resolver.resolve4('other.test')).rejects.toMatchObject({ code: 'ENOTFOUND' });
    await expect(resolver.resolve4('_dmarc.mail.test')).rejects.toMatchObject({ code: 'ENODATA' });
    // RFC 8020: a name with names below it exists.
    await expect(resolver.resolve4('mail.test')).rejects.toMatchObject({ code: 'ENODATA' });
  });

  it('puts an SOA into negative answers (RFC 2308)', async () => {
    const { server } = await start({});
    const reply = packet.decode(await askOverUdp(server.port, question('nobody.test', 'A')));
    expect(reply.authorities?.map((one) => one.type)).toEqual(['SOA']);
  });

  it('truncates what does not fit and gives it whole over TCP', async () => {
    const long = 'x'.repeat(900);
    const { server, resolver } = await start({ 'long.test': [`TXT ${long}`] });
    const plain = packet.decode(await askOverUdp(server.port, question('long.test', 'TXT')));
    expect(plain).toMatchObject({ flag_tc: true, answers: [] });
    const offered = packet.decode(await askOverUdp(server.port, question('long.test', 'TXT', [edns(1_232)])));
    expect(offered).toMatchObject({ flag_tc: false });

    server.set('longer.test', [`TXT ${'y'.repeat(1_500)}`]);
    const [strings = []] = await resolver.resolveTxt('longer.test');
    // RFC 1035, 3.3: 255 octets a character-string.
    expect(strings.map((one) => one.length)).toEqual([255, 255, 255, 255, 255, 225]);
    expect(server.queries.filter((one) => one.name === 'longer.test').map((one) => one.transport)).toEqual([
      'udp',
      'tcp',
    ]);
  });

  it('answers several questions that follow each other on one TCP connection', async () => {
    const { server } = await start({ 'a.test': ['A 127.0.0.3'] });
    const socket = connect(server.port, '127.0.0.1');
    const framed = (message: Buffer) =>
      Buffer.concat([Buffer.from([message.length >> 8, message.length & 255]), message]);
    const both = Buffer.concat([framed(question('a.test', 'A')), framed(question('b.test', 'A'))]);
    socket.write(both.subarray(0, 20));
    socket.write(both.subarray(20));
    let received = Buffer.alloc(0);
    const codes: string[] = [];
    for await (const chunk of socket) {
      received = Buffer.concat([received, chunk as Buffer]);
      while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
        const end = 2 + received.readUInt16BE(0);
        codes.push((packet.decode(received.subarray(2, end)) as packet.DecodedPacket & { rcode: string }).rcode);
        received = received.subarray(end);
      }
      if (codes.length === 2) break;
    }
    expect(codes).toEqual(['NOERROR', 'NXDOMAIN']);
  });

  it('fails as asked, and answers again', async () => {
    const { server, resolver } = await start({ 'a.test': ['A 127.0.0.3'] });
    server.fail('a.test', 'servfail');
    await expect(resolver.resolve4('a.test')).rejects.toMatchObject({ code: 'ESERVFAIL' });
    server.fail('a.test', 'silent');
    await expect(resolver.resolve4('a.test')).rejects.toMatchObject({ code: 'ETIMEOUT' });
    server.fail('a.test', null);
    expect(await resolver.resolve4('a.test')).toEqual(['127.0.0.3']);
  });

  it('keeps what it had when a record cannot be read', async () => {
    const { server, resolver } = await start({ 'a.test': ['A 127.0.0.3'] });
    expect(() => server.set('a.test', ['A not-an-address'])).toThrow(/A not-an-address/);
    expect(await resolver.resolve4('a.test')).toEqual(['127.0.0.3']);
  });

  it('does not answer garbage, or answers', async () => {
    const { server, resolver } = await start({ 'a.test': ['A 127.0.0.3'] });
    const socket = createSocket('udp4');
    const answers: Buffer[] = [];
    socket.on('message', (message) => answers.push(message));
    socket.send(Buffer.from([1, 2, 3]), server.port, '127.0.0.1');
    socket.send(
      packet.encode({ type: 'response', id: 1, questions: [{ name: 'a.test', type: 'A' }] }),
      server.port,
      '127.0.0.1',
    );
    expect(await resolver.resolve4('a.test')).toEqual(['127.0.0.3']);
    expect(answers).toEqual([]);
    socket.close();
  });
});
