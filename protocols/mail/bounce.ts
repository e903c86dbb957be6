/**
 * Delivery status notifications: multipart/report (RFC 6522) with message/delivery-status (RFC 3464), or their
 * internationalised forms where an address is not ASCII (RFC 6533). The report goes out from the null sender
 * (RFC 5321, 4.5.5), which is the envelope's, and so the caller's, matter.
 */
import { createHash } from 'node:crypto';
import { foldField, formatDate, safeText, MAX_LINE } from './header.ts';

export interface DeliveryFailure {
  /** The recipient as the sender wrote it. */
  originalRecipient: string;
  /** Where the delivery went. */
  finalRecipient: string;
  action: 'failed' | 'delayed';
  /** RFC 3463, such as `5.1.1`. */
  status: string;
  /** The reply of the other side in one line, or our reason. */
  diagnostic: string;
  /** Host that gave it; null or absent when the reason is ours. */
  remoteMta?: string | null;
  lastAttempt?: Date;
}

export interface BounceFacts {
  /** Our host name. */
  reportingMta: string;
  /** Address that the report is from, such as `MAILER-DAEMON@example.com`. */
  from: string;
  /** Envelope sender of the message, who gets the report. */
  sender: string;
  /** With its angle brackets. */
  messageId: string;
  date: Date;
  /** When the message came in. */
  arrivalDate: Date;
  /** At least one. */
  failures: DeliveryFailure[];
  /** The header section of the message, whole or cut; its body never goes back. */
  originalHeader: Buffer;
  /** One more sentence for the person, such as why it was given up. */
  reason?: string;
}

/** The report as a message: CRLF line ends, lines of at most 998 octets; 8-bit only when the sender's address is. */
export function buildBounce(given: BounceFacts): Buffer {
  const facts = madeSafe(given);
  const header = returnedHeader(facts.originalHeader);
  const utf8Addresses =
    facts.failures.some((failure) => NON_ASCII.test(failure.originalRecipient + failure.finalRecipient)) ||
    NON_ASCII.test(facts.sender);
  const utf8Header = header.some((byte) => byte > 127);
  const boundary = boundaryOf(facts);

  const top = [
    foldField('From', `Mail Delivery System <${facts.from}>`),
    foldField('To', `<${facts.sender}>`),
    foldField(
      'Subject',
      facts.failures.every((failure) => failure.action === 'delayed') ? 'Delivery delayed' : 'Message not delivered',
    ),
    foldField('Date', formatDate(facts.date)),
    foldField('Message-ID', facts.messageId),
    inReplyTo(header),
    // RFC 3834, 5: no automatic answer to this.
    foldField('Auto-Submitted', 'auto-replied'),
    foldField('MIME-Version', '1.0'),
    `Content-Type: multipart/report; report-type=${utf8Addresses ? 'global-delivery-status' : 'delivery-status'};\r\n boundary="${boundary}"\r\n`,
  ].join('');

  // RFC 6533, 8: encoded where it goes through plain SMTP. Only a sender in UTF-8 needs SMTPUTF8 anyway, so that a
  // report about an 8-bit subject still reaches a server without it.
  const wide = NON_ASCII.test(facts.sender) ? '8bit' : 'quoted-printable';
  const parts = [
    part('text/plain; charset=utf-8', 'quoted-printable', Buffer.from(explanation(facts)), 'Notification'),
    utf8Addresses
      ? part('message/global-delivery-status', wide, Buffer.from(status(facts, true)), 'Delivery report')
      : part('message/delivery-status', '7bit', Buffer.from(status(facts, false)), 'Delivery report'),
    utf8Header
      ? part('message/global-headers', wide, header, 'Header of the message')
      : part('text/rfc822-headers', '7bit', header, 'Header of the message'),
  ];
  return Buffer.concat([
    Buffer.from(`${top}\r\nThis is a delivery report in MIME format.\r\n`),
    ...parts.flatMap((body) => [Buffer.from(`\r\n--${boundary}\r\n`), body]),
    Buffer.from(`\r\n--${boundary}--\r\n`),
  ]);
}

const NON_ASCII = /[^\u0000-\u007f]/;
const MAX_ADDRESS = 320;
const MAX_TEXT = 500;
/** Together with field name and folds under 998 octets a line, whatever the characters. */
const MAX_DIAGNOSTIC = 800;

/** Every text as one line without controls, once, so that nothing after this has to think of it. */
function madeSafe(facts: BounceFacts): BounceFacts {
  return {
    ...facts,
    reportingMta: safeText(facts.reportingMta, MAX_ADDRESS),
    from: safeText(facts.from, MAX_ADDRESS),
    sender: safeText(facts.sender, MAX_ADDRESS),
    messageId: safeText(facts.messageId, MAX_TEXT),
    reason: facts.reason && safeText(facts.reason, MAX_TEXT),
    failures: facts.failures.map((failure) => ({
      ...failure,
      originalRecipient: safeText(failure.originalRecipient, MAX_ADDRESS),
      finalRecipient: safeText(failure.finalRecipient, MAX_ADDRESS),
      diagnostic: safeText(failure.diagnostic, MAX_DIAGNOSTIC),
      remoteMta: failure.remoteMta && safeText(failure.remoteMta, MAX_ADDRESS),
    })),
  };
}

/** RFC 2046, 5.1.1: no line of a part may be the boundary. A hash of everything that goes in cannot stand in it. */
function boundaryOf(facts: BounceFacts): string {
  const everything = JSON.stringify([facts.messageId, facts.date, facts.failures, facts.sender, facts.reason ?? '']);
  return `report_${createHash('sha256').update(everything).update(facts.originalHeader).digest('hex').slice(0, 40)}`;
}

