/** The whole demo, as a person types it; what arrived is verified once more by an implementation that is not ours. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '..', '..');
const VERIFIER = join(root, 'test', 'support', 'verify_arc.py');
/** A cold start builds the bundle and starts five processes on a machine that may be busy. */
const CEILING_MS = 240_000;

interface DemoOutput {
  ok: boolean;
  messages: { message: string; told: { reply: string }; differences: unknown[]; arrived: { recipients: string[] }[] }[];
}
interface Verified {
  file: string;
  arc: string;
  sets: { instance: number; seal: boolean; message: boolean; domain: string }[];
  dkim: boolean[];
}

/** Debian's python3-dkim belongs to the system's Python, which need not be the first on the PATH. */
const python = ['/usr/bin/python3', 'python3'].find((one) => spawnSync(one, ['-c', 'import dkim']).status === 0);

describe('npm start -- --demo', () => {
  const folder = mkdtempSync(join(tmpdir(), 'demo-test-'));
  let status: number | null = null;
  let output: DemoOutput;
  let errors = '';

  beforeAll(async () => {
    const child = spawn(
      process.execPath,
      [join(root, 'cli', 'launch.mjs'), 'up', '--demo', '--json', '--save', folder],
      {
        cwd: folder,
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
    status = await new Promise((resolve) => child.on('close', resolve));
    output = JSON.parse(text || '{}') as DemoOutput;
  }, CEILING_MS);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('finds every message as it must be and ends with status 0', () => {
    const wrong = output.messages?.filter(({ differences }) => differences.length > 0) ?? errors;
    expect(wrong).toEqual([]);
    expect({ status, ok: output.ok, errors }).toEqual({ status: 0, ok: true, errors: '' });
  });

  it('sends every kind of message that the foundation is about', () => {
    expect(output.messages.map(({ message }) => message)).toEqual(
      expect.arrayContaining([
        'signed with DKIM',
        'SPF only',
        'forged, p=reject',
        'ARC chain of two hops',
        '8-bit body',
        'internationalised addresses',
        '20 MB attachment',
        'unknown recipient',
        'two, one refused upstream',
        'deferred upstream first',
        'queued, then refused',
        'a bounce to an SRS address',
      ]),
    );
  });

  it('seals what python3-dkim verifies', (test) => {
    if (python === undefined) return test.skip('python3-dkim is not installed');
    const files = readdirSync(folder).filter((name) => name.endsWith('.eml'));
    const run = spawnSync(python, [VERIFIER, join(folder, 'zones.json'), ...files.map((name) => join(folder, name))], {
      encoding: 'utf8',
    });
    expect(run.stderr).toBe('');
    const verified = run.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Verified);
    expect(verified).toHaveLength(files.length);

    // Two of what arrived are our own reports, which have no chain; all else is sealed, one of it as the third hop.
    const sealed = verified.filter(({ sets }) => sets.length > 0);
    expect(sealed.length).toBe(verified.length - 2);
    for (const { arc, sets } of sealed) {
      expect(arc).toBe('pass');
      expect(sets[0]).toMatchObject({ domain: 'forward.test', seal: true, message: true });
    }
    expect(sealed.filter(({ sets }) => sets.length === 3).map(({ sets }) => sets.map(({ domain }) => domain))).toEqual([
      ['forward.test', 'relay.test', 'list.test'],
    ]);
    // Our own signature is on top of everything that arrived.
    for (const { dkim } of verified) expect(dkim[0]).toBe(true);
  });
});
