import type { INodeProperties } from 'n8n-workflow';
import { DURABLE } from '../shared/durable.ts';

export interface Options {
  keepInput?: boolean;
  downloadMessage?: boolean;
  binaryProperty?: string;
}

const show = (...operation: string[]) => ({ show: { operation } });
const MESSAGE_OPERATIONS = ['deliver', 'dkimSign', 'parse', 'sealArc', 'verify'];
const NEW_MAIL = ['compose', 'send'];

const choice: INodeProperties[] = [
  {
    displayName: 'Resource',
    name: 'resource',
    type: 'options',
    noDataExpression: true,
    options: [
      { name: 'Message', value: 'message', description: 'One that is there, received or in a file' },
      { name: 'New Mail', value: 'newMail', description: 'One that is written here' },
    ],
    default: 'message',
  },
  {
    displayName: 'Operation',
    name: 'operation',
    type: 'options',
    noDataExpression: true,
    displayOptions: { show: { resource: ['message'] } },
    options: [
      {
        name: 'Deliver',
        value: 'deliver',
        action: 'Deliver a message',
        description: 'Hand it to the mail server of one recipient, as it is',
      },
      {
        name: 'DKIM-Sign',
        value: 'dkimSign',
        action: 'Sign a message with DKIM',
        description: 'Sign it with the key of a domain of yours',
      },
      {
        name: 'Parse',
        value: 'parse',
        action: 'Parse a message',
        description: 'Read addresses, subject, text, and the list of attachments',
      },
      {
        name: 'Seal with ARC',
        value: 'sealArc',
        action: 'Seal a message with ARC',
        description: 'Let its verification survive the forwarding',
      },
      {
        name: 'Verify',
        value: 'verify',
        action: 'Verify a message',
        description: 'Check SPF, DKIM, DMARC and ARC',
      },
    ],
    default: 'verify',
  },
  {
    displayName: 'Operation',
    name: 'operation',
    type: 'options',
    noDataExpression: true,
    displayOptions: { show: { resource: ['newMail'] } },
    options: [
      {
        name: 'Compose',
        value: 'compose',
        action: 'Compose a new mail',
        description: 'Write a message and keep it, without sending it',
      },
      {
        name: 'Send',
        value: 'send',
        action: 'Send a new mail',
        description: 'Write a message, DKIM-sign it and send it from a domain of yours to addresses that are declared',
      },
    ],
    default: 'send',
  },
];

const message: INodeProperties[] = [
  {
    displayName: 'Message Source',
    name: 'messageSource',
    type: 'options',
    options: [
      { name: 'Reference', value: 'reference', description: 'As Receive Mail and the nodes of Switchyard give it' },
      { name: 'Binary Field', value: 'binary', description: 'A file with the raw message, such as message.eml' },
    ],
    default: 'reference',
    displayOptions: show(...MESSAGE_OPERATIONS),
  },
  {
    displayName: 'Message',
    name: 'message',
    type: 'json',
    default: '={{ $json.message }}',
    required: true,
    displayOptions: { show: { operation: MESSAGE_OPERATIONS, messageSource: ['reference'] } },
    description: 'Reference to the stored message',
  },
  {
    displayName: 'Input Binary Field',
    name: 'binaryField',
    type: 'string',
    default: 'message',
    required: true,
    hint: 'The name of the input binary field that has the message',
    displayOptions: { show: { operation: MESSAGE_OPERATIONS, messageSource: ['binary'] } },
  },
  {
    displayName: 'Sender',
    name: 'sender',
    type: 'string',
    default: '={{ $json.sender }}',
    displayOptions: show('deliver', 'verify'),
    description: 'Envelope sender: who bounces go to. Empty for the null sender.',
  },
  {
    displayName: 'Recipient',
    name: 'recipient',
    type: 'string',
    default: '',
    required: true,
    placeholder: 'ann@example.com',
    displayOptions: show('deliver'),
    description: 'Where it goes',
  },
  {
    displayName: 'Source Address',
    name: 'sourceAddress',
    type: 'string',
    default: '={{ $json.sourceAddress }}',
    required: true,
    displayOptions: show('verify'),
    description: 'IP address of the host that sent it; SPF asks about it',
  },
  {
    displayName: 'HELO',
    name: 'helo',
    type: 'string',
    default: '={{ $json.helo }}',
    displayOptions: show('verify'),
    description: 'The name that this host gave',
  },
  {
    displayName: 'Domain',
    name: 'domain',
    type: 'string',
    default: '={{ ($json.recipient || "").split("@").pop() }}',
    required: true,
    placeholder: 'example.com',
    displayOptions: show('dkimSign', 'sealArc'),
    description: 'The domain of yours whose key signs',
  },
  {
    displayName: 'Authentication',
    name: 'authentication',
    type: 'json',
    default: '={{ $json.authentication }}',
    required: true,
    displayOptions: show('sealArc'),
    description: 'What the verification found: the output of Verify, or of Receive Mail',
  },
];

