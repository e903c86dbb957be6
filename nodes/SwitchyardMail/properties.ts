import type { INodeProperties } from 'n8n-workflow';
import { DURABLE } from '../shared/durable.ts';
import { activity } from './activity-fields.ts';
import { message } from './message-fields.ts';
import { newMail } from './new-mail-fields.ts';

export interface Options {
  keepInput?: boolean;
  downloadMessage?: boolean;
  binaryProperty?: string;
}

const choice: INodeProperties[] = [
  {
    displayName: 'Resource',
    name: 'resource',
    type: 'options',
    noDataExpression: true,
    options: [
      { name: 'Activity', value: 'activity', description: 'What became of the mail that came in' },
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
    displayOptions: { show: { resource: ['activity'] } },
    options: [
      {
        name: 'Get',
        value: 'get',
        action: 'Get the activity of a mail',
        description: 'What became of one mail for one recipient, with its deliveries',
      },
      {
        name: 'Get Many',
        value: 'getAll',
        action: 'Get many activities',
        description: 'List what came in, newest first',
      },
    ],
    default: 'getAll',
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

/** What makes or reads a message; the activity is only looked at. */
const ACTING = { resource: ['message', 'newMail'] };

const options: INodeProperties = {
  displayName: 'Options',
  name: 'options',
  type: 'collection',
  placeholder: 'Add option',
  default: {},
  displayOptions: { show: ACTING },
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

export const properties: INodeProperties[] = [
  ...choice,
  ...activity,
  ...message,
  ...newMail,
  { ...DURABLE, displayOptions: { show: ACTING } },
  options,
];
