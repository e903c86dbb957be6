/** The SMTP receiver: RFC 5321 with STARTTLS, SIZE, 8BITMIME, SMTPUTF8, ENHANCEDSTATUSCODES and PIPELINING. */
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  SMTPServer,
  type SMTPServerAddress,
  type SMTPServerDataStream,
  type SMTPServerError,
  type SMTPServerOptions,
  type SMTPServerSession,
} from 'smtp-server';
import { openDependencies, type OpenDependencies } from '../../activities/open.ts';
import { routeRecipient } from '../../activities/mail/decide.ts';
import { parseAddress } from '../../protocols/mail/address.ts';
import { protocolName } from '../../protocols/mail/received.ts';
import { messageOf, PermanentError } from '../../protocols/errors.ts';
import type { RunningServer, ServerOptions } from '../server.ts';
import { lazyTemporal } from '../temporal.ts';
import { newRecord, receive, type Reception, type Transaction } from './receive.ts';
import { readDataOf } from './data-stream.ts';
import { limitCommands, watchRate } from './patience.ts';
import { Dripping, Flood, localTrouble, replyError, replyLines, replyOf } from './reply.ts';
import { endOfFull, OVER_QUOTA, recordFull, refuseFull } from './report-quota.ts';
import { certificateFor } from './tls.ts';
import { serveMetrics } from '../metrics.ts';
import { answers, dataSeconds, refusedRecipients, sessions } from './metrics.ts';

/** How long sessions in progress may finish after a stop was asked for; below the grace time of the process. */
const CLOSE_GRACE = 20_000;
/** Of it, for what a session could not deliver to become a run, so that its sender hears a 250 and is not cut off. */
const HAND_OVER = 3_000;

/** What we remember of a session beside what smtp-server does. */
interface SessionState {
  /** By the recipient as the client wrote it, in lower case. */
  recipients: Map<string, Transaction['recipients'][number]>;
  errors: number;
  transactions: number;
  /** TLS version; the cipher's own name for it is that of the oldest version that has the cipher. */
  tlsVersion: string | null;
}

