/**
 * A domain and what receivers report about it, drawn from a seed: services that pass, one that is half set up, a mailing
 * list, forgers. What was sent is returned as plain rows, so that a test counts them itself.
 */
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import type { AggregateRecord } from '../../../protocols/dmarc/aggregate.ts';
import { dayBefore } from '../../../protocols/dmarc/identity.ts';
import type { BlobStore } from '../../../stores/blobs/port.ts';
import { quarantineOwner, reportOwner, type NumberedRecord } from '../../../stores/records/dmarc/port.ts';
import type { Authentication } from '../../../protocols/mail/authentication.ts';
import { uuidv7 } from '../../../stores/records/ids.ts';
import type { Records } from '../../../stores/records/port.ts';
import { randomNumbers } from '../../protocols/random.ts';
import { report } from '../../stores/contract/dmarc.ts';

export interface Sent {
  day: string;
  organization: string;
  source: string;
  service: string;
  count: number;
  disposition: 'none' | 'quarantine' | 'reject';
  dkim: 'pass' | 'fail';
  spf: 'pass' | 'fail';
  reason?: AggregateRecord['evaluated']['reasons'][number];
  headerFrom?: string;
}

export const passed = ({ dkim, spf }: Sent): boolean => dkim === 'pass' || spf === 'pass';

interface Host {
  source: string;
  service: string;
  name: string | null;
  country: string | null;
  network: string | null;
  /** Messages a day, about. */
  volume: number;
  /** Part of it that passes. */
  passes: number;
  /** Part of the days that it sends on. */
  days: number;
  reason?: Sent['reason'];
  /** Days ago that it began. */
  since?: number;
}

const addresses = (count: number, host: (at: number) => Host): Host[] =>
  Array.from({ length: count }, (_, at) => host(at + 1));

export const HOSTS: readonly Host[] = [
  ...addresses(14, (at) => ({
    source: at > 11 ? `2001:db8:4860::${at.toString(16)}` : `198.51.100.${at}`,
    service: 'Google',
    name: `mail-${at}.google.example`,
    country: 'US',
    network: 'AS64496 Example Search',
    volume: 900,
    passes: 0.997,
    days: 1,
  })),
  ...addresses(9, (at) => ({
    source: `203.0.113.${at}`,
    service: 'Amazon SES',
    name: `a${at}.smtp-out.ses.example`,
    country: 'IE',
    network: 'AS64497 Example Cloud',
    volume: 260,
    passes: 0.99,
    days: 0.9,
  })),
  ...addresses(2, (at) => ({
    source: `192.0.2.${at}`,
    service: 'Mailbird Cloud',
    name: `out${at}.mailbird.example`,
    country: 'NL',
    network: 'AS64511 Mailbird',
    volume: 150,
    passes: 0.2,
    days: 0.7,
  })),
  {
    source: '192.0.2.77',
    service: 'lists.example',
    name: 'mx.lists.example',
    country: 'DE',
    network: 'AS64500 Lists',
    volume: 40,
    passes: 0.4,
    days: 0.8,
    reason: { type: 'mailing_list', comment: 'arc=pass' },
  },
  ...addresses(24, (at) => ({
    source: `100.64.${at}.${(at * 37) % 250}`,
    service: '',
    name: null,
    country: ['BR', 'VN', 'ID', null][at % 4] ?? null,
    network: at % 3 === 0 ? null : `AS6455${at % 5} Dial-up ${at}`,
    volume: 70,
    passes: 0,
    days: 0.15,
    ...(at > 20 ? { since: 4 } : {}),
  })),
];

const REPORTERS = [
  'google.example',
  'Enterprise Mail',
  'Yahoo-like',
  'Mimecast-like',
  'freemail.example',
  'comcast-like',
];

export interface World {
  domain: string;
  /** The last day that is reported. */
  to: string;
  days: number;
  reporters?: number;
  seed?: number;
  policy?: 'none' | 'quarantine' | 'reject';
}

/** What is sent on those days. */
export function draw({ to, days, reporters = 4, seed = 7, policy = 'none' }: World): Sent[] {
  const draws = randomNumbers(seed);
  const next = () => draws(1_000_000) / 1_000_000;
  const sent: Sent[] = [];
  for (let ago = days - 1; ago >= 0; ago--) {
    const day = dayBefore(to, ago);
    const weekend = [0, 6].includes(new Date(day).getUTCDay()) ? 0.45 : 1;
    for (const host of HOSTS) {
      if (ago > (host.since ?? days) || next() > host.days) continue;
      for (let one = 0; one < reporters; one++) {
        const organization = REPORTERS[one] ?? `receiver${one}.example`;
        const messages = Math.ceil((host.volume * weekend * (0.7 + 0.6 * next())) / reporters);
        const failing = host.passes === 0 ? messages : Math.round(messages * (1 - host.passes) * (0.5 + next()));
        const row = { day, organization, source: host.source, service: host.service };
        const good = Math.max(0, messages - failing);
        if (good > 0)
          sent.push({ ...row, count: good, disposition: 'none', dkim: 'pass', spf: next() < 0.9 ? 'pass' : 'fail' });
        if (failing > 0)
          sent.push({
            ...row,
            count: Math.min(failing, messages),
            disposition: host.reason ? 'none' : policy,
            dkim: 'fail',
            spf: 'fail',
            ...(host.reason ? { reason: host.reason } : {}),
          });
      }
    }
  }
  return sent;
}

