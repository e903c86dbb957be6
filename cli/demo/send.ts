/** Sends one message as a mail server would, with a real SMTP client, and keeps every reply as it came. */
import SMTPConnection from 'nodemailer/lib/smtp-connection';
import type { Endpoint } from '../../stores/configuration/addresses.ts';
import type { Sender } from './world.ts';

export interface Submission {
  sender: Sender;
  /** '' is the null sender. */
  from: string;
  to: string[];
  message: Buffer;
  /** Declares BODY=8BITMIME. */
  eightBit?: boolean;
}

/** What the sender was told. */
export interface Told {
  /** The reply that ended the transaction: to the final dot, or the refusal that came before. */
  reply: string;
  code: number;
  /** Recipients that were refused, with their replies. */
  refused: Record<string, string>;
}

/** RFC 5321, 4.5.3.2.6: ten minutes for the final dot; a demo that waits one is stuck. */
const REPLY_TIMEOUT_MS = 60_000;

/**
 * Sends one message over a connection of its own, with STARTTLS where it is offered.
 * @throws Error when there is no SMTP conversation (connection refused, broken off, silent)
 */
export async function submit(server: Endpoint, submission: Submission): Promise<Told> {
  const { sender, from, to, message, eightBit } = submission;
  const connection = new SMTPConnection({
    host: server.host,
    port: server.port,
    name: sender.helo,
    localAddress: sender.address,
    opportunisticTLS: true,
    // The certificate may be one that the server made itself.
    tls: { rejectUnauthorized: false },
    socketTimeout: REPLY_TIMEOUT_MS,
  });
  try {
    await new Promise<void>((resolve, reject) => {
      connection.on('error', reject);
      connection.connect((error) => (error ? reject(error) : resolve()));
    });
    return await new Promise<Told>((resolve, reject) => {
      connection.on('error', reject);
      const envelope = { from: from === '' ? (false as const) : from, to, size: message.length, use8BitMime: eightBit };
      connection.send(envelope, message, (error, info) => {
        if (!error) {
          resolve({ reply: info.response, code: codeOf(info.response), refused: refusals(info.rejectedErrors) });
        } else if (error.response) {
          resolve({
            reply: error.response,
            code: codeOf(error.response),
            refused: refusals((error as Rejected).rejectedErrors),
          });
        } else {
          reject(error);
        }
      });
    });
  } finally {
    connection.quit();
    connection.close();
  }
}

/** What nodemailer's errors about recipients carry. */
interface Rejected extends Error {
  recipient?: string;
  response?: string;
  rejectedErrors?: Rejected[];
}

function refusals(errors: Rejected[] = []): Record<string, string> {
  return Object.fromEntries(errors.map(({ recipient = '', response = '' }) => [recipient, response]));
}

function codeOf(reply: string): number {
  return Number(reply.slice(0, 3));
}
