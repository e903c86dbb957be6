/** Parse DMARC Report: aggregate, failure and TLS reports out of whatever an item has, read or published. */
import {
  NodeConnectionTypes,
  type IExecuteFunctions,
  type INodeExecutionData,
  type INodeType,
  type INodeTypeDescription,
} from 'n8n-workflow';
import { switchyardApiTest } from '../shared/access.ts';
import { forEachItem } from '../shared/items.ts';
import { present } from '../shared/output.ts';
import { properties } from './properties.ts';
import { readItem } from './read.ts';

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
    properties,
  };

  methods = { credentialTest: { switchyardApiTest } };

  async execute(this: IExecuteFunctions): Promise<INodeExecutionData[][]> {
    const output = await forEachItem(
      this,
      (itemIndex) => readItem(this, itemIndex),
      (context, input, end) => present(context, input, end, { keepInput: false }),
    );
    return [output];
  }
}