const newMail: INodeProperties[] = [
  {
    displayName: 'From',
    name: 'from',
    type: 'string',
    default: '',
    required: true,
    placeholder: 'Shop <shop@example.com>',
    displayOptions: show(...NEW_MAIL),
    description: 'An address of a domain of this Switchyard, with or without a name',
  },
  {
    displayName: 'To',
    name: 'to',
    type: 'string',
    default: '',
    required: true,
    placeholder: 'ann@example.com',
    displayOptions: show(...NEW_MAIL),
    description:
      'One or more addresses, with commas between them. Each must be declared: of an own domain, a destination of a rule, or listed under mail.send.to in switchyard.yaml.',
  },
  {
    displayName: 'Subject',
    name: 'subject',
    type: 'string',
    default: '',
    displayOptions: show(...NEW_MAIL),
  },
  {
    displayName: 'Email Format',
    name: 'emailFormat',
    type: 'options',
    options: [
      { name: 'Both', value: 'both', description: 'HTML, and text for programs that do not show it' },
      { name: 'HTML', value: 'html' },
      { name: 'Text', value: 'text' },
    ],
    default: 'text',
    displayOptions: show(...NEW_MAIL),
  },
  {
    displayName: 'Text',
    name: 'text',
    type: 'string',
    typeOptions: { rows: 5 },
    default: '',
    displayOptions: { show: { operation: NEW_MAIL, emailFormat: ['text', 'both'] } },
  },
  {
    displayName: 'HTML',
    name: 'html',
    type: 'string',
    typeOptions: { rows: 5, editor: 'htmlEditor' },
    default: '',
    displayOptions: { show: { operation: NEW_MAIL, emailFormat: ['html', 'both'] } },
  },
  {
    displayName: 'Additional Fields',
    name: 'additionalFields',
    type: 'collection',
    placeholder: 'Add Field',
    default: {},
    displayOptions: show(...NEW_MAIL),
    options: [
      {
        displayName: 'Attachments',
        name: 'attachments',
        type: 'string',
        default: '',
        placeholder: 'data, invoice',
        description: 'Names of the binary fields to attach, with commas between them',
      },
      { displayName: 'Bcc', name: 'bcc', type: 'string', default: '', placeholder: 'ann@example.com' },
      { displayName: 'Cc', name: 'cc', type: 'string', default: '', placeholder: 'ann@example.com' },
      {
        displayName: 'Headers',
        name: 'headers',
        type: 'fixedCollection',
        typeOptions: { multipleValues: true },
        default: {},
        placeholder: 'Add Header',
        options: [
          {
            displayName: 'Header',
            name: 'header',
            values: [
              { displayName: 'Name', name: 'name', type: 'string', default: '', placeholder: 'X-Ticket' },
              { displayName: 'Value', name: 'value', type: 'string', default: '' },
            ],
          },
        ],
      },
      { displayName: 'Reply To', name: 'replyTo', type: 'string', default: '', placeholder: 'help@example.com' },
    ],
  },
];

const options: INodeProperties = {
  displayName: 'Options',
  name: 'options',
  type: 'collection',
  placeholder: 'Add option',
  default: {},
  options: [
    {
      displayName: 'Download Message',
      name: 'downloadMessage',
      type: 'boolean',
      noDataExpression: true,
      default: false,
      description: 'Whether to load the message into a binary field of the output',
    },
    {
      displayName: 'Keep Input Fields',
      name: 'keepInput',
      type: 'boolean',
      noDataExpression: true,
      default: true,
      description: 'Whether the fields of the input stay beside the result, so that the next node finds them',
    },
    {
      displayName: 'Put Output in Field',
      name: 'binaryProperty',
      type: 'string',
      noDataExpression: true,
      default: 'message',
      hint: 'The name of the output binary field to put the message in',
      displayOptions: { show: { downloadMessage: [true] } },
    },
  ],
};

export const properties: INodeProperties[] = [...choice, ...message, ...newMail, DURABLE, options];
