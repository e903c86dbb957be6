/**
 * The master key: from SWITCHYARD_MASTER_KEY, or a file in the state folder that only its owner can read, made on
 * first use. It stays in this process: never in a log, an error or an input.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { link, mkdir, open, rm, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { messageOf, PermanentError } from '../../protocols/errors.ts';

/** Name of the file in the state folder. */
export const MASTER_KEY_FILE = 'master.key';
/** AES-256. */
const BYTES = 32;
/** Rights of the group and of others. */
const NOT_OWNER = 0o077;

/** Whether there is one, so that asking for it makes none. */
export const hasMasterKey = (state: string, environment: NodeJS.ProcessEnv = process.env): boolean =>
  Boolean(environment.SWITCHYARD_MASTER_KEY) || existsSync(join(state, MASTER_KEY_FILE));

/** @throws PermanentError `key.master_invalid`, `key.master_exposed`, `key.master_unavailable` */
export async function masterKey(state: string, environment: NodeJS.ProcessEnv = process.env): Promise<Buffer> {
  const given = environment.SWITCHYARD_MASTER_KEY;
  if (given !== undefined && given !== '') return decode(given, 'SWITCHYARD_MASTER_KEY');
  const file = join(state, MASTER_KEY_FILE);
  try {
    return (await readKey(file)) ?? (await makeKey(file));
  } catch (thrown) {
    if (thrown instanceof PermanentError) throw thrown;
    throw new PermanentError({
      code: 'key.master_unavailable',
      message: `The master key ${file} cannot be used: ${messageOf(thrown)}`,
      fix: 'Make the state folder readable and writable for the user that Switchyard runs as, or set SWITCHYARD_MASTER_KEY.',
      cause: thrown,
    });
  }
}

async function readKey(file: string): Promise<Buffer | undefined> {
  let handle: FileHandle;
  try {
    handle = await open(file, 'r');
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw thrown;
  }
  try {
    const { mode } = await handle.stat();
    if ((mode & NOT_OWNER) !== 0) throw exposed(file, mode);
    return decode((await handle.readFile('utf8')).trim(), file);
  } finally {
    await handle.close();
  }
}

/**
 * Written whole under another name and linked into place: link fails when another process was first, whose key
 * then holds, and nobody ever reads half a key.
 */
async function makeKey(file: string): Promise<Buffer> {
  const folder = dirname(file);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const draft = join(folder, `.${MASTER_KEY_FILE}.${randomUUID()}`);
  const handle = await open(draft, 'wx', 0o600);
  try {
    await handle
      .writeFile(randomBytes(BYTES).toString('base64') + '\n')
      .finally(() => handle.sync().finally(() => handle.close()));
    await link(draft, file).catch((thrown: NodeJS.ErrnoException) => {
      if (thrown.code !== 'EEXIST') throw thrown;
    });
  } finally {
    await rm(draft, { force: true });
  }
  const names = await open(folder, 'r');
  await names.sync().finally(() => names.close());
  return (await readKey(file)) as Buffer;
}

function decode(text: string, where: string): Buffer {
  const bytes = Buffer.from(text, 'base64');
  // Node skips what is not base64; only a text that comes back the same is.
  if (bytes.length === BYTES && bytes.toString('base64').replace(/=+$/, '') === text.replace(/=+$/, '')) return bytes;
  throw new PermanentError({
    code: 'key.master_invalid',
    message: `${where} is no master key: it must be ${BYTES} bytes in base64.`,
    fix: 'Put back the key that the records were written with. For a new installation: openssl rand -base64 32',
  });
}

function exposed(file: string, mode: number): PermanentError {
  return new PermanentError({
    code: 'key.master_exposed',
    message: `The master key ${file} can be read by others (mode ${(mode & 0o777).toString(8)}).`,
    fix: `chmod 600 ${file}`,
  });
}
