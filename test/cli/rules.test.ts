import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openRecords } from '../../stores/records/open.ts';
import { join } from 'node:path';
import { commandFolder, type Folder } from './command-folder.ts';

let folder: Folder;
beforeAll(async () => {
  folder = await commandFolder('hostname: mx.test\n');
});
afterAll(() => folder.remove());
const inRecords = async <Found>(
  look: (records: Awaited<ReturnType<typeof openRecords>>) => Promise<Found>,
): Promise<Found> => {
  const records = await openRecords({ state: join(folder.path, '.switchyard') });
  try {
    return await look(records);
  } finally {
    await records.close();
  }
};

describe('switchyard rules', () => {
  test('without a rule it says what that means and how to make one', async () => {
    const { status, stdout } = await folder.run(['rules']);
    expect(status).toBe(0);
    expect(stdout).toContain('switchyard rules add');
  });

  test('a rule is added, listed, found by the receiver and removed', async () => {
    expect(
      (await folder.run(['rules', 'add', 'Bob@B.example', '--forward', 'bob@c.example', '--forward', 'bob@d.example']))
        .status,
    ).toBe(0);
    expect((await folder.run(['rules', 'add', '*@b.example', '--drop'])).status).toBe(0);
    const { stdout } = await folder.run(['rules']);
    expect(stdout).toMatch(/bob@b\.example +forward to bob@c\.example, bob@d\.example +API/);
    expect(stdout).toMatch(/\*@b\.example +drop +API/);
    expect(await inRecords((records) => records.rules.find('b.example', 'bob'))).toMatchObject({
      action: { destinations: ['bob@c.example', 'bob@d.example'] },
    });
    expect((await folder.run(['rules', 'remove', 'bob@b.example'])).status).toBe(0);
    expect(JSON.parse((await folder.run(['rules', '--json'])).stdout)).toEqual([
      expect.objectContaining({ localPart: '*' }),
    ]);
    const audit = await inRecords((records) => records.audit.list({}));
    expect(audit.filter(({ actor }) => actor === 'command line').map(({ action }) => action)).toEqual([
      'rule.removed',
      'rule.added',
      'rule.added',
    ]);
  });

  test.each([
    [['rules', 'add', 'bob@b.example'], 2],
    [['rules', 'add', 'bob@b.example', '--drop', '--forward', 'x@y.example'], 2],
    [['rules', 'add', 'bob', '--drop'], 2],
    [['rules', 'add', 'bob@b..example', '--drop'], 1],
    [['rules', 'add', 'bob@b.example', '--forward', 'nowhere'], 1],
    [['rules', 'remove', 'none@b.example'], 1],
    [['rules', 'paint'], 2],
  ])('%j ends with status %i and changes nothing', async (args, expected) => {
    const before = await inRecords((records) => records.rules.list());
    expect((await folder.run(args)).status).toBe(expected);
    expect(await inRecords((records) => records.rules.list())).toEqual(before);
  });

  test('a rule of the configuration file is not removed', async () => {
    await inRecords((records) =>
      records.rules.applyDeclared([{ domain: 'file.example', rules: [{ localPart: 'a', action: { type: 'drop' } }] }]),
    );
    const { status, stderr } = await folder.run(['rules', 'remove', 'a@file.example']);
    expect([status, stderr]).toEqual([1, expect.stringContaining('switchyard.yaml')]);
  });
});
