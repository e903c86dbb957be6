/** The advice as it is made from published reports: the judgement's own tests know no store. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openDependencies, type OpenDependencies } from '../../../activities/open.ts';
import { adviseOn } from '../../../activities/dmarc/advise.ts';
import { dayBefore } from '../../../protocols/dmarc/identity.ts';
import { resolveAddresses } from '../../../stores/configuration/addresses.ts';
import { Configuration } from '../../../stores/configuration/schema.ts';
import { publish, type Sent } from '../../servers/http/dmarc-world.ts';

const TO = '2026-10-31';

let folder: string;
let dependencies: OpenDependencies;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'switchyard-advise-'));
  const configuration = Configuration.parse({ state: folder });
  dependencies = await openDependencies(configuration, resolveAddresses(configuration));
});
afterAll(async () => {
  await dependencies?.close();
  await rm(folder, { recursive: true, force: true });
});

const PASSING = { disposition: 'none', dkim: 'pass', spf: 'fail' } as const;
const FAILING = { disposition: 'none', dkim: 'fail', spf: 'fail' } as const;
const row = { day: TO, organization: 'r.test', source: '192.0.2.1', service: '' };
/** Good mail of every day in five weeks. */
const good = (count = 400): Sent[] =>
  Array.from({ length: 35 }, (_, back) => {
    return { ...row, ...PASSING, day: dayBefore(TO, back), source: '192.0.2.250', service: 'Mailer', count };
  });

let count = 0;
async function adviceOn(sent: Sent[], policy: 'none' | 'quarantine' = 'none') {
  const domain = `d${++count}.example`;
  await publish(dependencies, sent, { domain, policy });
  return (await adviseOn(dependencies.records.dmarc.queries, domain, TO)).advice;
}

it('counts the days that have messages: two reports 33 days apart do not make a month', async () => {
  const sent = [
    { ...row, ...PASSING, day: dayBefore(TO, 32), count: 1 },
    { ...row, ...PASSING, day: TO, count: 150 },
  ];
  expect(await adviceOn(sent, 'quarantine')).toMatchObject({
    step: 'wait',
    title: 'Wait: only 2 of 33 days have messages.',
  });
});

it('takes what was quarantined though it passed for no failing message that is handled already', async () => {
  const own = { ...row, day: TO };
  const sent: Sent[] = [
    ...good(),
    { ...own, ...PASSING, disposition: 'quarantine', count: 800 },
    { ...own, ...FAILING, count: 200 },
  ];
  expect(await adviceOn(sent)).toMatchObject({
    step: 'fix',
    title: 'Fix 192.0.2.1, then move to p=quarantine.',
    senders: [{ name: '192.0.2.1', hit: 200, exempt: 0 }],
  });
});

it('makes the same allowance for exceptions of an address and of a service', async () => {
  const reason = { type: 'mailing_list', comment: null } as const;
  for (const service of ['', 'Lists']) {
    const sent = [
      ...good(),
      { ...row, ...PASSING, service, count: 800 },
      { ...row, ...FAILING, service, reason, count: 200 },
    ];
    expect([service, (await adviceOn(sent)).step]).toEqual([service, 'raise']);
  }
});
