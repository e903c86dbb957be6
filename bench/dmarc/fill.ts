/**
 * A year and a month of reports about five domains, drawn from a seed and published through the store's own port: most
 * have a few records, some are large. A few hundred addresses send daily; tens of thousands come up a few times, each
 * within some weeks of its own, as forwarders and forgers do.
 */
import { createHash } from 'node:crypto';
import type { AggregateRecord } from '../../protocols/dmarc/aggregate.ts';
import { dayOf, reportIdentity } from '../../protocols/dmarc/identity.ts';
import type { NewReport, NumberedRecord } from '../../stores/records/dmarc/port.ts';
import { uuidv7 } from '../../stores/records/ids.ts';
import type { Records } from '../../stores/records/port.ts';
import { randomNumbers } from '../../test/protocols/random.ts';

export interface Filled {
  reports: number;
  records: number;
  /** Seconds that publishing took. */
  seconds: number;
  /** The one with most reports. */
  domain: string;
  /** An address that sends to every receiver on every day. */
  busiest: string;
  /** One that came up a few times. */
  rare: string;
  service: string;
  /** The report with most records. */
  largest: string;
}

/** Hundredths of all reports. */
const DOMAINS = [50, 25, 15, 8, 2];
const DAYS = 400;
const DAY = 86_400;
const RECEIVERS = 150;
const SERVICES = 400;
const DAILY = 200;
const RARE = 25_000;
/** A rare address is seen within so many days. */
const EPISODE = 21;
/** One report in so many has a thousand records. */
const LARGE_EVERY = 1_000;
const LARGE_RECORDS = 1_000;
const LARGEST_RECORDS = 20_000;
const SMALL_MOST = 9;

const nameOf = (index: number): string => `domain${index + 1}.example`;
const serviceName = (index: number): string => (index === 0 ? '' : `service${index}.example`);
const dailyAddress = (index: number): string => `198.18.${index >> 8}.${index & 255}`;
const rareAddress = (index: number): string => `10.${index & 255}.${(index >> 8) & 255}.${1 + (index % 250)}`;

/** @param reports of all domains together */
export async function fill(records: Records, reports: number): Promise<Filled> {
  const below = randomNumbers(20_260_101);
  const generation = (await records.dmarc.generations.current()).number;
  const today = Math.floor(Date.now() / 1_000 / DAY) * DAY;
  let count = 0;
  let largest = '';
  const publish = async (domain: string, day: number, size: number): Promise<void> => {
    const report = reportOf(domain, today - day * DAY, below(RECEIVERS), count);
    const rows = recordsOf(domain, day, size, below);
    await records.dmarc.reports.publish(report, { kind: 'aggregate', records: rows }, generation);
    if (size === LARGEST_RECORDS) largest = report.id;
    count += size;
  };
  const start = performance.now();
  for (let number = 0; number < reports; number += 1) {
    // Day after day, as they come.
    const day = DAYS - Math.floor((number * DAYS) / reports);
    const size = number % LARGE_EVERY === LARGE_EVERY - 1 ? LARGE_RECORDS : 1 + below(SMALL_MOST);
    await publish(nameOf(weighted(DOMAINS, below(100))), day, size);
    if (number % 50 === 0) await publishOthers(records, nameOf(0), today - day * DAY, number, generation);
  }
  await publish(nameOf(0), 3, LARGEST_RECORDS);
  const seconds = (performance.now() - start) / 1_000;
  return {
    reports: reports + 1,
    records: count,
    seconds,
    domain: nameOf(0),
    busiest: dailyAddress(0),
    rare: rareAddress(1),
    service: serviceName(1),
    largest,
  };
}

function weighted(parts: number[], at: number): number {
  let sum = 0;
  return parts.findIndex((part) => (sum += part) > at);
}

