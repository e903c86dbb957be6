/** Resource and operation: what can be asked. */
import type { INodeProperties } from 'n8n-workflow';

interface Choice {
  name: string;
  value: string;
  action: string;
  description?: string;
}

export const choice: INodeProperties[] = [
  {
    displayName: 'Resource',
    name: 'resource',
    type: 'options',
    noDataExpression: true,
    options: [
      { name: 'Domain', value: 'domain', description: 'Figures, policy and report address of a domain' },
      { name: 'Failure Report', value: 'failure', description: 'Single messages that receivers described' },
      { name: 'Quarantine', value: 'quarantine', description: 'What came as a report and was not taken' },
      { name: 'Record', value: 'record', description: 'Rows of reports: one source, what was signed, what was done' },
      { name: 'Report', value: 'report', description: 'Reports that count' },
      { name: 'Source', value: 'source', description: 'Addresses that mail came from' },
    ],
    default: 'domain',
  },
  operationOf('domain', 'getSummary', [
    {
      name: 'Add Report Address',
      value: 'add',
      action: 'Add a report address',
      description: 'Take reports about a domain; the output has the DNS records to publish',
    },
    {
      name: 'Get Advice',
      value: 'getAdvice',
      action: 'Get advice about a policy',
      description: 'What to do next about the policy, with the reasons',
    },
    {
      name: 'Get Days',
      value: 'getDays',
      action: 'Get messages by day',
      description: 'Messages a day, each day an item',
    },
    {
      name: 'Get DNS Records',
      value: 'getDns',
      action: 'Get the DNS records to publish',
      description: 'What to publish so that reports come',
    },
    {
      name: 'Get Many',
      value: 'getAll',
      action: 'Get many domains',
      description: 'Every domain that has a report address or reports, with its figures',
    },
    {
      name: 'Get Services',
      value: 'getServices',
      action: 'Get messages by sending service',
      description: 'Sending services, most messages first',
    },
    {
      name: 'Get Summary',
      value: 'getSummary',
      action: 'Get the summary of a domain',
      description: 'The figures, those of as many days before, and the policy as receivers found it',
    },
    {
      name: 'Get TLS',
      value: 'getTls',
      action: 'Get the TLS figures of a domain',
      description: 'Sessions with and without TLS, and what failed',
    },
    {
      name: 'Remove Report Address',
      value: 'remove',
      action: 'Remove a report address',
      description: 'Take no more reports about a domain; what was reported stays',
    },
    {
      name: 'What If',
      value: 'getWhatIf',
      action: 'See what a stricter policy would hit',
      description: 'Messages that quarantine or reject would have touched, by service',
    },
    {
      name: 'Write Summary',
      value: 'writeSummary',
      action: 'Write a summary for a mail',
      description: 'Figures beside those before, new senders that fail, advice: subject, text and HTML of a mail',
    },
  ]),
  operationOf('failure', 'getAll', [{ name: 'Get Many', value: 'getAll', action: 'Get many failure reports' }]),
  operationOf('quarantine', 'getAll', [
    { name: 'Delete', value: 'delete', action: 'Delete an entry of the quarantine' },
    { name: 'Get', value: 'get', action: 'Get an entry of the quarantine' },
    { name: 'Get Many', value: 'getAll', action: 'Get many entries of the quarantine', description: 'Newest first' },
    {
      name: 'Read Again',
      value: 'read',
      action: 'Read an entry of the quarantine again',
      description: 'What is published leaves quarantine; what is refused again is in it anew',
    },
  ]),
  operationOf('record', 'getAll', [
    {
      name: 'Get Many',
      value: 'getAll',
      action: 'Get many records',
      description: 'All records of a report, or about a source',
    },
  ]),
  operationOf('report', 'getAll', [
    { name: 'Get', value: 'get', action: 'Get a report' },
    { name: 'Get Many', value: 'getAll', action: 'Get many reports', description: 'Newest first' },
  ]),
  operationOf('source', 'getAll', [
    { name: 'Get Many', value: 'getAll', action: 'Get many sources', description: 'Most messages first' },
    {
      name: 'Get New',
      value: 'getNew',
      action: 'Get new sources',
      description: 'Sources that were first seen lately, most messages first',
    },
  ]),
];

function operationOf(resource: string, value: string, options: Choice[]): INodeProperties {
  return {
    displayName: 'Operation',
    name: 'operation',
    type: 'options',
    noDataExpression: true,
    displayOptions: { show: { resource: [resource] } },
    options,
    default: value,
  };
}
