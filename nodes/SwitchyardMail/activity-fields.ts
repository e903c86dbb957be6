/** Fields of the operations that ask what became of mail. */
import type { INodeProperties } from 'n8n-workflow';
import { listFields } from '../shared/list.ts';

const ACTIVITY = ['activity'];

export const activity: INodeProperties[] = [
  {
    displayName: 'Activity ID',
    name: 'activityId',
    type: 'string',
    default: '={{ $json.id }}',
    required: true,
    displayOptions: { show: { resource: ACTIVITY, operation: ['get'] } },
    description: 'The mail for one recipient: the ID that Receive Mail and Get Many give',
  },
  ...listFields('activity'),
  {
    displayName: 'Filters',
    name: 'filters',
    type: 'collection',
    placeholder: 'Add Filter',
    default: {},
    displayOptions: { show: { resource: ACTIVITY, operation: ['getAll'] } },
    options: [
      {
        displayName: 'Domain',
        name: 'domain',
        type: 'string',
        default: '',
        placeholder: 'example.com',
        description: 'Domain of the recipient',
      },
      {
        displayName: 'Outcomes',
        name: 'outcome',
        type: 'multiOptions',
        options: [
          { name: 'Accepted', value: 'accepted', description: 'Stored and answered for; on its way' },
          { name: 'Bounced', value: 'bounced', description: 'Given up, and its sender told' },
          { name: 'Delivered', value: 'delivered', description: 'Reached its destinations' },
          { name: 'Dropped', value: 'dropped', description: 'Taken, and meant to go nowhere' },
          { name: 'Failed', value: 'failed', description: 'Did not get through, and nobody could be told' },
          { name: 'Refused', value: 'refused', description: 'The destination refused it while the sender waited' },
          { name: 'Rejected', value: 'rejected', description: 'Refused here' },
        ],
        default: [],
        description: 'What became of it; none chosen means all',
      },
      { displayName: 'Recipient', name: 'recipient', type: 'string', default: '', placeholder: 'ann@example.com' },
      { displayName: 'Sender', name: 'sender', type: 'string', default: '', placeholder: 'ann@example.com' },
      {
        displayName: 'Since',
        name: 'since',
        type: 'string',
        default: '24h',
        placeholder: '24h',
        description: 'A time such as {{ $today.toISO() }}, or an age such as 30m, 24h or 7d',
      },
      {
        displayName: 'Until',
        name: 'until',
        type: 'string',
        default: '',
        placeholder: '1h',
        description: 'A time or an age; what came at that time or later is left out',
      },
    ],
  },
];