function reportOf(
  domain: string,
  begin: number,
  receiver: number,
  number: number,
  kind: NewReport['kind'] = 'aggregate',
) {
  const sha256 = createHash('sha256').update(`${kind} ${number}`).digest('hex');
  const end = begin + DAY - 1;
  const receivedAt = new Date((end + 3_600) * 1_000).toISOString();
  const whole: Omit<NewReport, 'identity'> = {
    id: uuidv7(Date.parse(receivedAt)),
    kind,
    domain,
    policyDomain: number % 10 === 0 ? `news.${domain}` : domain,
    organization: `Receiver ${receiver}`,
    email: `dmarc@receiver${receiver}.example`,
    reportId: `${number}.${begin}`,
    begin,
    end,
    day: dayOf(begin, end),
    receivedAt,
    sha256,
    blob: { key: `dmarc/${sha256}`, sha256, size: 2_000 },
    file: 'report.xml',
    mail: { activityId: `activity-${number}`, sender: '', headerFrom: null, authentication: null },
    policy: kind === 'aggregate' ? POLICY(domain) : null,
    details: { form: 'rfc7489' },
    warnings: [],
    parser: 1,
  };
  return { ...whole, identity: reportIdentity(whole) };
}

const POLICY = (domain: string): NewReport['policy'] => ({
  ...{ domain, p: 'quarantine', sp: null, np: null, adkim: 'r', aspf: 'r', pct: 100, fo: null },
  ...{ testing: null, discoveryMethod: null },
});

function recordsOf(domain: string, day: number, size: number, below: (most: number) => number): NumberedRecord[] {
  return Array.from({ length: size }, (_, index) => {
    const isDaily = size < LARGE_RECORDS && below(10) < 6;
    // The first of them send most.
    const daily = Math.floor(below(DAILY) ** 2 / DAILY);
    const rare = rareOn(day, below);
    const own = isDaily && below(30) > 0;
    return {
      number: index + 1,
      service: isDaily ? serviceName(1 + (daily % (SERVICES - 1))) : serviceName(rare % 3 === 0 ? rare % SERVICES : 0),
      record: {
        sourceIp: isDaily ? dailyAddress(daily) : rareAddress(rare),
        count: 1 + below(isDaily ? 200 : 4),
        evaluated: {
          disposition: own ? 'none' : (['none', 'quarantine', 'quarantine', 'reject'] as const)[below(4)]!,
          dkim: own ? 'pass' : 'fail',
          spf: own && below(3) > 0 ? 'pass' : 'fail',
          reasons: !own && below(8) === 0 ? [{ type: 'mailing_list', comment: null }] : [],
        },
        identifiers: { headerFrom: domain, envelopeFrom: `bounce.${domain}`, envelopeTo: null },
        dkim: [{ domain, selector: 's1', result: own ? 'pass' : 'fail', humanResult: null }],
        spf: [{ domain: `bounce.${domain}`, scope: 'mfrom', result: own ? 'pass' : 'fail', humanResult: null }],
        extensions: [],
      } satisfies AggregateRecord,
    };
  });
}

/** One of those whose weeks the day is in. */
function rareOn(day: number, below: (most: number) => number): number {
  const first = Math.floor(((day - EPISODE) * RARE) / DAYS);
  const many = Math.floor((EPISODE * RARE) / DAYS);
  return (((first + below(many)) % RARE) + RARE) % RARE;
}

async function publishOthers(
  records: Records,
  domain: string,
  begin: number,
  number: number,
  generation: number,
): Promise<void> {
  const failed = { sendingMtaIp: null, receivingMxHelo: null, receivingIp: null, reasonCode: null };
  const policies = [
    {
      ...{ type: 'sts', domain, text: [], mxHosts: [], successful: 900, failed: number % 7 },
      failures: [
        {
          ...{ ...failed, resultType: 'certificate-expired', receivingMxHostname: `mx${number % 4}.${domain}` },
          ...{ sessions: number % 7, additionalInformation: null },
        },
      ],
    },
  ];
  const tls = reportOf(domain, begin, number % RECEIVERS, number, 'tls');
  await records.dmarc.reports.publish(tls, { kind: 'tls', policies }, generation);
  const failure = {
    ...{ authFailure: ['dmarc'], identityAlignment: [], sourceIp: rareAddress(number), reportedDomain: domain },
    ...{ deliveryResult: 'reject', arrivedAt: begin, mailFrom: null, rcptTo: [], envelopeId: null },
    ...{ authenticationResults: [], dkim: { domain: null, identity: null, selector: null }, spfRecords: [] },
    ...{ reporter: { userAgent: null, mta: null }, incidents: 1 },
  };
  const about = reportOf(domain, begin, number % RECEIVERS, number, 'failure');
  await records.dmarc.reports.publish(about, { kind: 'failure', failure }, generation);
}
