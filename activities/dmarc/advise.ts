/** What to do next about a domain's policy: asks the store for the evidence. The judgement itself is in the protocols. */
import { advise, ADVICE_DAYS, type Advice } from '../../protocols/dmarc/advice.ts';
import { dayBefore } from '../../protocols/dmarc/identity.ts';
import type { DmarcQueries, Range } from '../../stores/records/dmarc/queries-port.ts';

/** @param to the last day that counts, `YYYY-MM-DD` */
export async function adviseOn(
  queries: DmarcQueries,
  domain: string,
  to: string,
): Promise<{ range: Range; advice: Advice }> {
  const range = { domain, from: dayBefore(to, ADVICE_DAYS - 1), to };
  const [policy, days, services, whatIf, unnamed] = await Promise.all([
    queries.policy(domain),
    queries.days(range),
    queries.services(range),
    queries.whatIf(range),
    queries.sources({ ...range, service: '', failing: true, limit: 500 }),
  ]);
  const advice = advise({
    policy: policy?.policy ?? null,
    firstDay: days[0]?.day ?? null,
    lastDay: days.at(-1)?.day ?? null,
    services,
    whatIf,
    unnamed,
  });
  return { range, advice };
}
