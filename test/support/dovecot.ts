/** A real IMAP server in a folder of its own, from the Debian package; its master must be root. One account, on loopback. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export const hasDovecot =
  existsSync('/usr/sbin/dovecot') && existsSync('/usr/lib/dovecot/imap') && process.getuid?.() === 0;
export const NO_DOVECOT = 'dovecot-imapd is absent (a Debian package), or this is not root';

export interface Dovecot {
  port: number;
  user: string;
  password: string;
  /** Whether a client has opened the inbox and waits for mail (RFC 2177): what arrives before is no news to it. */
  isWatched(): boolean;
  /** Puts a mail into the inbox, as a delivery agent does. */
  deliver(mail: Buffer): void;
  /** Flags of the mails in the inbox (Maildir): `S` is read. */
  flags(): string[];
  stop(): Promise<void>;
}

/** Debian's user for mail; dovecot gives no mailbox to root. */
const MAIL_USER = 8;
const STARTS_WITHIN_MS = 30_000;

export async function startDovecot(folder: string, port: number): Promise<Dovecot> {
  const [run, inbox, said] = ['run', 'mail', 'said'].map((name) => join(folder, name)) as [string, string, string];
  for (const path of [run, said, ...['', 'new', 'cur', 'tmp'].map((name) => join(inbox, name))]) {
    mkdirSync(path, { recursive: true });
    if (path !== run) chownSync(path, MAIL_USER, MAIL_USER);
  }
  // Its processes are other users.
  for (const path of [folder, join(folder, '..')]) chmodSync(path, 0o755);
  const [user, password] = ['reports', 'of-the-tests'];
  const file = join(folder, 'dovecot.conf');
  writeFileSync(
    file,
    `base_dir = ${run}
log_path = ${join(folder, 'dovecot.log')}
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
mail_location = maildir:${inbox}
first_valid_uid = ${MAIL_USER}
passdb {
  driver = static
  args = password=${password}
}
userdb {
  driver = static
  args = uid=${MAIL_USER} gid=${MAIL_USER} home=${inbox}
}
protocol imap {
  rawlog_dir = ${said}
}
service imap-login {
  chroot =
  inet_listener imap {
    port = ${port}
  }
  inet_listener imaps {
    port = 0
  }
}
`,
  );
  const server = spawn('/usr/sbin/dovecot', ['-F', '-c', file], { stdio: 'ignore' });
  const ended = once(server, 'exit');
  const onExit = () => server.kill();
  process.on('exit', onExit);
  await listening(port, () => readFileSync(join(folder, 'dovecot.log'), 'utf8'));
  let count = 0;
  return {
    port,
    user,
    password,
    isWatched: () =>
      readdirSync(said).some(
        (name) => name.endsWith('.in') && / IDLE\r?$/m.test(readFileSync(join(said, name), 'utf8')),
      ),
    deliver(mail) {
      const name = `${Math.floor(Date.now() / 1_000)}.${++count}.tests`;
      const path = join(inbox, 'tmp', name);
      writeFileSync(path, mail);
      chownSync(path, MAIL_USER, MAIL_USER);
      renameSync(path, join(inbox, 'new', name));
    },
    flags: () => readdirSync(join(inbox, 'cur')).map((name) => name.split(':2,')[1] ?? ''),
    async stop() {
      process.off('exit', onExit);
      server.kill();
      await ended;
    },
  };
}

async function listening(port: number, log: () => string): Promise<void> {
  const until = Date.now() + STARTS_WITHIN_MS;
  for (;;) {
    const socket = connect(port, '127.0.0.1');
    try {
      await once(socket, 'connect');
      return;
    } catch (thrown) {
      if (Date.now() > until) throw new Error(`dovecot does not listen: ${log()}`, { cause: thrown });
      await sleep(50);
    } finally {
      socket.destroy();
    }
  }
}
