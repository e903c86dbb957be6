import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { masterKey } from '../../../stores/keys/master.ts';
import { openKeys } from '../../../stores/keys/open.ts';
import { openRecords } from '../../../stores/records/open.ts';
import { keysContract } from '../contract/keys.ts';

const newState = () => mkdtempSync(join(tmpdir(), 'switchyard-keys-'));

keysContract('SQLite', async () => {
  const state = newState();
  const records = await openRecords({ state });
  return {
    keys: await openKeys(records, { state }),
    close: async () => {
      await records.close();
      rmSync(state, { recursive: true });
    },
  };
});

describe('the master key', () => {
  let state: string;
  let file: string;
  beforeEach(() => {
    state = newState();
    file = join(state, 'master.key');
  });
  afterEach(() => rmSync(state, { recursive: true }));

  it.each(['short', Buffer.alloc(31).toString('base64'), Buffer.alloc(33).toString('base64'), `${'A'.repeat(42)}!=`])(
    'must be 32 bytes in base64, and is not repeated in the error: %j',
    async (given) => {
      const error: Error = await masterKey(state, { SWITCHYARD_MASTER_KEY: given }).catch((thrown) => thrown);
      expect(error).toMatchObject({ name: 'PermanentError', code: 'key.master_invalid' });
      expect(error.message).not.toContain(given);
      writeFileSync(file, given, { mode: 0o600 });
      await expect(masterKey(state, {})).rejects.toMatchObject({ code: 'key.master_invalid' });
    },
  );

  it.each([0o640, 0o604])('is refused when others can read it, with the command that mends it (%o)', async (mode) => {
    await masterKey(state, {});
    chmodSync(file, mode);
    await expect(masterKey(state, {})).rejects.toMatchObject({ code: 'key.master_exposed', fix: `chmod 600 ${file}` });
  });

  it('is made once, for its owner alone, also when many ask at once', async () => {
    const made = await Promise.all(Array.from({ length: 8 }, () => masterKey(state, {})));
    expect(new Set(made.map((key) => key.toString('hex'))).size).toBe(1);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readFileSync(file, 'utf8').trim()).toBe(made[0]!.toString('base64'));
  });

  it('when exchanged, opens neither key nor secret', async () => {
    const records = await openRecords({ state });
    const keys = await openKeys(records, { state });
    await keys.create('a.test');
    await keys.secret('srs');
    writeFileSync(file, randomBytes(32).toString('base64'));
    const later = await openKeys(records, { state });
    await expect(later.signingKey('a.test')).rejects.toMatchObject({ name: 'PermanentError', code: 'key.unreadable' });
    await expect(later.secret('srs')).rejects.toMatchObject({ code: 'key.unreadable' });
    await records.close();
  });

  it('when gone, is not made anew while there are keys that it sealed', async () => {
    const records = await openRecords({ state });
    await (await openKeys(records, { state })).create('a.test');
    rmSync(file);
    await expect(openKeys(records, { state })).rejects.toMatchObject({
      name: 'PermanentError',
      code: 'key.master_missing',
      fix: expect.stringContaining('SWITCHYARD_MASTER_KEY'),
    });
    expect(existsSync(file)).toBe(false);
    await records.close();
  });

  it('opens no key that was moved to another domain', async () => {
    const records = await openRecords({ state });
    const keys = await openKeys(records, { state });
    await keys.create('a.test', 's');
    const row = await records.keys.newest('a.test');
    await records.keys.add({ ...row!, domain: 'b.test' });
    await expect(keys.signingKey('b.test')).rejects.toMatchObject({ code: 'key.unreadable' });
    await records.close();
  });
});
