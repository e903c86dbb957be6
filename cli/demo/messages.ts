/**
 * Messages as they come in the world: signed, sealed by intermediaries, forged, 8-bit, internationalised, large.
 * Every maker returns complete RFC 5322 bytes with CRLF line ends.
 */
import { randomUUID } from 'node:crypto';
import { authenticate, dkimSign, sealMessage, type DNSResolver } from 'mailauth';
import type { DemoKey, Sender } from './world.ts';

export interface MessageParts {
  from: string;
  to: string;
  subject: string;
  /** Lines of the body; bytes are taken as they are. */
  body?: string | Buffer;
  /** More header lines, without line ends. */
  header?: string[];
}

const CRLF = '\r\n';
const TEXT = 'Content-Type: text/plain; charset=utf-8';

/** An unsigned message. */
export function compose({
  from,
  to,
  subject,
  body = 'Hello,\r\n\r\nthis is a test.\r\n',
  header = [TEXT],
}: MessageParts): Buffer {
  const domain = from.replace(/^.*@/, '').replace(/[^\w.-].*$/, '') || 'demo.test';
  const lines = [
    `From: ${from}`,
    `To: ${to}`,
    `Subject: ${subject}`,
    `Date: ${new Date().toUTCString().replace('GMT', '+0000')}`,
    `Message-ID: <${randomUUID()}@${domain}>`,
    'MIME-Version: 1.0',
    ...header,
  ];
  return Buffer.concat([Buffer.from(lines.join(CRLF) + CRLF + CRLF), Buffer.from(body)]);
}

/** The message with the domain's DKIM signature on top (RFC 6376). */
export async function signed(message: Buffer, key: DemoKey): Promise<Buffer> {
  const signature = { signingDomain: key.domain, selector: key.selector, privateKey: key.privateKey };
  const { signatures, errors } = await dkimSign(message, { ...signature, signatureData: [signature], strict: true });
  // mailauth returns its signing errors: unchecked, the message would go out unsigned.
  if (!signatures) throw new Error(`could not sign for ${key.domain}: ${JSON.stringify(errors)}`);
  return Buffer.concat([Buffer.from(signatures), message]);
}

/** A host that takes a message, may change it, and passes it on with its ARC set (RFC 8617, 5.1). */
export interface Intermediary {
  /** Where the message came from. */
  from: Sender;
  envelopeSender: string;
  /** Our name in Authentication-Results. */
  host: string;
  key: DemoKey;
  /** Changes the message after it was verified, as a mailing list does. */
  change?(message: Buffer): Buffer;
}

/**
 * Passes a message through an intermediary that really verifies and really seals.
 * @param resolver asks the demo's DNS
 */
export async function through(message: Buffer, hop: Intermediary, resolver: DNSResolver): Promise<Buffer> {
  const found = await authenticate(message, {
    ip: hop.from.address,
    helo: hop.from.helo,
    sender: hop.envelopeSender,
    mta: hop.host,
    strict: true,
    disableBimi: true,
    resolver,
  });
  const cv = found.arc ? found.arc.status.result : 'none';
  const received = `Received: from ${hop.from.helo} ([${hop.from.address}])${CRLF}\tby ${hop.host} with ESMTP; ${new Date().toUTCString().replace('GMT', '+0000')}${CRLF}`;
  const changed = Buffer.concat([Buffer.from(received), hop.change ? hop.change(message) : message]);
  const seal = await sealMessage(changed, {
    signingDomain: hop.key.domain,
    selector: hop.key.selector,
    privateKey: hop.key.privateKey,
    cv: cv === 'pass' ? 'pass' : cv === 'none' ? 'none' : 'fail',
    authResults: found.arc ? (found.arc.authResults ?? '') : '',
    strict: true,
  });
  if (seal.length === 0) throw new Error(`could not seal for ${hop.key.domain}`);
  return Buffer.concat([seal, changed]);
}

/** What mailing lists do: a tag in the subject and a footer, which breaks the author's signature. */
export function asMailingList(message: Buffer): Buffer {
  const text = message.toString('latin1').replace(/^Subject: /m, 'Subject: [list] ');
  return Buffer.from(`${text}-- ${CRLF}You get this as a subscriber of the list.${CRLF}`, 'latin1');
}

/** UTF-8 text as it is, sent as 8BITMIME (RFC 6152). */
export const EIGHT_BIT = {
  header: [TEXT, 'Content-Transfer-Encoding: 8bit'],
  body: 'Grüße aus Köln, žluťoučký kůň, 日本語.\r\n',
};

/**
 * A message with a text attachment of so many bytes. It is not base64, which would make more than the usual limit of
 * 25 MiB out of 20 MB.
 */
export function withAttachment(size: number): Pick<MessageParts, 'header' | 'body'> {
  const boundary = 'demo-boundary';
  const row = 'time;source;bytes;status;path;agent;2026-11-24T08:00:00Z;192.0.2.1;512;200;/;curl\r\n';
  const attachment = Buffer.alloc(size, row);
  // The last line is cut wherever the size falls; it must not end in a bare CR.
  if (attachment.at(-1) === 13) attachment[size - 1] = 32;
  return {
    header: [`Content-Type: multipart/mixed; boundary=${boundary}`],
    body: Buffer.concat([
      Buffer.from(
        [`--${boundary}`, TEXT, '', 'The log is attached.', `--${boundary}`].join(CRLF) +
          CRLF +
          [
            'Content-Type: text/csv; charset=us-ascii',
            'Content-Disposition: attachment; filename=log.csv',
            '',
            '',
          ].join(CRLF),
      ),
      attachment,
      Buffer.from(`${CRLF}--${boundary}--${CRLF}`),
    ]),
  };
}

/** Header block and body of a message, without the empty line between them. */
export function split(message: Buffer): { header: Buffer; body: Buffer } {
  const end = message.indexOf('\r\n\r\n');
  return end === -1
    ? { header: message, body: Buffer.alloc(0) }
    : { header: message.subarray(0, end + 2), body: message.subarray(end + 4) };
}
