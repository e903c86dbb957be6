import type { INodeProperties } from 'n8n-workflow';
import { DURABLE } from '../shared/durable.ts';

export interface Options {
  output?: 'reports' | 'records';
}

export const properties: INodeProperties[] = [
  {
    displayName: 'Operation',
    name: 'operation',
    type: 'options',
    noDataExpression: true,
    options: [
      {
        name: 'Parse',
        value: 'parse',
        action: 'Parse a DMARC or TLS report',
        description: 'Read what is in it, and keep nothing',
      },
      {
        name: 'Publish',
        value: 'publish',
        action: 'Publish a DMARC or TLS report',
        description: 'Count it in the figures of its domain, once however often it comes',
      },
    ],
    default: 'parse',
  },
  {
    displayName: 'Input Binary Fields',
    name: 'binaryFields',
    type: 'string',
    default: '',
    placeholder: 'data, attachment_0',
    hint: 'The names of the input binary fields with commas between them; empty for every file of the item',
    description:
      'A whole mail, an attachment or a file: zip, gzip, XML or JSON, found out by its bytes. Pictures and texts beside a report are passed over.',
  },
  {
    displayName: 'Domain',
    name: 'domain',
    type: 'string',
    default: '',
    placeholder: 'example.com',
    displayOptions: { show: { operation: ['publish'] } },
    description:
      'The domain that the reports must be about. Empty for any that has a report address here; what is about another goes into quarantine.',
  },
  DURABLE,
  {
    displayName: 'Options',
    name: 'options',
    type: 'collection',
    placeholder: 'Add option',
    default: {},
    displayOptions: { show: { operation: ['parse'] } },
    options: [
      {
        displayName: 'Output',
        name: 'output',
        type: 'options',
        options: [
          { name: 'One Item per Record', value: 'records', description: 'The first five records of each report' },
          { name: 'One Item per Report', value: 'reports' },
        ],
        default: 'reports',
        description:
          'What becomes an item. Only the first five records are shown of a file, and long texts are cut; recordsTotal says how many there are. For all of them publish the report, and use Query DMARC.',
      },
    ],
  },
];
