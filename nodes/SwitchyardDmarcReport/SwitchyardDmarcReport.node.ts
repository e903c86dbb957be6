/** Parse DMARC Report: aggregate, failure and TLS reports out of whatever an item has, read or published. */
import {
  NodeConnectionTypes,
  type IExecuteFunctions,
  type INodeExecutionData,
  type INodeType,
  type INodeTypeDescription,
  type IWebhookFunctions,
  type IWebhookResponseData,
} from 'n8n-workflow';
import { switchyardApiTest } from '../shared/access.ts';
import { RESUME_WEBHOOKS, resume } from '../shared/durable.ts';
import { forEachItem } from '../shared/items.ts';
import { properties } from './properties.ts';
import { presentReports, readItem } from './read.ts';

export class SwitchyardDmarcReport implements INodeType {
  description: INodeTypeDescription = {
    displayName: 'Parse DMARC Report',
    name: 'switchyardDmarcReport',
    icon: { light: 'file:parseReport.svg', dark: 'file:parseReport.dark.svg' },
    group: ['transform'],
    version: 1,
    subtitle: '={{ $parameter["operation"] }}',
    description: 'Read or publish DMARC aggregate, failure and TLS reports: a mail, an attachment or a file',
    defaults: { name: 'Parse DMARC Report' },
    usableAsTool: true,
    inputs: [NodeConnectionTypes.Main],
    outputs: [NodeConnectionTypes.Main],
    credentials: [{ name: 'switchyardApi', required: true, testedBy: 'switchyardApiTest' }],
    webhooks: RESUME_WEBHOOKS,
    properties,
  };

  methods = { credentialTest: { switchyardApiTest } };

  async execute(this: IExecuteFunctions): Promise<INodeExecutionData[][]> {
    return [await forEachItem(this, (itemIndex) => readItem(this, itemIndex), presentReports)];
  }

  async webhook(this: IWebhookFunctions): Promise<IWebhookResponseData> {
    return resume(this, presentReports);
  }
}
