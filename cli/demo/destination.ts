/**
 * A destination for demos and tests: a mail server that takes what is delivered, verifies it as a receiver in the
 * world would (SPF, DKIM, ARC, DMARC with mailauth), keeps it byte for byte, and misbehaves on request.
 */
import { promises as dns } from 'node:dns';
import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { authenticate } from 'mailauth';
import { generate } from 'selfsigned';
import { SMTPServer } from 'smtp-server';
import type { SMTPServerAddress, SMTPServerDataStream, SMTPServerSession } from 'smtp-server';

/** What a recipient does with mail. Replies are written as on the wire: `550 5.1.1 No such user`. */
export type Behaviour =
  | { does: 'accept' }
  | { does: 'refuse'; reply?: string; at?: Stage }
  /** Refuses for the time being so many times, then goes on with `then` (default: accept). */
  | { does: 'defer'; times: number; reply?: string; at?: Stage; then?: Behaviour }
  /** Takes the message and never answers the final dot. */
  | { does: 'hang'; times?: number }
  /** Takes the message and cuts the connection instead of answering the final dot: the sender cannot know. */
  | { does: 'cut'; times?: number };
type Stage = 'rcpt' | 'data';

/** A message that was taken (or cut off after it was taken). */
export interface Arrival {
  at: Date;
  sender: string;
  recipients: string[];
  sourceAddress: string;
  helo: string;
  tls: boolean;
  /** `BODY=8BITMIME` and `SMTPUTF8` as the sender declared them. */
  eightBit: boolean;
  utf8: boolean;
  /** Exactly the bytes between DATA and the final dot. */
  raw: Buffer;
  /** Null without a DNS server to ask. */
  verdicts: Verdicts | null;
}

export interface Verdicts {
  spf: { result: string; domain: string };
  dkim: { domain: string; selector: string; result: string }[];
  arc: { result: string; instance: number };
  dmarc: { result: string; domain: string; policy: string | null };
}

export interface DestinationOptions {
  host?: string;
  port?: number;
  /** Our name in the greeting. */
  name?: string;
  /** `host:port` of the DNS server that verification asks. */
  dns?: string;
  /** By address, compared without case. */
  recipients?: Record<string, Behaviour>;
  /** For every other address, or asked anew at each of its attempts; default accept. */
  others?: Behaviour | ((recipient: string) => Behaviour);
  /** Default true: STARTTLS is offered, with a self-signed certificate. */
  tls?: boolean;
  /** Called for every arrival, after verification; the final dot is answered once it is done. */
  onArrival?(arrival: Arrival): void | Promise<void>;
}

export interface Destination {
  host: string;
  port: number;
  received: Arrival[];
  /** Attempts to deliver to an address, counted at RCPT. */
  attempts(recipient: string): number;
  /** Changes what an address does, from its next attempt on. */
  behave(recipient: string, behaviour: Behaviour): void;
  close(): Promise<void>;
}

/** 20 MB of attachment in base64, and room. */
const SIZE_LIMIT = 64 * 1_048_576;
/** A hung session holds its connection open; closing does not wait for it. */
const CLOSE_TIMEOUT_MS = 50;
const REFUSAL = '550 5.1.1 No such user here';
const DEFERRAL = '451 4.7.1 Greylisted, try again later';

/** Starts the server on loopback. */
export async function startDestination(options: DestinationOptions = {}): Promise<Destination> {
  const host = options.host ?? '127.0.0.1';
  const name = options.name ?? 'mx.destination.test';
  const behaviours = new Map(Object.entries(options.recipients ?? {}).map(([address, one]) => [keyOf(address), one]));
  const attempts = new Map<string, number>();
  const received: Arrival[] = [];
  const resolver = options.dns === undefined ? null : resolverAt(options.dns);
  /** What this attempt of an address meets, once per transaction and address. */
  const acting = new WeakMap<object, Map<string, Acting>>();

  const actingOf = (session: SMTPServerSession) => {
    const known = acting.get(session) ?? new Map<string, Acting>();
    acting.set(session, known);
    return known;
  };

  const server = new SMTPServer({
    ...(options.tls === false ? {} : await ownCertificate()),
    name,
    disabledCommands: options.tls === false ? ['AUTH', 'STARTTLS'] : ['AUTH'],
    disableReverseLookup: true,
    size: SIZE_LIMIT,
    closeTimeout: CLOSE_TIMEOUT_MS,
    // Ours are part of each reply's text; smtp-server would put its own before them.
    hideENHANCEDSTATUSCODES: true,
    onMailFrom(_address, session, done) {
      actingOf(session).clear();
      done();
    },
    onRcptTo({ address }, session, done) {
      const key = keyOf(address);
      const attempt = (attempts.get(key) ?? 0) + 1;
      attempts.set(key, attempt);
      const others = typeof options.others === 'function' ? options.others(key) : options.others;
      const now = act(behaviours.get(key) ?? others ?? { does: 'accept' }, attempt);
      actingOf(session).set(key, now);
      done(now.reply !== undefined && now.at === 'rcpt' ? replyError(now.reply) : null);
    },
    onData(stream, session, done) {
      void take(stream, session).then(
        (reply) =>
          reply === 'nothing' ? undefined : reply === null ? done(null, '2.0.0 Taken') : done(replyError(reply)),
        (error: Error) => done(error),
      );
    },
  });
  // A sender that hangs up or fails its handshake is its own matter.
  server.on('error', () => undefined);

  /** Null to accept, a reply to refuse, or nothing at all. */
  async function take(stream: SMTPServerDataStream, session: SMTPServerSession): Promise<string | null | 'nothing'> {
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    const now = [...actingOf(session).values()];
    const refusal = now.find((one) => one.at === 'data' && one.reply !== undefined);
    if (refusal) return refusal.reply as string;
    if (now.some((one) => one.ends === 'hang')) return 'nothing';
    const arrival = await arrivalOf(Buffer.concat(chunks), session, resolver);
    received.push(arrival);
    await options.onArrival?.(arrival);
    if (!now.some((one) => one.ends === 'cut')) return null;
    socketOf(server, session)?.destroy();
    return 'nothing';
  }

  server.listen(options.port ?? 0, host);
  await once(server.server, 'listening');
  return {
    host,
    port: (server.server.address() as AddressInfo).port,
    received,
    attempts: (recipient) => attempts.get(keyOf(recipient)) ?? 0,
    behave: (recipient, behaviour) => {
      attempts.delete(keyOf(recipient));
      behaviours.set(keyOf(recipient), behaviour);
    },
    close: () => new Promise((done) => server.close(() => done())),
  };
}

