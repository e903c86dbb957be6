/** One mail to a report address in a process of its own: `hostile-mail.ts STATE MAIL [MAIL BEFORE IT]`, one line of JSON out. */
import { readFile } from 'node:fs/promises';
import { openDependencies } from '../../activities/open.ts';
import { resolveAddresses } from '../../stores/configuration/addresses.ts';
import { Configuration } from '../../stores/configuration/schema.ts';
import { reportAbout } from '../../test/activities/dmarc/hostile.ts';
import { ingest, mailWith } from '../../test/activities/dmarc/mails.ts';

export const ABOUT = 'example.com';

export interface HostileFigures {
  /** Null where it was published. */
  code: string | null;
  ms: number;
  megabytes: number;
  /** In quarantine. */
  original: string | null;
}

/** The most so far, in MB. */
const most = (): number => (process.resourceUsage().maxRSS * 1_024) / 1e6;

async function main([state = '', mail = '', before]: string[]): Promise<void> {
  const configuration = Configuration.parse({ state, dmarc: { names: { enabled: false } } });
  const dependencies = await openDependencies(configuration, resolveAddresses(configuration));
  try {
    const honest = mailWith({ bytes: reportAbout(ABOUT, { id: 'honest' }) });
    await ingest(honest, ABOUT, 'honest', dependencies);
    if (before) await ingest(await readFile(before), ABOUT, 'before', dependencies);
    const bytes = await readFile(mail);
    const baseline = most();
    const began = performance.now();
    const [end] = await ingest(bytes, ABOUT, 'hostile', dependencies);
    const ms = performance.now() - began;
    const [kept] = await dependencies.records.dmarc.quarantine.list({});
    const figures: HostileFigures = {
      code: end?.code ?? null,
      ms,
      megabytes: most() - baseline,
      original: kept ? `${kept.blob.key.slice(0, 20)}..., ${kept.blob.size} bytes` : null,
    };
    process.stdout.write(`${JSON.stringify(figures)}\n`);
  } finally {
    await dependencies.close();
  }
}

if (import.meta.main) await main(process.argv.slice(2));
