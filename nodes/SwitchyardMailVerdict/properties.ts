import type { INodeProperties } from 'n8n-workflow';

const show = (operation: string) => ({ show: { operation: [operation] } });

export const properties: INodeProperties[] = [
  {
    displayName: 'Verdict',
    name: 'operation',
    type: 'options',
    noDataExpression: true,
    options: [
      {
        name: 'Accept',
        value: 'accept',
        action: 'Accept the mail',
        description: 'The sender is told that it was delivered; the workflow did what was to be done',
      },
      {
        name: 'Drop',
        value: 'drop',
        action: 'Drop the mail',
        description: 'The sender is told that it was delivered, and it goes nowhere',
      },
      {
        name: 'Forward',
        value: 'forward',
        action: 'Forward the mail',
        description: 'It goes on to other addresses, sealed, and delivered durably',
      },
      {
        name: 'Reject',
        value: 'reject',
        action: 'Reject the mail',
        description: 'The sender is told that it is refused, with a code and words',
      },
    ],
    default: 'accept',
  },
  {
    displayName: 'Code',
    name: 'code',
    type: 'number',
    typeOptions: { minValue: 400, maxValue: 599 },
    default: 550,
    displayOptions: show('reject'),
    description: 'SMTP reply code: with 5xx the sender gives up, with 4xx it tries again later',
  },
  {
    displayName: 'Text',
    name: 'text',
    type: 'string',
    default: '',
    placeholder: 'We do not take mail of this kind',
    displayOptions: show('reject'),
    description: 'What the sender reads',
  },
  {
    displayName: 'Enhanced Code',
    name: 'enhanced',
    type: 'string',
    default: '',
    placeholder: '5.7.1',
    displayOptions: show('reject'),
    description: 'Status code of RFC 3463. Left empty, it follows from the code.',
  },
  {
    displayName: 'Forward To',
    name: 'destinations',
    type: 'string',
    default: '',
    required: true,
    placeholder: 'ann@example.com, bob@example.com',
    displayOptions: show('forward'),
    description: 'One or more addresses, with commas between them; each gets its own delivery',
  },
];
