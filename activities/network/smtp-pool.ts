/**
 * Connections that are kept open after a message for the next one to the same host: it needs no TCP and no TLS
 * handshake. What a server has ended meanwhile is replaced without a word (`smtp-session.ts`).
 */
import type { Socket } from 'node:net';
import type SMTPConnection from 'nodemailer/lib/smtp-connection';
import { leave, type ConnectionUse } from './smtp-connection.ts';

/**
 * ms that a connection waits for its next message. Servers wait five minutes (RFC 5321, 4.5.3.2.7), but an idle
 * connection takes a place there, and the next message may find that the domain's hosts have changed.
 */
const IDLE_MS = 5_000;

export interface OpenConnection {
  connection: SMTPConnection;
  /** The TCP socket below. */
  socket: Socket;
  /** What the connection tells, and to whom now. */
  use: ConnectionUse;
}

export interface ConnectionPool {
  /** A connection that is open, as far as is known. */
  take(key: string): OpenConnection | undefined;
  /** After the last reply of a message that was taken, when nothing more is to come. */
  give(key: string, open: OpenConnection): void;
  /** Says QUIT on all of them; later ones are not kept. */
  close(): Promise<void>;
}

export function createConnectionPool(): ConnectionPool {
  const idle = new Map<string, Set<{ open: OpenConnection; drop(andQuit: boolean): void }>>();
  let closed = false;
  const leaving = new Set<Promise<void>>();
  const quit = ({ connection, socket }: OpenConnection): void => {
    const left = leave(connection, socket, true).finally(() => leaving.delete(left));
    leaving.add(left);
  };

  return {
    take(key) {
      // The newest: the others come to their end meanwhile.
      const last = [...(idle.get(key) ?? [])].at(-1);
      last?.drop(false);
      return last?.open;
    },
    give(key, open) {
      const { connection, socket, use } = open;
      if (closed || socket.destroyed || !socket.writable) return quit(open);
      const kept = idle.get(key) ?? new Set();
      idle.set(key, kept);
      const entry = {
        open,
        drop(andQuit: boolean) {
          clearTimeout(timer);
          socket.off('close', ended);
          kept.delete(entry);
          if (kept.size === 0 && idle.get(key) === kept) idle.delete(key);
          if (andQuit) quit(open);
        },
      };
      // A server that speaks unasked is about to leave, as with 421.
      const ended = () => {
        entry.drop(false);
        connection.close();
        socket.destroy();
      };
      const timer = setTimeout(() => entry.drop(true), IDLE_MS);
      timer.unref();
      Object.assign(use.on, { error: ended, tooMuch: ended, command: () => undefined });
      socket.once('close', ended);
      kept.add(entry);
    },
    async close() {
      closed = true;
      for (const kept of idle.values()) for (const entry of kept) entry.drop(true);
      await Promise.all(leaving);
    },
  };
}