/** One report a day and reporter, with an original of a few bytes. Returns the ids in the order of publication. */
export async function publish(
  { records, blobs }: { records: Records; blobs: BlobStore },
  sent: Sent[],
  { domain, policy = 'none' }: Pick<World, 'domain' | 'policy'>,
): Promise<string[]> {
  const { number: generation } = await records.dmarc.generations.current();
  const ids: string[] = [];
  for (const [name, rows] of Map.groupBy(sent, ({ day, organization }) => `${day} ${organization}`)) {
    const [first] = rows;
    if (!first) continue;
    const begin = Date.parse(first.day) / 1_000;
    const bytes = Buffer.from(`<feedback><!-- ${name} --></feedback>`);
    const blob = await blobs.write(Readable.from([bytes]), { prefix: 'dmarc/test', maxBytes: 1_000 });
    const whole = report(
      {
        domain,
        organization: first.organization,
        email: `dmarc@${first.organization.toLowerCase().replaceAll(' ', '-')}`,
        reportId: `${domain}!${begin}`,
        begin,
        end: begin + 86_399,
        receivedAt: new Date((begin + 93_600) * 1_000).toISOString(),
        blob,
        sha256: createHash('sha256').update(bytes).digest('hex'),
      },
      name,
    );
    whole.policy = whole.policy && { ...whole.policy, p: policy };
    ids.push(whole.id);
    await records.blobOwners.own(blob, reportOwner(whole.id), null);
    const content = { kind: 'aggregate' as const, records: rows.map((row, at) => toRecord(row, domain, at + 1)) };
    await records.dmarc.reports.publish(whole, content, generation);
  }
  await records.dmarc.hosts.put(
    HOSTS.map(({ source, name, country, network }) => ({ address: source, name, country, network })),
  );
  return ids;
}

function toRecord(sent: Sent, domain: string, number: number): NumberedRecord {
  const { source, count, service, disposition, dkim, spf, reason, headerFrom = domain } = sent;
  return {
    number,
    service,
    record: {
      sourceIp: source,
      count,
      evaluated: { disposition, dkim, spf, reasons: reason ? [reason] : [] },
      identifiers: { headerFrom, envelopeFrom: spf === 'pass' ? domain : 'bounce.example', envelopeTo: null },
      dkim: dkim === 'pass' ? [{ domain, selector: 's1', result: 'pass', humanResult: null }] : [],
      spf: [{ domain: spf === 'pass' ? domain : 'bounce.example', scope: 'mfrom', result: spf, humanResult: null }],
      extensions: [],
    },
  };
}

/** A TLS report and a failure report about the domain, from the day before. Returns their ids. */
export async function publishOthers(
  { records, blobs }: { records: Records; blobs: BlobStore },
  { domain, to, words }: { domain: string; to: string; words: string },
): Promise<{ tls: string; failure: string }> {
  const { number: generation } = await records.dmarc.generations.current();
  const begin = Date.parse(to) / 1_000;
  const blob = await blobs.write(Readable.from([Buffer.from(`{"about": "${domain}"}`)]), {
    prefix: 'dmarc/test',
    maxBytes: 1_000,
  });
  const whole = (kind: 'tls' | 'failure') => {
    const made = report({ domain, kind, policy: null, organization: words, begin, end: begin + 86_399, blob });
    made.receivedAt = new Date((begin + 93_600) * 1_000).toISOString();
    return made;
  };
  const [tls, failure] = [whole('tls'), whole('failure')];
  const failed = {
    resultType: 'certificate-expired',
    sendingMtaIp: '198.51.100.7',
    receivingMxHostname: `mx.${domain}`,
    receivingMxHelo: null,
    receivingIp: '203.0.113.25',
    sessions: 14,
    additionalInformation: words,
    reasonCode: null,
  };
  const policy = { type: 'sts', domain, text: ['version: STSv1', 'mode: enforce'], mxHosts: [`mx.${domain}`] };
  const policies = [{ ...policy, successful: 4_210, failed: 14, failures: [failed] }];
  await records.dmarc.reports.publish(tls, { kind: 'tls', policies }, generation);
  const about = {
    authFailure: ['dmarc'],
    identityAlignment: [],
    sourceIp: '100.64.3.111',
    reportedDomain: domain,
    deliveryResult: 'reject',
    arrivedAt: begin + 3_600,
    mailFrom: `ceo@${domain}`,
    rcptTo: ['ann@receiver.example'],
    envelopeId: null,
    authenticationResults: [words],
    dkim: { domain: null, identity: null, selector: null },
    spfRecords: [],
    reporter: { userAgent: words, mta: 'mx.receiver.example' },
    incidents: 1,
  };
  await records.dmarc.reports.publish(failure, { kind: 'failure', failure: about }, generation);
  return { tls: tls.id, failure: failure.id };
}

interface Refused {
  domain: string;
  words: string;
  code?: string;
  authentication?: Authentication | null;
}

/** Something that was refused. Returns its id. */
export async function refuse(
  { records, blobs }: { records: Records; blobs: BlobStore },
  { domain, words, code = 'dmarc.doctype', authentication = null }: Refused,
): Promise<string> {
  const id = uuidv7();
  const blob = await blobs.write(Readable.from([Buffer.from('<!DOCTYPE feedback><feedback/>')]), {
    prefix: 'dmarc/test',
    maxBytes: 100,
  });
  await records.blobOwners.own(blob, quarantineOwner(id), null);
  await records.dmarc.quarantine.put({
    id,
    act: `test/${id}`,
    domain,
    address: `dmarc@in.example`,
    sender: words,
    receivedAt: new Date().toISOString(),
    code,
    message: words,
    blob,
    file: words,
    mail: { activityId: null, sender: words, headerFrom: words, authentication },
    expiresAt: new Date(Date.now() + 30 * 86_400_000).toISOString(),
  });
  return id;
}
