/**
 * The local inbox: an SMTP sink on loopback that takes any recipient, so that something arrives within the first
 * minute. It verifies what it takes as any destination would, and the page /inbox shows what it found.
 */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { SMTPServer, type SMTPServerDataStream, type SMTPServerSession } from 'smtp-server';
import type { Logger } from 'pino';
import { openDependencies } from '../../activities/open.ts';
import type { Dependencies } from '../../activities/dependencies.ts';
import type { Verified } from '../../activities/mail/authenticator/port.ts';
import type { BlobRef } from '../../stores/blobs/port.ts';
import type { InboxMessage } from '../../stores/records/port.ts';
import { messageOf, PermanentError, SwitchyardError } from '../../protocols/errors.ts';
import type { RunningServer, ServerOptions } from '../server.ts';
import { withOwnKeys } from './own-keys.ts';

/** The newest are kept: this is for looking, not a mailbox. */
export const KEPT_MESSAGES = 500;
/** A seal and an SRS address make a message larger than it was: room for it over the receiver's own limit. */
const HEADROOM = 65_536;
/** Sessions at once: the dialer has its own cap below this. */
const MAX_CLIENTS = 100;
const IDLE_TIMEOUT = 60_000;
/** Sessions get this long to finish when the process is told to stop. */
const CLOSE_GRACE = 5_000;
const LOOPBACK = /^(127(?:\.\d{1,3}){3}|::1|localhost)$/;

export interface InboxServer extends RunningServer {
  port: number;
}

/** @throws PermanentError `inbox.off`, `inbox.not_loopback`, `inbox.port_taken` */
export async function startInbox({ configuration, addresses, log }: ServerOptions): Promise<InboxServer> {
  const { inbox: endpoint } = addresses;
  if (!endpoint)
    throw new PermanentError({
      code: 'inbox.off',
      message: 'The local inbox is switched off.',
      fix: 'Set inbox.enabled to true in switchyard.yaml.',
    });
  if (!LOOPBACK.test(endpoint.host)) {
    throw new PermanentError({
      code: 'inbox.not_loopback',
      message: `The local inbox takes mail for anyone and would listen on ${endpoint.host}.`,
      fix: 'Let it listen on 127.0.0.1.',
    });
  }
  const dependencies = await openDependencies(await withOwnKeys(configuration), addresses);
  const maxBytes = configuration.mail.limits.messageSize + HEADROOM;
  const server = new SMTPServer({
    name: 'inbox.switchyard.test',
    banner: 'Switchyard local inbox',
    // Loopback only: neither accounts nor TLS.
    disabledCommands: ['AUTH', 'STARTTLS'],
    disableReverseLookup: true,
    size: maxBytes,
    maxClients: MAX_CLIENTS,
    socketTimeout: IDLE_TIMEOUT,
    closeTimeout: CLOSE_GRACE,
    onData(stream, session, callback) {
      take(dependencies, log, stream, session, maxBytes).then(
        (message) => callback(null, `Taken as ${message.id}`),
        (thrown: unknown) => callback(replyTo(thrown, log)),
      );
    },
  });
  server.on('error', (thrown) => log.warn({ err: thrown }, 'inbox connection'));
  try {
    server.listen(endpoint.port, endpoint.host);
    await once(server.server, 'listening');
  } catch (thrown) {
    await dependencies.close();
    throw new PermanentError({
      code: 'inbox.port_taken',
      message: `Cannot listen on ${endpoint.host}:${endpoint.port}: ${messageOf(thrown)}`,
      fix: 'Stop what uses the port, or set inbox.port in switchyard.yaml.',
      cause: thrown,
    });
  }
  const { port } = server.server.address() as AddressInfo;
  log.info({ host: endpoint.host, port }, 'inbox listens');
  return {
    port,
    async close() {
      await new Promise<void>((resolve) => server.close(resolve));
      await dependencies.close();
    },
  };
}

/** Stores, verifies and records one message. */
async function take(
  dependencies: Dependencies,
  log: Logger,
  stream: SMTPServerDataStream,
  session: SMTPServerSession,
  maxBytes: number,
): Promise<InboxMessage> {
  const { blobs, records } = dependencies;
  const { mailFrom, rcptTo } = session.envelope;
  const sender = mailFrom ? mailFrom.address : '';
  let blob: BlobRef;
  try {
    blob = await blobs.write(stream, { prefix: 'inbox', maxBytes });
  } catch (thrown) {
    // The client sends to its final dot whatever happens here.
    stream.resume();
    throw thrown;
  }
  const owner = ownerOf(blob);
  await records.blobOwners.own(blob, owner, null);
  const verified = await verify(dependencies, log, blob, session, sender);
  const message = await records.inbox.add({
    receivedAt: new Date().toISOString(),
    sender,
    recipients: rcptTo.map(({ address }) => address),
    from: verified?.headerFrom ?? null,
    subject: verified?.subject ?? null,
    blob,
    authentication: verified?.authentication ?? null,
  });
  await forgetOld(dependencies);
  return message;
}

/** Equal bytes are one blob with one owner row, which goes when the last message with them goes. */
const ownerOf = (blob: BlobRef): string => `inbox:${blob.sha256}`;

/** The destination's own view. A message that cannot be verified is shown all the same. */
async function verify(
  { authenticator }: Dependencies,
  log: Logger,
  blob: BlobRef,
  session: SMTPServerSession,
  sender: string,
): Promise<Verified | undefined> {
  try {
    return await authenticator.verify({
      key: blob.key,
      sourceAddress: session.remoteAddress,
      helo: session.hostNameAppearsAs,
      sender,
    });
  } catch (thrown) {
    log.warn({ err: thrown, blob: blob.key }, 'the inbox could not verify a message');
    return undefined;
  }
}

async function forgetOld({ records, blobs }: Dependencies): Promise<void> {
  const removed = await records.inbox.trim(KEPT_MESSAGES);
  if (removed.length === 0) return;
  const kept = new Set((await records.inbox.list({ limit: KEPT_MESSAGES })).map(({ blob }) => blob.key));
  for (const { blob } of removed) {
    if (kept.has(blob.key)) continue;
    await records.blobOwners.disown(blob.key, ownerOf(blob));
    if (!(await records.blobOwners.isOwned(blob.key, new Date().toISOString()))) await blobs.remove(blob.key);
  }
}

/** RFC 3463: 5.3.4 for a message over the limit, 4.3.0 for trouble of ours. */
function replyTo(thrown: unknown, log: Logger): Error & { responseCode: number } {
  const tooLarge = thrown instanceof SwitchyardError && thrown.code === 'blob.too_large';
  if (!tooLarge) log.error({ err: thrown }, 'the inbox could not take a message');
  return tooLarge
    ? Object.assign(new Error('5.3.4 The message is too large'), { responseCode: 552 })
    : Object.assign(new Error('4.3.0 The inbox cannot take the message now'), { responseCode: 451 });
}
