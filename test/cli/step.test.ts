import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { steps } from '../../activities/registry.ts';
import { feedback, metadata, POLICY, range, record } from '../protocols/dmarc/report.ts';
import { startPeer } from '../support/smtp-peer.ts';
import { commandFolder, type Folder } from './command-folder.ts';

let folder: Folder;
beforeAll(async () => {
  folder = await commandFolder(
    'hostname: mx.test\nmail:\n  domains: { b.example: { rules: [{ address: bob, drop: true }] } }\n',
  );
  await writeFile(join(folder.path, 'mail.eml'), 'From: Ann <ann@a.example>\r\nSubject: Invoice 4711\r\n\r\nHello\r\n');
});
afterAll(() => folder.remove());

describe('switchyard step', () => {
  test('lists every step', async () => {
    const { status, stdout } = await folder.run(['step']);
    expect(status).toBe(0);
    for (const step of steps)
      expect([step.name, stdout.includes(`${step.name} `)]).toEqual([step.name, !step.internal]);
  });

  test('--help of a step has its schema, scope and errors', async () => {
    const { stdout } = await folder.run(['step', 'mail.parse', '--help']);
    expect(stdout).toContain('"^[0-9a-f]{64}$"');
    expect(stdout).toContain('mail:read');
    expect(stdout).toContain('mail.malformed');
  });

  test('takes a message file and answers JSON and nothing else on standard output', async () => {
    const { status, stdout } = await folder.run(['step', 'mail.parse', '--message', 'mail.eml']);
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ subject: 'Invoice 4711', from: { address: 'ann@a.example' } });
  });

  test('takes a report file, and refuses one with its code', async () => {
    await writeFile(
      join(folder.path, 'good.xml'),
      feedback(metadata(range('1700000000', '1700086399')) + POLICY + record()),
    );
    const { status, stdout } = await folder.run(['step', 'dmarc.parseReport', '--report', 'good.xml']);
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      container: 'none',
      reports: [{ kind: 'aggregate', aggregate: { policy: { domain: 'example.com' }, totals: { messages: 1 } } }],
    });
    await writeFile(join(folder.path, 'bad.xml'), '<!DOCTYPE a [<!ENTITY x "y">]><feedback>&x;</feedback>');
    const refused = await folder.run(['step', 'dmarc.parseReport', '--report', 'bad.xml']);
    expect([refused.status, refused.stdout]).toEqual([1, '']);
    expect(refused.stderr).toContain('DOCTYPE');
    const help = await folder.run(['step', 'dmarc.parseReport', '--help']);
    expect(help.stdout).toContain('switchyard step dmarc.parseReport --report FILE');
  });

  test.each(['--input', '--file', 'standard input'])('takes JSON from %s', async (way) => {
    const input = JSON.stringify({ recipient: 'bob@elsewhere.example' });
    await writeFile(join(folder.path, 'input.json'), input);
    const args = way === '--input' ? ['--input', input] : way === '--file' ? ['--file', 'input.json'] : [];
    const { status, stdout } = await folder.run(
      ['step', 'mail.decide', ...args],
      way === 'standard input' ? input : '',
    );
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ route: { kind: 'unknown', code: 'mail.relay_denied' } });
  });

  test('sends a mail without a server: composed, signed, recorded, once a key', async () => {
    const peer = await startPeer();
    try {
      const own = await commandFolder(
        [
          'hostname: mx.test',
          'mail:',
          '  send: { to: ["*@there.test"] }',
          '  domains: { b.example: { rules: [{ address: bob, drop: true }] } }',
          `outbound: { transport: { there.test: "127.0.0.1:${peer.port}" } }`,
        ].join('\n'),
      );
      const input = { from: 'bob@b.example', to: ['ann@there.test', 'bob@b.example'], subject: 'Hi', text: 'Hello' };
      await writeFile(join(own.path, 'mail.json'), JSON.stringify(input));
      const send = () => own.run(['step', 'mail.send', '--file', 'mail.json', '--key', 'one']);
      const first = await send();
      expect(first).toMatchObject({ status: 0, stderr: '' });
      expect(JSON.parse(first.stdout)).toMatchObject({ recipients: [{ status: 'delivered' }, { status: 'dropped' }] });
      expect(await send()).toEqual(first);
      expect(peer.messages).toHaveLength(1);
      expect(peer.messages[0]).toMatch(/^DKIM-Signature: .*d=b\.example;/);
      const activity = await own.run(['activity']);
      expect(activity.stdout).toMatch(/delivered +bob@b\.example +ann@there\.test +- +Hi/);
      await own.remove();
    } finally {
      await peer.close();
    }
  });

  test('an input that is not valid is status 1, names the field and says what to do', async () => {
    const { status, stdout, stderr } = await folder.run([
      'step',
      'mail.parse',
      '--input',
      '{"message":{"key":"a/b","sha256":"x","size":1}}',
    ]);
    expect([status, stdout]).toEqual([1, '']);
    expect(stderr).toContain('message.sha256');
    expect(stderr).toContain('switchyard step mail.parse --help');
  });

  test.each([
    [['step', 'mail.decide', '--input', '{oops'], 2, 'not JSON'],
    [['step', 'mail.decide', '--input', '{}', '--file', 'x'], 2, 'not both'],
    [['step', 'mail.fly', '--input', '{}'], 1, 'mail.parse'],
    [['step', steps.find((one) => one.repeat === 'needs-key')?.name ?? '', '--input', '{}'], 2, '--key'],
  ])('%j ends with status %i', async (args, expected, words) => {
    const { status, stderr } = await folder.run(args);
    expect([status, stderr]).toEqual([expected, expect.stringContaining(words)]);
  });
});
