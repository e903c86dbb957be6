import type { INodeProperties } from 'n8n-workflow';
import { listFields } from '../shared/list.ts';

const show = (...operation: string[]) => ({ show: { operation } });

const choice: INodeProperties[] = [
  {
    displayName: 'Resource',
    name: 'resource',
    type: 'options',
    noDataExpression: true,
    options: [
      { name: 'Run', value: 'run', description: 'Start it, look at it, wait for it, stop it' },
      { name: 'Message', value: 'message', description: 'Talk to a run: signals, queries, updates' },
    ],
    default: 'run',
  },
  {
    displayName: 'Operation',
    name: 'operation',
    type: 'options',
    noDataExpression: true,
    displayOptions: { show: { resource: ['run'] } },
    options: [
      { name: 'Cancel', value: 'cancel', action: 'Cancel a run', description: 'Ask it to stop; it cleans up first' },
      { name: 'Get', value: 'get', action: 'Get a run', description: 'Where it stands' },
      { name: 'Get Many', value: 'getAll', action: 'Get many runs', description: 'List runs, newest first' },
      {
        name: 'Start',
        value: 'start',
        action: 'Start a run',
        description: 'Start one, or meet the one with the same ID',
      },
      {
        name: 'Wait for Result',
        value: 'getResult',
        action: 'Wait for the result of a run',
        description: 'Wait until it ends, however long that takes',
      },
    ],
    default: 'start',
  },
  {
    displayName: 'Operation',
    name: 'operation',
    type: 'options',
    noDataExpression: true,
    displayOptions: { show: { resource: ['message'] } },
    options: [
      { name: 'Query', value: 'query', action: 'Query a run', description: 'Ask it something' },
      { name: 'Signal', value: 'signal', action: 'Signal a run', description: 'Tell it something, without an answer' },
      {
        name: 'Update',
        value: 'update',
        action: 'Update a run',
        description: 'Tell it something and wait for its answer',
      },
    ],
    default: 'query',
  },
];

const start: INodeProperties[] = [
  {
    displayName: 'Workflow Name or ID',
    name: 'workflow',
    type: 'options',
    typeOptions: { loadOptionsMethod: 'getWorkflows' },
    default: 'routeMail',
    required: true,
    displayOptions: show('start'),
    description:
      'Choose from the list, or specify an ID using an <a href="https://docs.n8n.io/code/expressions/">expression</a>',
  },
  {
    displayName: 'Activity ID',
    name: 'activityId',
    type: 'string',
    default: '={{ $json.id }}',
    required: true,
    displayOptions: { show: { operation: ['start'], workflow: ['routeMail'] } },
    description: 'The received mail: the ID that Receive Mail gives',
  },
  {
    displayName: 'Destinations',
    name: 'destinations',
    type: 'string',
    default: '',
    required: true,
    placeholder: 'ann@example.com, bob@example.com',
    displayOptions: { show: { operation: ['start'], workflow: ['routeMail'] } },
    description: 'Where it goes: one or more addresses, with commas between them',
  },
  {
    displayName: 'Input',
    name: 'input',
    type: 'json',
    default: '{}',
    displayOptions: { show: { operation: ['start'] }, hide: { workflow: ['routeMail'] } },
    description:
      'What the workflow takes; its API documentation describes it. For runStep: {"step": "...", "input": {}}.',
  },
  {
    displayName: 'Wait for Result',
    name: 'waitForResult',
    type: 'boolean',
    default: true,
    noDataExpression: true,
    displayOptions: show('start'),
    description:
      'Whether to go on only when the run has ended. The execution waits without using anything, also while n8n restarts.',
  },
];

const existing: INodeProperties[] = [
  {
    displayName: 'Run ID',
    name: 'runId',
    type: 'string',
    default: '={{ $json.id }}',
    required: true,
    displayOptions: show('cancel', 'get', 'getResult', 'query', 'signal', 'update'),
  },
  {
    displayName: 'Name',
    name: 'name',
    type: 'string',
    default: '',
    required: true,
    placeholder: 'progress',
    displayOptions: show('query', 'signal', 'update'),
    description: 'Name of the signal, query or update, such as progress for a routeMail run',
  },
  {
    displayName: 'Arguments',
    name: 'arguments',
    type: 'json',
    default: '[]',
    displayOptions: show('query', 'signal', 'update'),
    description: 'A list of what it takes',
  },
];

const list: INodeProperties[] = [
  ...listFields('run'),
  {
    displayName: 'Filters',
    name: 'filters',
    type: 'collection',
    placeholder: 'Add Filter',
    default: {},
    displayOptions: show('getAll'),
    options: [
      { displayName: 'Domain', name: 'domain', type: 'string', default: '', placeholder: 'example.com' },
      {
        displayName: 'Outcome',
        name: 'outcome',
        type: 'options',
        options: [
          { name: 'Bounced', value: 'bounced' },
          { name: 'Delivered', value: 'delivered' },
          { name: 'Failed', value: 'failed' },
          { name: 'Refused', value: 'refused' },
        ],
        default: 'failed',
        description: 'What became of the mail of routeMail runs',
      },
      { displayName: 'Recipient', name: 'recipient', type: 'string', default: '', placeholder: 'ann@example.com' },
      { displayName: 'Sender', name: 'sender', type: 'string', default: '', placeholder: 'ann@example.com' },
      {
        displayName: 'Status',
        name: 'status',
        type: 'options',
        options: [
          { name: 'Cancelled', value: 'CANCELLED' },
          { name: 'Completed', value: 'COMPLETED' },
          { name: 'Failed', value: 'FAILED' },
          { name: 'Running', value: 'RUNNING' },
          { name: 'Terminated', value: 'TERMINATED' },
          { name: 'Timed Out', value: 'TIMED_OUT' },
        ],
        default: 'RUNNING',
      },
      { displayName: 'Step', name: 'step', type: 'string', default: '', placeholder: 'mail.verify' },
      {
        displayName: 'Workflow Name or ID',
        name: 'workflow',
        type: 'options',
        typeOptions: { loadOptionsMethod: 'getWorkflows' },
        default: '',
        description:
          'Choose from the list, or specify an ID using an <a href="https://docs.n8n.io/code/expressions/">expression</a>',
      },
    ],
  },
];

const options: INodeProperties = {
  displayName: 'Options',
  name: 'options',
  type: 'collection',
  placeholder: 'Add option',
  default: {},
  displayOptions: show('start'),
  options: [
    {
      displayName: 'Run ID',
      name: 'runId',
      type: 'string',
      default: '',
      description:
        'The same ID meets the same run. Left empty, it is made from execution, node and item, so that a retry never acts twice. A received mail has an ID of its own.',
    },
  ],
};

export const properties: INodeProperties[] = [...choice, ...start, ...existing, ...list, options];
