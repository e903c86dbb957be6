/**
 * A small authoritative DNS server for demos and tests: it answers from records in the presentation form of
 * `dns.zones` in the configuration, over UDP and TCP (RFC 1035, RFC 7766), on loopback. Real resolvers ask it, so
 * that everything above them is exercised as it is in the world: truncation, empty names, errors, silence.
 */
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { createServer, type Server, type Socket } from 'node:net';
import * as packet from 'dns-packet';
import type { Answer, Packet, Question } from 'dns-packet';
import { createLocalZones, type LocalRecord } from '../../activities/network/local-zones.ts';
import type { RecordType } from '../../activities/network/resolver.ts';

/** Records by name, as in `dns.zones`: `{ "demo.test": ["TXT v=spf1 -all", "MX 10 mx.demo.test", "A 127.0.0.1"] }`. */
export type Zones = Record<string, string[]>;

/** What a name does instead of answering. */
export type Fault = 'servfail' | 'refused' | 'silent';

export interface Query {
  name: string;
  type: string;
  transport: 'udp' | 'tcp';
}

export interface DnsServer {
  host: string;
  /** One number for UDP and TCP. */
  port: number;
  /** `host:port`, the form of `dns.servers`. */
  address: string;
  /** Makes the records of a name exactly these; an empty list removes the name. */
  set(name: string, records: string[]): void;
  /** Makes a name fail, or with null answer again. */
  fail(name: string, fault: Fault | null): void;
  /** All records as they are now. */
  zones(): Zones;
  /** Every question so far, oldest first. */
  queries: Query[];
  close(): Promise<void>;
}

export interface DnsServerOptions {
  /** A loopback address. @default 127.0.0.1 */
  host?: string;
  /** @default a free one */
  port?: number;
  /** Says in place of the records what bytes go back for a question, for tests of servers that lie; undefined leaves it to the records. */
  lie?(question: Question, query: Packet, transport: 'udp' | 'tcp'): Buffer | undefined;
}

/** RFC 1035, 4.2.1: what fits without EDNS. */
const PLAIN_UDP_LIMIT = 512;
/** The size that DNS software agreed on to avoid fragments; larger offers are cut to it. */
const EDNS_UDP_LIMIT = 1_232;
/** RFC 1035, 3.3: octets in one character-string. */
const STRING_LIMIT = 255;
const CNAME_LIMIT = 8;
const TTL_SECONDS = 1;
const CODES = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5 } as const;
/** UDP and TCP need the same number; another process may hold one of the two. */
const PORT_TRIES = 20;

/**
 * Starts the server.
 * @param zones records by name; authoritative for everything, so an unknown name is NXDOMAIN
 * @throws PermanentError `configuration.invalid` for a record it cannot read, here and in `set`
 */
export async function startDnsServer(zones: Zones, options: DnsServerOptions = {}): Promise<DnsServer> {
  const host = options.host ?? '127.0.0.1';
  const names = new Map<string, string[]>();
  const faults = new Map<string, Fault>();
  const queries: Query[] = [];
  let local = createLocalZones({});

  const set = (name: string, records: string[]) => {
    const changed = new Map(names);
    if (records.length === 0) changed.delete(keyOf(name));
    else changed.set(keyOf(name), [...records]);
    local = createLocalZones(Object.fromEntries(changed));
    names.clear();
    for (const [one, written] of changed) names.set(one, written);
  };
  for (const [name, records] of Object.entries(zones)) set(name, records);

  /** The reply to one message, or undefined where nothing is to be said. */
  const respond = (message: Buffer, transport: 'udp' | 'tcp'): Buffer | undefined => {
    const query = decode(message);
    if (query === 'ignore') return undefined;
    if (query === 'malformed') return encode({ id: message.readUInt16BE(0), questions: [] }, CODES.FORMERR, [], []);
    const [question] = query.questions ?? [];
    if (query.opcode !== 'QUERY') return encode(query, CODES.NOTIMP, [], []);
    if (!question || query.questions?.length !== 1) return encode(query, CODES.FORMERR, [], []);
    queries.push({ name: keyOf(question.name), type: question.type, transport });
    const fault = faults.get(keyOf(question.name));
    if (fault === 'silent') return undefined;
    const lie = options.lie?.(question, query, transport);
    if (lie) return lie;
    if (fault) return encode(query, fault === 'servfail' ? CODES.SERVFAIL : CODES.REFUSED, [], []);

    const found = lookUp(question);
    const reply = encode(
      query,
      found.code,
      found.answers,
      found.answers.length > 0 ? [] : [startOfAuthority(question.name)],
    );
    const truncated = transport === 'udp' && reply.length > udpLimit(query);
    return truncated ? encode(query, found.code, [], [], packet.TRUNCATED_RESPONSE) : reply;
  };

  /** Follows CNAMEs inside our own names (RFC 1034, 3.6.2). */
  const lookUp = (question: Question): { code: number; answers: Answer[] } => {
    const answers: Answer[] = [];
    let name = question.name;
    for (let hop = 0; hop <= CNAME_LIMIT; hop++) {
      const here = local.look(keyOf(name), question.type as RecordType);
      if (!here.known || !here.exists) {
        return { code: answers.length > 0 || isEmptyName(name) ? CODES.NOERROR : CODES.NXDOMAIN, answers };
      }
      for (const record of here.records) answers.push(toAnswer(name, record));
      if (here.records.length > 0 || here.alias === null) break;
      answers.push(toAnswer(name, { type: 'CNAME', value: here.alias }));
      name = here.alias;
    }
    return { code: CODES.NOERROR, answers };
  };

  /** A name with names below it exists, though it has no records (RFC 8020). */
  const isEmptyName = (name: string) => [...names.keys()].some((one) => one.endsWith(`.${keyOf(name)}`));

  const { udp, tcp, sockets } = await listen(host, options.port ?? 0, respond);
  const { port } = udp.address();
  return {
    host,
    port,
    address: `${host}:${port}`,
    set,
    fail: (name, fault) => void (fault ? faults.set(keyOf(name), fault) : faults.delete(keyOf(name))),
    zones: () => Object.fromEntries(names),
    queries,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await Promise.all([
        new Promise<void>((done) => udp.close(() => done())),
        new Promise<void>((done) => tcp.close(() => done())),
      ]);
    },
  };
}

