import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openRecords } from '../../stores/records/open.ts';
import type { Records } from '../../stores/records/port.ts';
import { wanted } from '../stores/contract/triggers.ts';
import { commandFolder, type Folder } from './command-folder.ts';

let folder: Folder;
let records: Records;
beforeAll(async () => {
  folder = await commandFolder('hostname: mx.test\n');
  records = await openRecords({ state: join(folder.path, '.switchyard') });
  await records.rules.applyDeclared([{ domain: 'demo.test', rules: [] }]);
});
afterAll(async () => {
  await records?.close();
  await folder?.remove();
});

describe('switchyard triggers', () => {
  test('without one it says what will appear here', async () => {
    const { status, stdout } = await folder.run(['triggers']);
    expect([status, stdout]).toEqual([0, expect.stringContaining('Activate an n8n workflow')]);
  });

  test('shows who is called for what, and the rules show the workflow by its name', async () => {
    const mail = { name: 'Sales', id: 'n8n:i:w:1', addresses: ['sales@demo.test', '*@demo.test'] };
    await records.triggers.put(wanted(mail), 'token:n8n');
    await records.triggers.put(
      wanted({
        kind: 'run',
        id: 'n8n:i:w:2',
        name: 'Watch',
        outcomes: ['failed'],
        leaseUntil: '2000-01-01T00:00:00.000Z',
      }),
      'token:n8n',
    );
    const { stdout } = await folder.run(['triggers']);
    expect(stdout).toMatch(
      /Sales +mail to sales@demo\.test, \*@demo\.test, with a verdict +http:\/\/127\.0\.0\.1:5678 +10 min +n8n:i:w:1/,
    );
    expect(stdout).toMatch(/Watch +runs that end as failed +http:\/\/127\.0\.0\.1:5678 +over +n8n:i:w:2/);
    expect((await folder.run(['rules'])).stdout).toMatch(/sales@demo\.test +n8n workflow Sales +n8n/);
    const [first] = JSON.parse((await folder.run(['triggers', '--json'])).stdout);
    expect(first).toMatchObject({ id: 'n8n:i:w:1', answer: 'verdict' });
    expect(first).not.toHaveProperty('tokenId');
  });

  test('a rule of a workflow is not removed or replaced as a rule', async () => {
    for (const args of [
      ['rules', 'remove', 'sales@demo.test'],
      ['rules', 'add', 'sales@demo.test', '--drop'],
    ]) {
      const { status, stderr } = await folder.run(args);
      expect([status, stderr]).toEqual([1, expect.stringContaining('"Sales"')]);
    }
  });

  test('removes one, with its rules and an entry in the audit log', async () => {
    expect((await folder.run(['triggers', 'remove', 'n8n:i:w:1'])).status).toBe(0);
    expect(await records.rules.list()).toEqual([]);
    expect((await records.audit.list({ limit: 1 }))[0]).toMatchObject({
      actor: 'command line',
      action: 'trigger.removed',
    });
  });

  test.each([
    [['triggers', 'remove', 'no-such'], 1],
    [['triggers', 'remove'], 2],
    [['triggers', 'paint'], 2],
  ])('%j ends with status %i', async (args, expected) => {
    expect((await folder.run(args)).status).toBe(expected);
  });
});
