/** A step of an import by itself, with a DNS server that takes questions and never answers. */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { importSome } from '../../../activities/dmarc/import-some.ts';
import { openDependencies, type OpenDependencies } from '../../../activities/open.ts';
import { resolveAddresses } from '../../../stores/configuration/addresses.ts';
import { Configuration } from '../../../stores/configuration/schema.ts';
import { wantedJob } from '../../stores/contract/jobs.ts';
import { feedback, range, record, row } from '../../protocols/dmarc/report.ts';
import { stepContext, stored } from './mails.ts';

let folder: string;
let dependencies: OpenDependencies;
let dns: Socket;
let questions = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'switchyard-import-'));
  dns = createSocket('udp4', () => (questions += 1));
  dns.bind(0, '127.0.0.1');
  await once(dns, 'listening');
  const configuration = Configuration.parse({
    state: folder,
    dns: { servers: [`127.0.0.1:${dns.address().port}`] },
    dmarc: { names: { wait: '200ms' } },
  });
  dependencies = await openDependencies(configuration, resolveAddresses(configuration));
  await dependencies.records.rules.applyDeclared([{ domain: 'mail.test', rules: [] }]);
  await dependencies.records.dmarc.domains.put('example.com', 'reports@mail.test', 'test');
});
afterAll(async () => {
  await dependencies?.close();
  dns?.close();
  await rm(folder, { recursive: true, force: true });
});

async function importOne(id: string, ip: string, before: { asksNames?: boolean } = {}) {
  const { job } = await dependencies.records.jobs.request(wantedJob());
  await dependencies.records.jobs.take(job.key, 'a');
  const bytes = feedback(
    `<report_metadata><org_name>receiver.test</org_name><email>d@receiver.test</email><report_id>${id}</report_id>${range('1700000000', '1700086399')}</report_metadata>` +
      `<policy_published><domain>example.com</domain><p>none</p></policy_published>${record({ row: row({ ip }) })}`,
  );
  const archive = await stored(Buffer.from(bytes), dependencies, 'import');
  const begin = { at: 0, mailbox: null, startedAt: new Date().toISOString(), imported: 0, repeated: 0, others: 0 };
  const input = { ...begin, refused: {}, ...before, job: job.id, archive };
  const end = await importSome.call(input, dependencies, stepContext('step'));
  const lines = (await dependencies.records.jobs.lines(job.id)).map(({ words }) => words);
  return { end, said: lines.filter((words) => words.startsWith('Nobody answers')) };
}

it('waits for the names of hosts once where nobody answers, says so, and the steps after it ask no more', async () => {
  const first = await importOne('1', '203.0.113.1');
  expect(first.end).toMatchObject({ imported: 1, asksNames: false, isDone: true });
  expect(first.said).toHaveLength(1);
  expect(questions).toBeGreaterThan(0);
  const asked = questions;
  const next = await importOne('2', '203.0.113.2', first.end);
  expect([next.end.imported, next.said, questions]).toEqual([1, [], asked]);
});