let certificate: Promise<{ key: string; cert: string }> | undefined;

/** One for all destinations of this process: making its key takes a while, and nobody compares the name. */
function ownCertificate(): Promise<{ key: string; cert: string }> {
  certificate ??= generate([{ name: 'commonName', value: 'mx.destination.test' }], {
    keySize: 2048,
    algorithm: 'sha256',
  }).then((made) => ({ key: made.private, cert: made.cert }));
  return certificate;
}

/** One attempt: a reply at a stage, or an end without one. */
interface Acting {
  at: Stage;
  reply?: string;
  ends?: 'hang' | 'cut';
}

function act(behaviour: Behaviour, attempt: number): Acting {
  switch (behaviour.does) {
    case 'accept':
      return { at: 'rcpt' };
    case 'refuse':
      return { at: behaviour.at ?? 'rcpt', reply: behaviour.reply ?? REFUSAL };
    case 'defer':
      if (attempt > behaviour.times) return act(behaviour.then ?? { does: 'accept' }, attempt - behaviour.times);
      return { at: behaviour.at ?? 'rcpt', reply: behaviour.reply ?? DEFERRAL };
    case 'hang':
    case 'cut':
      return attempt > (behaviour.times ?? Infinity) ? { at: 'rcpt' } : { at: 'data', ends: behaviour.does };
  }
}

function keyOf(address: string): string {
  return address.normalize('NFC').toLowerCase();
}

function replyError(reply: string): Error {
  const [, code = '451', text = ''] = /^(\d{3}) (.*)$/s.exec(reply) ?? [];
  return Object.assign(new Error(text), { responseCode: Number(code) });
}

function resolverAt(server: string): dns.Resolver {
  const resolver = new dns.Resolver({ timeout: 2_000, tries: 2 });
  resolver.setServers([server]);
  return resolver;
}

/** smtp-server knows its open connections; the session shares its connection's id. */
function socketOf(server: SMTPServer, session: SMTPServerSession): Socket | undefined {
  for (const connection of server.connections as Set<{ id: string; _socket: Socket }>) {
    if (connection.id === session.id) return connection._socket;
  }
  return undefined;
}

async function arrivalOf(raw: Buffer, session: SMTPServerSession, resolver: dns.Resolver | null): Promise<Arrival> {
  // smtp-server 3.21 keeps the parameters here; its types lag behind.
  const envelope = session.envelope as typeof session.envelope & { bodyType?: string; smtpUtf8?: boolean };
  const sender = (envelope.mailFrom as SMTPServerAddress | false) || { address: '' };
  const about = { sender: sender.address, helo: session.hostNameAppearsAs, sourceAddress: session.remoteAddress };
  return {
    ...about,
    at: new Date(),
    recipients: envelope.rcptTo.map((one) => one.address),
    tls: session.secure,
    eightBit: envelope.bodyType === '8bitmime',
    utf8: envelope.smtpUtf8 === true,
    raw,
    verdicts: resolver && (await verify(raw, about, resolver)),
  };
}

async function verify(
  raw: Buffer,
  about: { sender: string; helo: string; sourceAddress: string },
  resolver: dns.Resolver,
): Promise<Verdicts> {
  const found = await authenticate(raw, {
    ip: about.sourceAddress,
    helo: about.helo,
    sender: about.sender,
    mta: 'mx.destination.test',
    strict: true,
    disableBimi: true,
    resolver: (name, type) => resolver.resolve(name, type) as Promise<string[]>,
  });
  return {
    spf: found.spf ? { result: found.spf.status.result, domain: found.spf.domain } : { result: 'none', domain: '' },
    dkim: found.dkim.results
      .filter((one) => one.signingDomain !== undefined)
      .map((one) => ({ domain: one.signingDomain ?? '', selector: one.selector ?? '', result: one.status.result })),
    arc: found.arc ? { result: found.arc.status.result, instance: found.arc.i || 0 } : { result: 'none', instance: 0 },
    dmarc: found.dmarc
      ? { result: found.dmarc.status.result, domain: found.dmarc.domain, policy: found.dmarc.policy ?? null }
      : { result: 'none', domain: '', policy: null },
  };
}
