import type { INodeProperties } from 'n8n-workflow';

export const properties: INodeProperties[] = [
  {
    displayName: 'Outcomes',
    name: 'outcomes',
    type: 'multiOptions',
    options: [
      { name: 'Bounced', value: 'bounced', description: 'A mail was given up and its sender told' },
      { name: 'Cancelled', value: 'cancelled', description: 'Somebody asked the run to stop' },
      { name: 'Completed', value: 'completed', description: 'The run ended well' },
      { name: 'Delivered', value: 'delivered', description: 'A mail reached its destinations' },
      { name: 'Failed', value: 'failed', description: 'The run failed, or a mail did and nobody could be told' },
      {
        name: 'Published',
        value: 'published',
        description: 'A mail with reports about a domain was read and published',
      },
      {
        name: 'Quarantined',
        value: 'quarantined',
        description: 'Something in a mail with reports could not be taken and is kept for a look at it',
      },
      { name: 'Refused', value: 'refused', description: 'A mail was refused, and its sender was told in the session' },
      { name: 'Repeated', value: 'repeated', description: 'A mail with reports had nothing new in it' },
      { name: 'Terminated', value: 'terminated', description: 'Somebody ended the run by force' },
      { name: 'Timed Out', value: 'timed_out', description: 'The run had no more time' },
    ],
    default: ['failed', 'cancelled', 'terminated', 'timed_out', 'bounced', 'quarantined'],
    description:
      'Ends that start the workflow. None chosen means all that somebody should look at, which is what is chosen here at first.',
  },
  {
    displayName: 'Workflow Names or IDs',
    name: 'workflows',
    type: 'multiOptions',
    typeOptions: { loadOptionsMethod: 'getWorkflows' },
    default: [],
    description:
      'Kinds of runs; none chosen means all. Choose from the list, or specify IDs using an <a href="https://docs.n8n.io/code/expressions/">expression</a>.',
  },
];
