/**
 * What anyone can send to a report address, each in a fresh process: the code that it ends with, the time from the stored
 * mail to its end, the most memory over that of an honest report, and where its original lies.
 */
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { HOSTILE } from '../../test/activities/dmarc/hostile.ts';
import { mailWith } from '../../test/activities/dmarc/mails.ts';
import { machineLine } from '../machine.ts';
import { ABOUT, type HostileFigures } from './hostile-mail.ts';

export async function measureHostile(): Promise<string> {
  const lines = [
    `${machineLine()}. A fresh process each; MB are the most resident memory over that of the same process after an honest report.`,
    '',
    '| mail with | ends as | ms | MB more | the original |',
    '|---|---|---|---|---|',
  ];
  for (const { what, files, before, code } of HOSTILE) {
    const folder = await mkdtemp(join(tmpdir(), 'switchyard-bench-hostile-'));
    try {
      const mail = join(folder, 'mail.eml');
      await writeFile(mail, mailWith(...(await files(ABOUT))));
      const first = join(folder, 'before.eml');
      if (before) await writeFile(first, mailWith(...before(ABOUT)));
      const figures = await measure([join(folder, 'state'), mail, ...(before ? [first] : [])]);
      if (figures.code !== code) throw new Error(`${what}: ended as ${figures.code}, not as ${code}`);
      const { ms, megabytes, original } = figures;
      lines.push(
        `| ${what} | ${code === null ? 'published' : `\`${code}\``} | ${ms.toFixed(0)} | ${megabytes.toFixed(0)} | ${original ?? ''} |`,
      );
      console.error(lines.at(-1));
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
  return `${lines.join('\n')}\n`;
}

async function measure(args: string[]): Promise<HostileFigures> {
  const script = join(import.meta.dirname, 'hostile-mail.ts');
  const child = spawn(process.execPath, [script, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  return JSON.parse(await text(child.stdout)) as HostileFigures;
}