export async function startSmtp({ configuration, addresses, log }: ServerOptions): Promise<RunningServer> {
  const dependencies = await openDependencies(configuration, addresses);
  const client = lazyTemporal(configuration, addresses);
  const ending = new AbortController();
  const reception: Reception = {
    ...{ dependencies, client, log, pending: new Map(), underWay: new Map() },
    ending: ending.signal,
  };
  const { limits } = configuration.mail;
  const states = new WeakMap<SMTPServerSession, SessionState>();
  const perAddress = new Map<string, number>();
  /** Sessions in the middle of a message: they finish it before a stop. */
  const busy = new Set<string>();
  const stateOf = (session: SMTPServerSession): SessionState => {
    let state = states.get(session);
    if (!state) states.set(session, (state = { recipients: new Map(), errors: 0, transactions: 0, tlsVersion: null }));
    return state;
  };

  const server = new ReplyingServer(limits.commands, {
    name: configuration.hostname,
    banner: 'Switchyard',
    ...(await certificateFor(configuration)),
    size: limits.messageSize,
    rejectOversized: true,
    maxClients: limits.connections,
    maxRecipients: limits.recipients,
    socketTimeout: limits.idle,
    closeTimeout: CLOSE_GRACE,
    // The last three are jokes of old servers, which smtp-server tells too.
    disabledCommands: ['AUTH', 'WIZ', 'SHELL', 'KILL'],
    authOptional: true,
    disableReverseLookup: true,
    hideENHANCEDSTATUSCODES: false,
    hideDSN: true,
    hideREQUIRETLS: true,
    logger: false,
    onConnect(session, callback) {
      stateOf(session);
      const open = (perAddress.get(session.remoteAddress) ?? 0) + 1;
      perAddress.set(session.remoteAddress, open);
      sessions.inc();
      if (open > limits.connectionsPerAddress)
        return callback(
          replyError({ code: 421, enhanced: '4.7.0', text: `Too many connections from ${session.remoteAddress}` }),
        );
      callback();
    },
    onSecure(socket, session, callback) {
      stateOf(session).tlsVersion = 'getProtocol' in socket ? socket.getProtocol() : null;
      callback();
    },
    onClose(session) {
      // Who left before the greeting, or was one too many, was never counted.
      if (!states.has(session)) return;
      sessions.dec();
      busy.delete(session.id);
      const open = (perAddress.get(session.remoteAddress) ?? 1) - 1;
      if (open > 0) perAddress.set(session.remoteAddress, open);
      else perAddress.delete(session.remoteAddress);
    },
    onMailFrom(address, session, callback) {
      stateOf(session).recipients.clear();
      callback(senderProblem(address));
    },
    onRcptTo(address, session, callback) {
      void recipient(address.address, session).then(callback, (thrown: unknown) => {
        log.error({ session: session.id, error: messageOf(thrown) }, 'the rules could not be asked: 451');
        callback(replyError(localTrouble('The recipient cannot be looked up now, please try again')));
      });
    },
    onData(stream, session, callback) {
      const measured = dataSeconds.startTimer();
      busy.add(session.id);
      void data(stream, session)
        .catch((thrown: unknown) =>
          thrown instanceof Error && 'responseCode' in thrown ? thrown : troubled(thrown, session),
        )
        .then((end) => {
          measured();
          busy.delete(session.id);
          answers.inc({ code: typeof end === 'string' ? 250 : Number((end as SMTPServerError).responseCode) });
          if (typeof end === 'string') callback(null, end);
          else if (end instanceof Flood) shutOut(session, end);
          else callback(end);
        });
    },
  });
  server.on('error', (error) => log.warn({ error: messageOf(error) }, 'session error'));

  async function recipient(address: string, session: SMTPServerSession): Promise<Error | undefined> {
    const state = stateOf(session);
    const route = await routeRecipient(address, dependencies);
    const transaction = { ...connection(session, state), id: transactionId(session, state) };
    const full = await refuseFull(route, dependencies);
    if (full && route.kind === 'dmarc') {
      const end = endOfFull(full);
      await recordFull(newRecord(transaction, { address, route }, { blob: null, verified: null, end }), dependencies);
      refusedRecipients.inc({ code: OVER_QUOTA });
      log.warn({ session: session.id, recipient: address, reply: full }, 'recipient refused for now');
      return replyError(full);
    }
    if (route.kind !== 'unknown') {
      const whole = address.includes('@') ? address : `${address}@${route.domain}`;
      state.recipients.set(address.toLowerCase(), { address: whole, route });
      return undefined;
    }
    state.errors += 1;
    refusedRecipients.inc({ code: route.code });
    const end = {
      outcome: 'rejected' as const,
      errorCode: route.code,
      errorText: route.reply.text,
      reply: route.reply,
    };
    await dependencies.records.activity.open([
      newRecord(transaction, { address, route: null }, { blob: null, verified: null, end }),
    ]);
    log.info({ session: session.id, recipient: address, code: route.code }, 'recipient refused');
    if (state.errors >= limits.errors)
      return replyError({ code: 421, enhanced: '4.7.0', text: 'Too many errors, closing the connection' });
    return replyError(route.reply);
  }

  async function data(stream: SMTPServerDataStream, session: SMTPServerSession): Promise<string> {
    const state = stateOf(session);
    const id = transactionId(session, state);
    state.transactions += 1;
    // `postmaster` and `postmaster@example.com` may be one recipient.
    const byAddress = new Map([...state.recipients.values()].map((one) => [one.address.toLowerCase(), one]));
    const pace = { bytesPerSecond: limits.dataRate, grace: limits.idle };
    const endWatch = watchRate(stream, pace, () => shutOut(session, new Dripping(limits.dataRate)));
    return receive(
      stream,
      { ...connection(session, state), id, recipients: [...byAddress.values()] },
      reception,
    ).finally(endWatch);
  }

  /** In the middle of a message there is no reply: what is said is the last word. */
  function shutOut(session: SMTPServerSession, end: Flood | Dripping): void {
    for (const connection of server.connections) {
      if (connection.id !== session.id) continue;
      connection.send(end.responseCode, end.message);
      connection.close();
    }
  }

  function troubled(thrown: unknown, session: SMTPServerSession): Error {
    const reply = replyOf(thrown);
    if (!(thrown instanceof PermanentError))
      log.error({ session: session.id, error: messageOf(thrown), reply }, 'the message was not taken');
    return replyError(reply);
  }

  const metrics = await serveMetrics(addresses.smtpMetrics, log);
  await listen(server, addresses.smtp.port, addresses.smtp.host);
  return {
    async close() {
      const closed = new Promise<void>((resolve) => server.close(resolve));
      // Who is between two messages can go at once and come back to the next process.
      for (const connection of server.connections)
        if (!busy.has(connection.id)) connection.send(421, '4.3.2 Shutting down');
      const late = setTimeout(() => ending.abort(), CLOSE_GRACE - HAND_OVER);
      await closed;
      clearTimeout(late);
      // A delivery goes on when its client has hung up.
      ending.abort();
      await Promise.race([
        Promise.allSettled(reception.underWay.values()),
        sleep(HAND_OVER, undefined, { ref: false }),
      ]);
      await metrics.close();
      await (dependencies as OpenDependencies).close();
      await client.connection.close();
    },
  };
}

