/** The texts for newcomers: what they name exists. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = dirname(import.meta.dirname);
const texts = ['README.md', 'CONTRIBUTING.md'].map((name) => ({ name, text: readFileSync(join(root, name), 'utf8') }));
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  scripts: Record<string, string>;
  devDependencies: Record<string, string>;
};

/** What stands in code: between backticks or in a fenced block. */
const codeOf = (text: string): string[] => [...text.matchAll(/```[^`]*```|`[^`]+`/g)].map(([code]) => code);

describe.each(texts)('$name', ({ text }) => {
  it('links only to files that are there', () => {
    const links = [...text.matchAll(/\]\(([^)#\s]+)[^)]*\)/g)].map((match) => match[1] ?? '');
    const files = links.filter((link) => !/^https?:/.test(link));
    expect(files.length).toBeGreaterThan(0);
    expect(files.filter((file) => !existsSync(join(root, file)))).toEqual([]);
  });

  it('names only commands and scripts that there are', () => {
    const code = codeOf(text).join('\n');
    const commands = [...code.matchAll(/npx switchyard ([a-z-]+)/g)].map((match) => match[1] ?? '');
    const scripts = [...code.matchAll(/npm run (?:--silent )?([a-z:]+)/g)].map((match) => match[1] ?? '');
    expect(commands.length).toBeGreaterThan(0);
    expect(commands.filter((name) => !existsSync(join(root, 'cli', 'commands', `${name}.ts`)))).toEqual([]);
    expect(scripts.filter((name) => !(name in manifest.scripts))).toEqual([]);
  });
});

describe('the table of dependencies', () => {
  const table = (texts[0]?.text ?? '').split('## Dependencies')[1]?.split('\n## ')[0] ?? '';
  const named = [...table.matchAll(/^\| ([^|]+) \|/gm)].flatMap((match) => namesOf(match[1] ?? ''));

  it('has every package of package.json', () => {
    const missing = Object.keys(manifest.devDependencies).filter(
      (name) => !named.some((one) => (one.endsWith('/*') ? name.startsWith(one.slice(0, -1)) : one === name)),
    );
    expect(missing).toEqual([]);
  });
});

function namesOf(cell: string): string[] {
  return cell
    .replace(/\([^)]*\)/g, '')
    .split(',')
    .map((name) => name.trim());
}
