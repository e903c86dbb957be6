/** Fields of the questions. */
import type { INodeProperties } from 'n8n-workflow';
import { listFields } from '../shared/list.ts';
import { choice } from './choice.ts';

const DOMAIN: Omit<INodeProperties, 'displayOptions'> = {
  displayName: 'Domain',
  name: 'domain',
  type: 'string',
  default: '',
  required: true,
  placeholder: 'example.com',
  description: 'The domain that is reported about',
};

const FIELDS: Record<'days' | 'failing' | 'from' | 'service' | 'to', INodeProperties> = {
  days: {
    displayName: 'Days',
    name: 'days',
    type: 'number',
    typeOptions: { minValue: 1 },
    default: 30,
    description: 'So many days up to To, where there is no From',
  },
  failing: {
    displayName: 'Only Failing',
    name: 'failing',
    type: 'boolean',
    default: true,
    description: 'Whether to leave out what passed DMARC',
  },
  from: {
    displayName: 'From',
    name: 'from',
    type: 'string',
    default: '',
    placeholder: '2026-11-01',
    description: 'First day, in UTC, such as {{ $today.minus({ days: 7 }).toISODate() }}',
  },
  service: {
    displayName: 'Service',
    name: 'service',
    type: 'string',
    default: '',
    placeholder: 'Google',
    description: 'Only of this sending service, by the name that Get Services gives',
  },
  to: {
    displayName: 'To',
    name: 'to',
    type: 'string',
    default: '',
    placeholder: '2026-11-30',
    description: 'Last day, in UTC, inclusive; today without it',
  },
};
const { days, failing, from, service, to } = FIELDS;

function filters(show: Record<string, string[]>, ...options: INodeProperties[]): INodeProperties {
  return {
    displayName: 'Filters',
    name: 'filters',
    type: 'collection',
    placeholder: 'Add Filter',
    default: {},
    displayOptions: { show },
    options,
  };
}

export const properties: INodeProperties[] = [
  ...choice,
  {
    ...DOMAIN,
    displayOptions: {
      show: {
        resource: ['domain'],
        operation: [
          'add',
          'getAdvice',
          'getDays',
          'getDns',
          'getServices',
          'getSummary',
          'getTls',
          'getWhatIf',
          'remove',
        ],
      },
    },
  },
  {
    ...DOMAIN,
    required: false,
    displayOptions: { show: { resource: ['domain'], operation: ['writeSummary'] } },
    description: 'The domain that it is about. Empty for all of them in one.',
  },
  { ...DOMAIN, displayOptions: { show: { resource: ['failure', 'source'] } } },
  { ...DOMAIN, displayOptions: { show: { resource: ['report'], operation: ['getAll'] } } },
  {
    displayName: 'Address',
    name: 'address',
    type: 'string',
    default: '',
    placeholder: 'dmarc@example.com',
    displayOptions: { show: { resource: ['domain'], operation: ['add'] } },
    description: 'At a mail domain of this Switchyard. Empty for one that is chosen.',
  },
  {
    displayName: 'Records',
    name: 'of',
    type: 'options',
    noDataExpression: true,
    options: [
      { name: 'About a Source', value: 'source', description: 'Newest report first' },
      { name: 'Of a Report', value: 'report', description: 'In the order of the report' },
    ],
    default: 'source',
    displayOptions: { show: { resource: ['record'] } },
  },
  { ...DOMAIN, displayOptions: { show: { resource: ['record'], of: ['source'] } } },
  {
    displayName: 'Source',
    name: 'source',
    type: 'string',
    default: '={{ $json.source }}',
    required: true,
    placeholder: '192.0.2.1',
    displayOptions: { show: { resource: ['record'], of: ['source'] } },
    description: 'IPv4 or IPv6 address',
  },
  {
    displayName: 'Report ID',
    name: 'reportId',
    type: 'string',
    default: '={{ $json.id }}',
    required: true,
    displayOptions: { show: { resource: ['record'], of: ['report'] } },
    description: 'The ID that Switchyard gave it: that of Get Many, of the trigger, or of Parse DMARC Report',
  },
  {
    displayName: 'Report ID',
    name: 'reportId',
    type: 'string',
    default: '={{ $json.id }}',
    required: true,
    displayOptions: { show: { resource: ['report'], operation: ['get'] } },
    description: 'The ID that Switchyard gave it: that of Get Many, of the trigger, or of Parse DMARC Report',
  },
  {
    displayName: 'Entry ID',
    name: 'entryId',
    type: 'string',
    default: '={{ $json.id }}',
    required: true,
    displayOptions: { show: { resource: ['quarantine'], operation: ['delete', 'get', 'read'] } },
  },
  {
    displayName: 'About',
    name: 'about',
    type: 'string',
    default: '',
    placeholder: 'example.com',
    displayOptions: { show: { resource: ['quarantine'], operation: ['read'] } },
    description: 'The domain that it must be about; without it the one whose address it came to',
  },
  ...listFields('failure', 'quarantine', 'record', 'report'),
  {
    displayName: 'Limit',
    name: 'limit',
    type: 'number',
    typeOptions: { minValue: 1, maxValue: 500 },
    default: 50,
    displayOptions: { show: { resource: ['source'] } },
    description: 'Max number of results to return',
  },
  filters({ resource: ['domain'], operation: ['getAll'] }, days),
  filters({ resource: ['domain'], operation: ['getServices', 'getSummary', 'getTls', 'getWhatIf'] }, days, from, to),
  filters(
    { resource: ['domain'], operation: ['writeSummary'] },
    { ...days, default: 7, description: 'How many days, and as many before to compare with' },
    { ...to, description: 'Last day, in UTC, inclusive; yesterday without it' },
  ),
  filters({ resource: ['domain'], operation: ['getDays'] }, days, from, service, to),
  filters({ resource: ['source'], operation: ['getAll'] }, days, from, failing, service, to),
  filters(
    { resource: ['source'], operation: ['getNew'] },
    { ...days, default: 7, description: 'First seen within so many days, today included' },
    failing,
  ),
  filters({ resource: ['record'], of: ['source'] }, from, failing, to),
  filters(
    { resource: ['report'], operation: ['getAll'] },
    from,
    {
      displayName: 'Kind',
      name: 'kind',
      type: 'options',
      options: [
        { name: 'Aggregate', value: 'aggregate' },
        { name: 'Failure', value: 'failure' },
        { name: 'TLS', value: 'tls' },
      ],
      default: 'aggregate',
    },
    to,
  ),
  filters(
    { resource: ['quarantine'], operation: ['getAll'] },
    {
      displayName: 'Domain',
      name: 'domain',
      type: 'string',
      default: '',
      placeholder: 'example.com',
      description: 'Only what came to the address of this domain',
    },
  ),
];