function connection(session: SMTPServerSession, { tlsVersion }: SessionState) {
  return {
    sourceAddress: session.remoteAddress,
    helo: session.hostNameAppearsAs || session.remoteAddress,
    tls: session.tlsOptions ? `${tlsVersion ?? session.tlsOptions.version} ${session.tlsOptions.name}` : null,
    protocol: protocolName({
      extended: session.openingCommand !== 'HELO',
      tls: session.secure,
      utf8: session.envelope.smtpUtf8 === true,
    }),
    sender: session.envelope.mailFrom ? session.envelope.mailFrom.address : '',
  };
}

const transactionId = (session: SMTPServerSession, state: SessionState): string =>
  `${session.id}.${state.transactions + 1}`;

function senderProblem({ address }: SMTPServerAddress): Error | undefined {
  if (address === '') return undefined;
  try {
    parseAddress(address);
    return undefined;
  } catch (thrown) {
    return replyError({ code: 553, enhanced: '5.1.7', text: messageOf(thrown) });
  }
}

function listen(server: SMTPServer, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.server.once('error', reject);
    server.listen(port, host, () => {
      server.server.off('error', reject);
      resolve();
    });
  });
}

/** RFC 3463 code at the start of a reply's text. */
const OWN_ENHANCED = /^[245]\.\d{1,3}\.\d{1,3} /;

/**
 * smtp-server derives the enhanced code from the basic code alone; where a reply brings its own, that one is sent. And
 * the message is read our way.
 */
class ReplyingServer extends SMTPServer {
  readonly #commands: number;

  /** @param commands that a session may send without a message */
  constructor(commands: number, options: SMTPServerOptions) {
    super(options);
    this.#commands = commands;
  }

  override connect(socket: Socket, options?: Parameters<SMTPServer['connect']>[1]): void {
    super.connect(socket, options);
    const connection = [...this.connections].at(-1);
    if (!connection) return;
    const send = connection.send.bind(connection);
    connection.send = (code, text, context) => {
      const own = typeof text === 'string' ? OWN_ENHANCED.exec(text)?.[0] : undefined;
      if (own === undefined || typeof text !== 'string') return send(code, text, context);
      send(code, replyLines(text, own), false);
    };
    limitCommands(connection, this.#commands);
    readDataOf(connection, () => {
      // Whoever does not wait speaks to several servers at once, or in the name of another program.
      connection.send(503, '5.5.1 The message comes after the answer to DATA (RFC 2920, 3.1)');
      connection.close();
    });
  }
}
