import type { INodeProperties } from 'n8n-workflow';

export const properties: INodeProperties[] = [
  {
    displayName: 'Events',
    name: 'events',
    type: 'multiOptions',
    options: [
      { name: 'Report Published', value: 'published', description: 'It was read and counts from now on' },
      {
        name: 'Report Refused',
        value: 'refused',
        description: 'It could not be taken; the original is in quarantine with the reason',
      },
      { name: 'Report Repeated', value: 'repeated', description: 'It had been published before, and counts once' },
    ],
    default: ['published', 'refused'],
    required: true,
    description: 'What starts the workflow. Each report is an item. Imports of the past start none.',
  },
  {
    displayName: 'Domains',
    name: 'domains',
    type: 'string',
    typeOptions: { multipleValues: true, multipleValueButtonText: 'Add Domain' },
    default: [],
    placeholder: 'example.com',
    description: 'Domains whose report addresses count; none means all',
  },
];
