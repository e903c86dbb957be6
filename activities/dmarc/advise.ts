/** What to do next about a domain's policy: asks the store for the evidence. The judgement itself is in the protocols. */
import { advise, ADVICE_DAYS, type Advice, type Evidence } from '../../protocols/dmarc/advice.ts';
import { dayBefore } from '../../protocols/dmarc/identity.ts';
import type { DmarcAnswers, DmarcQueries, Range } from '../../stores/records/dmarc/queries-port.ts';

const NONE = { hit: 0, exempt: 0 };
const UNTOUCHED = { quarantine: NONE, reject: NONE, failed: NONE };

/** @param to the last day that counts, `YYYY-MM-DD` */
export async function adviseOn(
  queries: DmarcQueries,
  domain: string,
  to: string,
): Promise<{ range: Range; advice: Advice }> {
  const range = { domain, from: dayBefore(to, ADVICE_DAYS - 1), to };
  return { range, advice: advise(await queries.inOneState((of) => evidenceOf(of, range))) };
}

async function evidenceOf(queries: DmarcAnswers, range: Range): Promise<Evidence> {
  const policy = await queries.policy(range.domain);
  const days = await queries.days(range);
  const services = await queries.countsByService(range);
  const whatIf = await queries.whatIf(range);
  const unnamed = await queries.countsBySource({ ...range, service: '', failing: true, limit: 500 });
  const hits = await queries.whatIfSources({ ...range, sources: unnamed.map(({ source }) => source) });
  const hitOf = new Map(hits.map((one) => [one.source, one]));
  return {
    policy: policy?.policy ?? null,
    days: days.map(({ day }) => day),
    services,
    whatIf,
    // What p does not rule of an address is in none of its figures.
    unnamed: unnamed.map((one) => ({ ...one, ...(hitOf.get(one.source) ?? UNTOUCHED) })),
  };
}
