/** Fields of the operations on a message that is there. */
import type { INodeProperties } from 'n8n-workflow';

const show = (...operation: string[]) => ({ show: { operation } });
const MESSAGE_OPERATIONS = ['deliver', 'dkimSign', 'parse', 'sealArc', 'verify'];

export const message: INodeProperties[] = [
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
