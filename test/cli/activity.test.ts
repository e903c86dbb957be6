import { spawn } from 'node:child_process';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { columnWidths, formatTable } from '../../cli/table.ts';
import { openRecords } from '../../stores/records/open.ts';
import type { Records } from '../../stores/records/port.ts';
import { activity, idAt } from '../servers/http/service.ts';
import { commandFolder, type Folder } from './command-folder.ts';

let folder: Folder;
let records: Records;
beforeAll(async () => {
  folder = await commandFolder('hostname: mx.test\n');
  records = await openRecords({ state: join(folder.path, '.switchyard') });
  await records.activity.open([
    activity({ id: idAt(1), receivedAt: '2026-01-02T03:04:05.000Z', subject: 'Old', recipient: 'bob@b.example' }),
    activity({
      id: idAt(2),
      subject: 'Bell \u0007 and \u001b[31mred',
      recipient: 'eve@b.example',
      outcome: 'refused',
      reply: { code: 550, enhanced: '5.1.1', text: 'No such user' },
    }),
    activity({ id: idAt(3), subject: 'Null', recipient: 'ann@b.example', sender: '', outcome: 'accepted' }),
  ]);
});
afterAll(async () => {
  await records.close();
  await folder.remove();
});

describe('switchyard activity', () => {
  test('shows one aligned table, newest first, with the reply that decided', async () => {
    const { status, stdout } = await folder.run(['activity']);
    expect(status).toBe(0);
    const lines = stdout.trimEnd().split('\n');
    expect(lines).toHaveLength(4);
    expect(lines.map((line) => line.slice(21, 30).trim())).toEqual(['outcome', 'accepted', 'refused', 'delivered']);
    expect(lines[2]).toMatch(/550 5\.1\.1 No such user$/);
    expect(lines[3]).toMatch(/^2026-01-02 03:04:05/);
  });

  test('what strangers wrote cannot steer the terminal', async () => {
    const { stdout } = await folder.run(['activity']);
    expect(stdout.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u);
  });

  test.each([
    [['--recipient', 'bob@b.example'], [1]],
    [
      ['--outcome', 'refused,accepted'],
      [3, 2],
    ],
    [
      ['--since', '2h'],
      [3, 2],
    ],
    [['--until', '2026-02-01T00:00:00Z'], [1]],
    [['--limit', '1'], [3]],
  ])('%j as JSON lines gives %j', async (args, expected) => {
    const { stdout } = await folder.run(['activity', '--json', ...args]);
    expect(
      stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line).id),
    ).toEqual(expected.map(idAt));
  });

  test.each([[['--limit', '0']], [['--since', 'yesterday']], [['--outcome', 'lost']], [['--colour', 'red']]])(
    '%j ends with status 2',
    async (args) => {
      expect((await folder.run(['activity', ...args])).status).toBe(2);
    },
  );

  test('--follow goes on with what comes and with what changes', async () => {
    const child = spawn(process.execPath, [resolve('cli/main.ts'), 'activity', '--follow', '--json'], {
      cwd: folder.path,
    });
    let out = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (out += chunk));
    const seen = () =>
      out
        .trim()
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line))
        .map(({ id, outcome }) => `${id} ${outcome}`);
    const first = [`${idAt(1)} delivered`, `${idAt(2)} refused`, `${idAt(3)} accepted`];
    await expect.poll(seen, { timeout: 20_000 }).toEqual(first);
    await records.activity.open([activity({ id: idAt(4), outcome: 'dropped' })]);
    await expect.poll(seen, { timeout: 20_000 }).toEqual([...first, `${idAt(4)} dropped`]);
    await records.activity.close(idAt(3), { outcome: 'delivered', errorCode: null, errorText: null, reply: null });
    await expect.poll(seen, { timeout: 20_000 }).toEqual([...first, `${idAt(4)} dropped`, `${idAt(3)} delivered`]);
    child.kill('SIGKILL');
  });
});

describe('the table', () => {
  const columns = [
    { title: 'id', fixed: true as const },
    { title: 'subject' },
    { title: 'n', align: 'right' as const },
  ];
  const rows = [['123456', 'a subject that is far too long for the terminal', '7']];

  test('is cut to the width, the widest column first, fixed ones never', () => {
    const text = formatTable(columns, rows, 40);
    expect(Math.max(...text.split('\n').map((line) => line.length))).toBe(40);
    expect(text).toContain('123456  a subject that');
    expect(text).toContain('…');
    expect(columnWidths(columns, rows, 5)[0]).toBe(6);
  });

  test('is whole where there is no width', () => {
    expect(formatTable(columns, rows, Number.POSITIVE_INFINITY)).toContain('for the terminal');
  });
});
