/** Fields of a new message. */
import type { INodeProperties } from 'n8n-workflow';

const show = (...operation: string[]) => ({ show: { operation } });
const NEW_MAIL = ['compose', 'send'];

export const newMail: INodeProperties[] = [
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
