/**
 * The sender: `smtp-source` hands messages to a postfix, which keeps each on its disk until it has a 250 or a 5xx for
 * it, as senders do. What it was told stands in its log, which is read while it runs.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../../../cli/up/ports.ts';
import { startPostfix } from '../../support/postfix.ts';

/** The end of one attempt for one recipient. */
export interface Attempt {
  /** ms since the epoch, when its line was seen. */
  at: number;
  /** ms that the transaction took, to its answer. */
  took: number;
  /** With its angle brackets. */
  messageId: string;
  recipient: string;
  /** `sent` is a 250, `refused` a 5xx; after anything else it comes again. */
  end: 'sent' | 'deferred' | 'refused';
  /** What the sender was told, or what happened. */
  text: string;
}

/** A stream of messages to one recipient, or to several at once. */
export interface Load {
  /** With several in a transaction a number goes before the others: `team@`, `2team@`, `3team@`. */
  to: string;
  recipients?: number;
  messages: number;
  /** Bytes of the body. */
  size: number;
}

export interface Sender {
  attempts: Attempt[];
  /** Messages that are in its queue, or were. */
  taken(): number;
  /** Messages that have left its queue: each recipient was told 250 or 5xx. */
  finished(): number;
  /** Resolves when all of them are in the queue. @param seconds about the time to take for it */
  submit(loads: Load[], seconds: number): Promise<void>;
  close(): void;
}

const READ_EVERY_MS = 50;
/** Waits between two attempts. */
const RETRY = { minimal_backoff_time: '2s', maximal_backoff_time: '4s', queue_run_delay: '2s' };
const SESSIONS = '20';

/**
 * @param options.relay who gets the mail
 * @param options.from envelope sender
 * @param options.source local address of its connections; `helo` its name in EHLO
 */
export async function startSender(
  folder: string,
  options: { relay: { host: string; port: number }; from: string; source: string; helo: string },
): Promise<Sender> {
  const { relay, from } = options;
  const port = await freePort('127.0.0.1');
  const log = join(folder, 'mail.log');
  const postfix = startPostfix(folder, port, {
    myhostname: options.helo,
    mynetworks: '127.0.0.0/8',
    smtpd_relay_restrictions: 'permit_mynetworks, reject',
    relayhost: `[${relay.host}]:${relay.port}`,
    // Its own reports go nowhere: what the senders of the world do with a 5xx is theirs.
    transport_maps: `inline:{ { ${from.slice(from.indexOf('@') + 1)} = discard: } }`,
    smtp_bind_address: options.source,
    smtp_helo_name: options.helo,
    smtp_tls_security_level: 'none',
    smtp_destination_concurrency_limit: SESSIONS,
    initial_destination_concurrency: SESSIONS,
    // A host that is away is asked again at once, and not taken for dead.
    smtp_destination_concurrency_failed_cohort_limit: '0',
    smtp_destination_concurrency_negative_feedback: '0',
    ...RETRY,
    // Queue ids that never come again.
    enable_long_queue_ids: 'yes',
    maillog_file: log,
    maillog_file_prefixes: folder,
  });
  const reader = readLog(log);
  const timer = setInterval(reader.read, READ_EVERY_MS);
  let closed = false;
  return {
    attempts: reader.attempts,
    taken: () => reader.ids.size,
    finished: () => reader.finished.size,
    async submit(loads, seconds) {
      await Promise.all(
        loads.map(async ({ to, recipients = 1, messages, size }) => {
          const wait = Math.max(1, Math.round(seconds / messages));
          const several = recipients > 1 ? ['-r', String(recipients)] : [];
          const args = ['-f', from, '-t', to, '-l', String(size), '-m', String(messages), '-w', String(wait)];
          const child = spawn(
            'smtp-source',
            [...args, ...several, '-M', options.helo, '-S', 'Fault run', `127.0.0.1:${port}`],
            {
              stdio: ['ignore', 'ignore', 'inherit'],
            },
          );
          const [status] = (await once(child, 'exit')) as [number | null];
          if (status !== 0) throw new Error(`smtp-source ended with ${status}`);
        }),
      );
    },
    close() {
      if (closed) return;
      closed = true;
      clearInterval(timer);
      postfix.stop();
      reader.read();
      reader.close();
    },
  };
}

/** Follows postfix's log. */
function readLog(file: string) {
  const attempts: Attempt[] = [];
  /** Message-ID by queue id, of what came in by SMTP. */
  const ids = new Map<string, string>();
  const finished = new Set<string>();
  const buffer = Buffer.alloc(65_536);
  let handle: number | undefined;
  let rest = '';
  const take = (line: string): void => {
    const [, program = '', queueId = '', text = ''] = /\spostfix\/(\w+)\[\d+\]: (\w+): (.*)$/.exec(line) ?? [];
    if (program === 'cleanup') {
      const id = /message-id=(<.*>)/.exec(text)?.[1];
      if (id !== undefined && !isReport(id)) ids.set(queueId, id);
    }
    const messageId = ids.get(queueId);
    if (messageId === undefined) return;
    if (program === 'qmgr' && text === 'removed') finished.add(queueId);
    const attempt = readAttempt(text);
    if (attempt) attempts.push({ at: Date.now(), messageId, ...attempt });
  };
  return {
    attempts,
    ids,
    finished,
    read(): void {
      handle ??= existsSync(file) ? openSync(file, 'r') : undefined;
      if (handle === undefined) return;
      for (let size = -1; size !== 0;) {
        size = readSync(handle, buffer);
        const lines = (rest + buffer.toString('latin1', 0, size)).split('\n');
        rest = lines.pop() ?? '';
        lines.forEach(take);
      }
    },
    close: () => handle !== undefined && closeSync(handle),
  };
}

/** Reports that postfix writes itself carry their queue id as Message-ID; those of `smtp-source` have dots. */
const isReport = (id: string): boolean => /^<\w+@/.test(id);

/** One `status=` line, as postfix's smtp client writes it. */
export function readAttempt(text: string): Omit<Attempt, 'at' | 'messageId'> | undefined {
  const found = /^to=<([^>]*)>,.* delays=[\d.]+\/[\d.]+\/[\d.]+\/([\d.]+),.* status=(\w+) \((.*)\)$/.exec(text);
  if (!found) return undefined;
  const [, recipient = '', took = '', status = '', said = ''] = found;
  const end = status === 'sent' ? 'sent' : status === 'bounced' ? 'refused' : 'deferred';
  return { recipient, took: Number(took) * 1_000, end, text: said };
}