function part(type: string, encoding: '7bit' | '8bit' | 'quoted-printable', body: Buffer, description: string): Buffer {
  return Buffer.concat([
    Buffer.from(
      `Content-Description: ${description}\r\nContent-Type: ${type}\r\nContent-Transfer-Encoding: ${encoding}\r\n\r\n`,
    ),
    encoding === 'quoted-printable' ? Buffer.from(quotedPrintable(body)) : body,
  ]);
}

/** The part that a person reads first: what happened, to whom, why, what next. */
function explanation(facts: BounceFacts): string {
  const failed = facts.failures.filter((failure) => failure.action === 'failed');
  const blocks = facts.failures.map((failure) => {
    const remote = failure.remoteMta ? `\n    ${failure.remoteMta} said:` : '';
    return `  ${failure.originalRecipient}${remote}\n    ${failure.diagnostic}\n`;
  });
  const lines =
    failed.length > 0
      ? [
          `Your message of ${formatDate(facts.arrivalDate)} could not be delivered to:`,
          '',
          ...blocks,
          'It will not be tried again.',
        ]
      : [
          `Your message of ${formatDate(facts.arrivalDate)} has not been delivered yet to:`,
          '',
          ...blocks,
          'It will be tried again; you need not do anything.',
        ];
  if (facts.reason) lines.push('', facts.reason);
  if (failed.length > 0)
    lines.push('', 'If the address is right, show the reason above to the people who run the receiving mail system.');
  lines.push('', `This report was written by the mail system at ${facts.reportingMta}.`);
  return `${lines.join('\n')}\n`.replaceAll('\n', '\r\n');
}

/** RFC 3464, 2: a block about the message, then a block for each recipient. */
function status(facts: BounceFacts, utf8: boolean): string {
  const message = [
    foldField('Reporting-MTA', `dns; ${facts.reportingMta}`),
    foldField('Arrival-Date', formatDate(facts.arrivalDate)),
  ].join('');
  const recipients = facts.failures.map((failure) =>
    [
      foldField('Original-Recipient', typedAddress(failure.originalRecipient)),
      foldField('Final-Recipient', typedAddress(failure.finalRecipient)),
      foldField('Action', failure.action),
      foldField(
        'Status',
        /^[245]\.\d{1,3}\.\d{1,3}$/.test(failure.status)
          ? failure.status
          : failure.action === 'failed'
            ? '5.0.0'
            : '4.0.0',
      ),
      failure.remoteMta ? foldField('Remote-MTA', `dns; ${failure.remoteMta}`) : '',
      foldField(
        'Diagnostic-Code',
        `${failure.remoteMta ? 'smtp' : 'X-Switchyard'}; ${diagnosticText(failure.diagnostic, utf8)}`,
      ),
      failure.lastAttempt ? foldField('Last-Attempt-Date', formatDate(failure.lastAttempt)) : '',
    ].join(''),
  );
  return [message, ...recipients].join('\r\n');
}

/** RFC 3464, 2.3.1 and RFC 6533, 3: `rfc822;` for ASCII, `utf-8;` for the rest. */
function typedAddress(address: string): string {
  return `${NON_ASCII.test(address) ? 'utf-8' : 'rfc822'}; ${address}`;
}

/** message/delivery-status is 7-bit; a server's text in another script is readable in the first part. */
function diagnosticText(text: string, utf8: boolean): string {
  return utf8 ? text : text.replace(/[^\u0000-\u007f]/gu, '?');
}

/** The header as it came, in whole lines that a message may hold: CRLF only, at most 998 octets, no NUL, no empty line. */
function returnedHeader(original: Buffer): Buffer {
  const lines = original
    .toString('latin1')
    .split(/\r\n|\r|\n/)
    .filter((line) => line.trim() !== '')
    .map((line) => line.replaceAll('\0', '').slice(0, MAX_LINE));
  const bytes = Buffer.from(lines.map((line) => `${line}\r\n`).join(''), 'latin1');
  // What is neither ASCII nor UTF-8 cannot be labelled: RFC 6532 headers are UTF-8.
  return isUtf8(bytes) ? bytes : Buffer.from(bytes.toString('latin1').replace(/[^\t\r\n -~]/g, '?'), 'latin1');
}

function isUtf8(bytes: Buffer): boolean {
  return !bytes.toString('utf8').includes('\uFFFD');
}

/** Threads the report under the message where its id is known. */
function inReplyTo(header: Buffer): string {
  const id = /^message-id:[ \t]*(?:\r\n[ \t]+)?(<[\x21-\x3b=\x3f-\x7e]{1,250}>)/im.exec(header.toString('latin1'))?.[1];
  return id ? foldField('In-Reply-To', id) + foldField('References', id) : '';
}

/** RFC 2045, 6.7: lines of at most 76 characters; the line ends of `text` are CRLF. */
function quotedPrintable(text: Buffer): string {
  return text
    .toString('latin1')
    .split('\r\n')
    .map((line) => {
      const units =
        line
          .replace(/[^ -<>-~]| $/g, (char) => `=${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`)
          .match(/=..|./g) ?? [];
      const lines = [''];
      for (const unit of units) {
        if (lines.at(-1)!.length + unit.length > 75) {
          lines[lines.length - 1] += '=';
          lines.push('');
        }
        lines[lines.length - 1] += unit;
      }
      return lines.join('\r\n');
    })
    .join('\r\n');
}
