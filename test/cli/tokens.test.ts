import { afterAll, beforeAll, expect, test } from 'vitest';
import { join } from 'node:path';
import { openRecords } from '../../stores/records/open.ts';
import { commandFolder, type Folder } from './command-folder.ts';

let folder: Folder;
beforeAll(async () => {
  folder = await commandFolder('hostname: mx.test\n');
});
afterAll(() => folder.remove());

test('a token is printed once, alone on standard output, and works until it is removed', async () => {
  const { status, stdout } = await folder.run(['tokens', 'add', 'ci', '--scope', 'mail:read', '--scope', 'runs:*']);
  expect(status).toBe(0);
  const token = stdout.trim();
  expect(stdout).toBe(`${token}\n`);
  const records = await openRecords({ state: join(folder.path, '.switchyard') });
  const found = await records.tokens.find(token);
  expect(found).toMatchObject({ name: 'ci', scopes: ['mail:read', 'runs:*'] });
  const list = await folder.run(['tokens']);
  expect(list.stdout).toMatch(/ci +mail:read runs:\*/);
  expect(list.stdout).not.toContain(token);
  expect((await folder.run(['tokens', 'remove', found?.id ?? ''])).status).toBe(0);
  expect(await records.tokens.find(token)).toBeUndefined();
  await records.close();
});

test.each([
  [['tokens', 'add', 'x'], 2],
  [['tokens', 'add', 'x', '--scope', 'mail:reed'], 1],
  [['tokens', 'add', 'x', '--scope', 'mail:read,runs:read'], 1],
  [['tokens', 'remove', 'none'], 1],
  [['tokens', 'remove'], 2],
])('%j ends with status %i and makes no token', async (args, expected) => {
  expect((await folder.run(args)).status).toBe(expected);
  expect(JSON.parse((await folder.run(['tokens', '--json'])).stdout)).toEqual([]);
});
