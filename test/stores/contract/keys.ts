/** What the key store must do over every records driver. */
import { createPublicKey, createSign, createVerify } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { KeyStore } from '../../../stores/keys/port.ts';

export function keysContract(name: string, open: () => Promise<{ keys: KeyStore; close(): Promise<void> }>): void {
  describe(`${name}: keys`, () => {
    let opened: Awaited<ReturnType<typeof open>>;
    let keys: KeyStore;
    beforeAll(async () => {
      opened = await open();
      ({ keys } = opened);
    });
    afterAll(() => opened.close());

    it('names the command that makes a missing key', async () => {
      await expect(keys.signingKey('none.test')).rejects.toMatchObject({
        name: 'PermanentError',
        code: 'key.missing',
        fix: 'switchyard keys create none.test',
      });
    });

    it.each(['', '.', 'a..b', '-a', 'a b', 'A', 'ä'])('refuses the selector %j', async (selector) => {
      await expect(keys.create('a.test', selector)).rejects.toMatchObject({ code: 'key.selector_invalid' });
    });

    it('signs with the newest RSA 2048 pair, and refuses a selector twice', async () => {
      await keys.create('a.test', 'one');
      expect((await keys.signingKey('a.test')).selector).toBe('one');
      const shown = await keys.create('A.test', 'two');
      await expect(keys.create('a.test', 'two')).rejects.toMatchObject({ code: 'key.exists' });
      const { privateKey, ...rest } = await keys.signingKey('a.test');
      expect(rest).toEqual(shown);
      const publicKey = createPublicKey({ key: Buffer.from(shown.publicKey, 'base64'), format: 'der', type: 'spki' });
      expect(publicKey.asymmetricKeyDetails?.modulusLength).toBe(2048);
      const signature = createSign('sha256').update('x').sign(privateKey);
      expect(createVerify('sha256').update('x').verify(publicKey, signature)).toBe(true);
      expect(JSON.stringify(await keys.list())).not.toContain('PRIVATE');
    });

    it('chooses a free selector by itself', async () => {
      const selectors = [await keys.create('b.test'), await keys.create('b.test')].map((key) => key.selector);
      expect(selectors[0]).toMatch(/^sy\d{6}$/);
      expect(selectors[1]).toBe(`${selectors[0]}-2`);
    });

    it('keeps a secret of 32 bytes a name, and hands out copies', async () => {
      const secret = await keys.secret('srs');
      expect(secret.length).toBe(32);
      const before = secret.toString('hex');
      secret.fill(0);
      expect((await keys.secret('srs')).toString('hex')).toBe(before);
      expect((await keys.secret('cookies')).toString('hex')).not.toBe(before);
    });
  });
}