/** Names compare without case and without the final dot (RFC 4343). */
function keyOf(name: string): string {
  return name.toLowerCase().replace(/\.$/, '');
}

/** A record as it is written, for the wire. */
function toAnswer(name: string, record: LocalRecord): Answer {
  const base = { name, ttl: TTL_SECONDS, class: 'IN' as const };
  switch (record.type) {
    case 'TXT':
      return { ...base, type: 'TXT', data: record.value.flatMap(splitString) };
    case 'MX':
      // RFC 7505: the null MX names the root.
      return {
        ...base,
        type: 'MX',
        data: { preference: record.value.priority, exchange: record.value.exchange || '.' },
      };
    default:
      return { ...base, type: record.type, data: record.value };
  }
}

function splitString(text: string): Buffer[] {
  const bytes = Buffer.from(text);
  const count = Math.max(1, Math.ceil(bytes.length / STRING_LIMIT));
  return Array.from({ length: count }, (_, index) => bytes.subarray(index * STRING_LIMIT, (index + 1) * STRING_LIMIT));
}

/** RFC 2308: what a negative answer carries, so that resolvers know how long to remember it. */
function startOfAuthority(name: string): Answer {
  const apex = keyOf(name).split('.').slice(-2).join('.') || '.';
  const data = {
    mname: 'ns.demo.test',
    rname: 'hostmaster.demo.test',
    serial: 1,
    refresh: 60,
    retry: 60,
    expire: 3_600,
    minimum: TTL_SECONDS,
  };
  return { name: apex, type: 'SOA', ttl: TTL_SECONDS, class: 'IN', data };
}

/** The types leave out what the library's decoder sets. */
type DecodedPacket = Packet & { opcode?: string };

function decode(message: Buffer): DecodedPacket | 'ignore' | 'malformed' {
  // Shorter than a header, or itself an answer: replying could start a loop.
  if (message.length < 12 || (message.readUInt16BE(2) & 0x8000) !== 0) return 'ignore';
  try {
    return packet.decode(message) as DecodedPacket;
  } catch {
    return 'malformed';
  }
}

function encode(query: Packet, code: number, answers: Answer[], authorities: Answer[], flags = 0): Buffer {
  const edns = query.additionals?.some((one) => one.type === 'OPT');
  return packet.encode({
    type: 'response',
    id: query.id,
    flags: packet.AUTHORITATIVE_ANSWER | ((query.flags ?? 0) & packet.RECURSION_DESIRED) | flags | code,
    questions: query.questions,
    answers,
    authorities,
    additionals: edns
      ? [
          {
            type: 'OPT',
            name: '.',
            udpPayloadSize: EDNS_UDP_LIMIT,
            extendedRcode: 0,
            ednsVersion: 0,
            flags: 0,
            flag_do: false,
            options: [],
          },
        ]
      : [],
  });
}

function udpLimit(query: Packet): number {
  const edns = query.additionals?.find((one) => one.type === 'OPT');
  const offered = edns && 'udpPayloadSize' in edns ? Number(edns.udpPayloadSize) : PLAIN_UDP_LIMIT;
  return Math.min(Math.max(offered, PLAIN_UDP_LIMIT), EDNS_UDP_LIMIT);
}

type Respond = (message: Buffer, transport: 'udp' | 'tcp') => Buffer | undefined;

async function listen(
  host: string,
  port: number,
  respond: Respond,
): Promise<{ udp: UdpSocket; tcp: Server; sockets: Set<Socket> }> {
  for (let attempt = 1; ; attempt++) {
    const udp = createSocket(host.includes(':') ? 'udp6' : 'udp4');
    udp.on('message', (message, from) => {
      const reply = respond(message, 'udp');
      if (reply) udp.send(reply, from.port, from.address);
    });
    const sockets = new Set<Socket>();
    const tcp = createServer((socket) => {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
      socket.on('error', () => socket.destroy());
      readMessages(socket, respond);
    });
    try {
      await new Promise<void>((done, fail) => udp.once('error', fail).bind(port, host, () => done()));
      await new Promise<void>((done, fail) => tcp.once('error', fail).listen(udp.address().port, host, () => done()));
      return { udp, tcp, sockets };
    } catch (error) {
      udp.close();
      if (port !== 0 || attempt === PORT_TRIES || (error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    }
  }
}

/** Over TCP each message has its length before it, and several may follow each other (RFC 7766, 6.2.1). */
function readMessages(socket: Socket, respond: Respond): void {
  let buffered = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    buffered = Buffer.concat([buffered, chunk]);
    while (buffered.length >= 2 && buffered.length >= 2 + buffered.readUInt16BE(0)) {
      const end = 2 + buffered.readUInt16BE(0);
      const reply = respond(buffered.subarray(2, end), 'tcp');
      buffered = buffered.subarray(end);
      if (!reply) continue;
      const length = Buffer.alloc(2);
      length.writeUInt16BE(reply.length);
      socket.write(Buffer.concat([length, reply]));
    }
  });
}
