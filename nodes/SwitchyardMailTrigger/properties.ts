import type { INodeProperties } from 'n8n-workflow';

export const properties: INodeProperties[] = [
  {
    displayName: 'Addresses',
    name: 'addresses',
    type: 'string',
    typeOptions: { multipleValues: true, multipleValueButtonText: 'Add Address' },
    default: [],
    required: true,
    placeholder: 'sales@example.com',
    description:
      'Whose mail starts the workflow. *@example.com stands for every other address of the domain. While the workflow is active, each is a rule of Switchyard.',
  },
  {
    displayName: 'Answer the Sender',
    name: 'answer',
    type: 'options',
    noDataExpression: true,
    options: [
      {
        name: 'By a Mail Verdict Node',
        value: 'verdict',
        description: 'The sender waits while the workflow decides: accept, reject, forward or drop',
      },
      {
        name: 'Accept at Once',
        value: 'taken',
        description: 'The message is stored and accepted, and handed to the workflow until it has it',
      },
    ],
    default: 'verdict',
    description: 'Who decides what the sending server is told',
  },
  {
    displayName:
      'Put a <b>Mail Verdict</b> node where the decision falls. Where the workflow fails, is late or ends without one, the sender is asked to try again (451), and nothing is lost.',
    name: 'verdictNotice',
    type: 'notice',
    default: '',
    displayOptions: { show: { answer: ['verdict'] } },
  },
  {
    displayName: 'Options',
    name: 'options',
    type: 'collection',
    placeholder: 'Add option',
    default: {},
    options: [
      {
        displayName: 'Binary Field',
        name: 'binaryProperty',
        type: 'string',
        default: 'message',
        description: 'Name of the binary field that the message is loaded into',
        displayOptions: { show: { downloadMessage: [true] } },
      },
      {
        displayName: 'Deadline',
        name: 'timeout',
        type: 'number',
        typeOptions: { minValue: 1, maxValue: 60 },
        default: 30,
        description: 'Seconds that the workflow may take for its verdict; after that the sender is asked to try again',
        displayOptions: { show: { '/answer': ['verdict'] } },
      },
      {
        displayName: 'Download Message',
        name: 'downloadMessage',
        type: 'boolean',
        default: false,
        description:
          'Whether to load the whole message as binary data. Without it the item has a reference, which the nodes of Switchyard take.',
      },
      {
        displayName: 'Reply Code Without a Verdict',
        name: 'troubleCode',
        type: 'number',
        typeOptions: { minValue: 400, maxValue: 599 },
        default: 451,
        description:
          'SMTP code that the sender gets when there is no verdict. With 4xx it tries again, with 5xx it gives up.',
        displayOptions: { show: { '/answer': ['verdict'] } },
      },
      {
        displayName: 'Reply Text Without a Verdict',
        name: 'troubleText',
        type: 'string',
        default: '',
        placeholder: 'Please try again later',
        displayOptions: { show: { '/answer': ['verdict'] } },
      },
    ],
  },
];
