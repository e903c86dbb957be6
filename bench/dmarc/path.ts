/**
 * The whole way of reports: mails over SMTP into durable runs, until the last record is published. A real installation,
 * with a name server of its own that knows none of the sources.
 */
import { readFileSync } from 'node:fs';
import { FORWARD_DOMAIN } from '../../cli/demo/world.ts';
import { mailWith } from '../../test/activities/dmarc/mails.ts';
import { openHouse } from '../../test/support/house.ts';
import { usageOf } from '../../test/support/processes.ts';
import type { Workload } from './reports.ts';

export interface PathFigures {
  reports: number;
  records: number;
  /** Reports a second, from the first connection to the last published record. */
  rate: number;
  /** CPU ms a report, in all and by part. */
  cpu: number;
  parts: Record<string, number>;
}

const ABOUT = 'example.com';
const ADDRESS = `reports@${FORWARD_DOMAIN}`;
const SESSIONS = 10;
/** ms without a new report after which what is missing is lost. */
const PUBLISHED_WITHIN = 60_000;
const ALL_DAYS = { domain: ABOUT, from: '2000-01-01', to: '2099-12-31' };

/** @param warmUp reports that are sent beforehand and not measured */
export async function measurePath(workload: Workload, warmUp: number): Promise<PathFigures> {
  const house = await openHouse({ dmarc: { quota: { sender: { mails: 1_000_000 }, address: { mails: 1_000_000 } } } });
  try {
    await house.records.dmarc.domains.put(ABOUT, ADDRESS, 'bench');
    const { queries } = house.records.dmarc;
    const published = async () => (await queries.totals(ALL_DAYS)).reports;
    const send = async (files: string[]): Promise<void> => {
      const wanted = (await published()) + files.length;
      const left = [...files];
      const session = async () => {
        for (let file = left.pop(); file; file = left.pop()) {
          const message = mailWith({ bytes: readFileSync(file), name: 'report.xml.gz', type: 'application/gzip' });
          const { data } = await house.send({ to: [ADDRESS], message });
          if (!data?.startsWith('250')) throw new Error(`a report was not taken: ${data}`);
        }
      };
      await Promise.all(Array.from({ length: SESSIONS }, session));
      let last = { count: await published(), at: Date.now() };
      while (last.count < wanted) {
        await new Promise((resolve) => setTimeout(resolve, 50));
        const count = await published();
        if (count !== last.count) last = { count, at: Date.now() };
        if (Date.now() - last.at > PUBLISHED_WITHIN) throw new Error(`${wanted - count} reports were not published`);
      }
    };
    const usage = () =>
      Object.fromEntries(house.installation.processes.map(({ name, pid }) => [name, usageOf([pid]).cpu]));
    const measured = workload.files.slice(warmUp);
    await send(workload.files.slice(0, warmUp));
    const messages = (await queries.totals(ALL_DAYS)).messages;
    const before = usage();
    const start = performance.now();
    await send(measured);
    const seconds = (performance.now() - start) / 1_000;
    const after = usage();
    const parts = Object.fromEntries(
      Object.entries(after).map(([name, cpu]) => [name, (cpu - (before[name] ?? 0)) / measured.length]),
    );
    const totals = await queries.totals(ALL_DAYS);
    if (totals.messages !== workload.messages)
      throw new Error(`${totals.messages} messages are published (${messages} before), not ${workload.messages}`);
    return {
      reports: measured.length,
      records: workload.records,
      rate: measured.length / seconds,
      cpu: Object.values(parts).reduce((sum, one) => sum + one, 0),
      parts,
    };
  } finally {
    await house.close();
  }
}
