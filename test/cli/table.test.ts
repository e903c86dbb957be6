import { afterEach, describe, expect, it, vi } from 'vitest';
import { displayWidth, formatTable, paint, tableWidth } from '../../cli/table.ts';

const columns = [{ title: 'name' }, { title: 'count', align: 'right' as const }];

/** Standard output as a terminal that wants colours. */
function asTerminal() {
  vi.stubEnv('NO_COLOR', '');
  vi.stubEnv('TERM', 'xterm');
  const before = process.stdout.isTTY;
  process.stdout.isTTY = true;
  return () => (process.stdout.isTTY = before);
}

let restore: (() => unknown) | undefined;
afterEach(() => {
  restore?.();
  restore = undefined;
  vi.unstubAllEnvs();
});

describe('tables', () => {
  it('align what a terminal shows, not what a string counts', () => {
    // UAX #11: each of these ideographs takes two columns; the combining accent none.
    expect(displayWidth('用户')).toBe(4);
    expect(displayWidth('e\u0301')).toBe(1);
    expect(tableWidth(columns, [['用户', '1']])).toBe(11);
    const lines = formatTable(columns, [
      ['用户', '1'],
      ['abcd', '22'],
      ['e\u0301', '3'],
    ]).split('\n');
    expect(lines).toEqual(['name  count', '用户      1', 'abcd     22', 'e\u0301         3', '']);
  });

  it('cut the widest column that may give way', () => {
    const text = formatTable(
      [{ title: 'id', fixed: true }, { title: 'subject' }],
      [['0123456789', '用'.repeat(20)]],
      24,
    );
    expect(text.split('\n')[1]).toBe(`0123456789  ${'用'.repeat(5)}…`);
  });

  it('never hand a control character of a subject to the terminal', () => {
    expect(formatTable([{ title: 'subject' }], [['a\u001b[2Jb\r\nc']])).toBe('subject\na [2Jb  c\n');
  });

  it('are coloured on a terminal that wants it, and only there', () => {
    const cell = { text: 'fail', state: 'fail' as const };
    restore = asTerminal();
    expect(paint(cell)).toBe('\u001b[31mfail\u001b[39m');
    vi.stubEnv('NO_COLOR', '1');
    expect(paint(cell)).toBe('fail');
    vi.stubEnv('NO_COLOR', '');
    vi.stubEnv('TERM', 'dumb');
    expect(paint(cell)).toBe('fail');
    vi.stubEnv('TERM', 'xterm');
    process.stdout.isTTY = false;
    expect(paint(cell)).toBe('fail');
  });
});
