/** Columns of the tables about reports as CSV files, for the API and for the pages. */
import type {
  Counts,
  DayCounts,
  ServiceCounts,
  SourceCounts,
  StoredRecord,
  StoredTlsFailure,
  WhatIf,
} from '../../../stores/records/dmarc/queries-port.ts';
import type { DmarcReport } from '../../../stores/records/dmarc/port.ts';
import type { Column } from '../csv.ts';

/** A column of each name, by the fields of the rows. */
function fields<Row>(...names: (keyof Row & string)[]): Column<Row>[] {
  return names.map((name) => ({ name, value: (row) => row[name] as string | number | null }));
}

const counts = fields<Counts>('messages', 'passed', 'dkim', 'spf', 'quarantined', 'rejected');

export const dayColumns: Column<DayCounts>[] = [...fields<DayCounts>('day'), ...counts];
export const serviceColumns: Column<ServiceCounts>[] = [...fields<ServiceCounts>('service', 'sources'), ...counts];
export const sourceColumns: Column<SourceCounts>[] = [
  ...fields<SourceCounts>('source', 'service', 'name', 'country', 'network', 'firstDay', 'lastDay'),
  ...counts,
];

export interface WhatIfRow {
  policy: 'quarantine' | 'reject';
  service: string;
  hit: number;
  exempt: number;
}
export const whatIfColumns = fields<WhatIfRow>('policy', 'service', 'hit', 'exempt');
export const whatIfRows = ({ quarantine, reject }: WhatIf): WhatIfRow[] => [
  ...quarantine.services.map((one) => ({ policy: 'quarantine' as const, ...one })),
  ...reject.services.map((one) => ({ policy: 'reject' as const, ...one })),
];

export const reportColumns: Column<DmarcReport>[] = [
  ...fields<DmarcReport>('id', 'kind', 'day', 'organization', 'email', 'reportId', 'policyDomain', 'receivedAt'),
  ...fields<DmarcReport>('records', 'messages', 'passed', 'sha256'),
];

export const recordColumns: Column<StoredRecord>[] = [
  ...fields<StoredRecord>('day', 'organization', 'reportId', 'number'),
  { name: 'source', value: ({ record }) => record.sourceIp },
  ...fields<StoredRecord>('service'),
  { name: 'messages', value: ({ record }) => record.count },
  { name: 'disposition', value: ({ record }) => record.evaluated.disposition },
  { name: 'dkimAligned', value: ({ record }) => record.evaluated.dkim },
  { name: 'spfAligned', value: ({ record }) => record.evaluated.spf },
  { name: 'headerFrom', value: ({ record }) => record.identifiers.headerFrom },
  { name: 'envelopeFrom', value: ({ record }) => record.identifiers.envelopeFrom },
  { name: 'envelopeTo', value: ({ record }) => record.identifiers.envelopeTo },
  { name: 'dkim', value: ({ record }) => record.dkim.map(dkimWords).join('; ') },
  { name: 'spf', value: ({ record }) => record.spf.map(spfWords).join('; ') },
  {
    name: 'reasons',
    value: ({ record }) =>
      record.evaluated.reasons
        .map(({ type, comment }) => [type ?? 'unknown', comment].filter(Boolean).join(': '))
        .join('; '),
  },
];

export const tlsFailureColumns: Column<StoredTlsFailure>[] = [
  ...fields<StoredTlsFailure>('policy', 'number', 'type', 'domain'),
  ...fields<StoredTlsFailure['failure']>(
    'resultType',
    'sessions',
    'sendingMtaIp',
    'receivingMxHostname',
    'receivingMxHelo',
    'receivingIp',
    'reasonCode',
    'additionalInformation',
  ).map(({ name, value }) => ({ name, value: ({ failure }: StoredTlsFailure) => value(failure) })),
];

/** `pass example.com selector` */
export const dkimWords = ({ result, domain, selector }: StoredRecord['record']['dkim'][number]): string =>
  [result ?? 'unknown', domain, selector].filter(Boolean).join(' ');

/** `pass example.com` */
export const spfWords = ({ result, domain }: StoredRecord['record']['spf'][number]): string =>
  [result ?? 'unknown', domain].filter(Boolean).join(' ');
