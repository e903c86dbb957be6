/** Query DMARC: what the reports about a domain say, and the addresses that they come to. */
import {
  NodeConnectionTypes,
  NodeOperationError,
  type IExecuteFunctions,
  type INodeExecutionData,
  type INodeType,
  type INodeTypeDescription,
} from 'n8n-workflow';
import { switchyardApiTest } from '../shared/access.ts';
import { forEachItem } from '../shared/items.ts';
import { present } from '../shared/output.ts';
import { operations } from './operations/index.ts';
import { properties } from './properties.ts';

export class SwitchyardDmarcQuery implements INodeType {
  description: INodeTypeDescription = {
    displayName: 'Query DMARC',
    name: 'switchyardDmarcQuery',
    icon: { light: 'file:queryDmarc.svg', dark: 'file:queryDmarc.dark.svg' },
    group: ['transform'],
    version: 1,
    subtitle:
      '={{ $parameter["resource"] + ": " + ({ getAll: "get many", getDns: "get DNS records", getTls: "get TLS", getWhatIf: "what if" }[$parameter["operation"]] || $parameter["operation"].replace(/([A-Z])/g, " $1").toLowerCase()) }}',
    description: 'Ask what DMARC and TLS reports say: figures, senders, new sources, what a stricter policy would hit',
    defaults: { name: 'Query DMARC' },
    usableAsTool: true,
    inputs: [NodeConnectionTypes.Main],
    outputs: [NodeConnectionTypes.Main],
    credentials: [{ name: 'switchyardApi', required: true, testedBy: 'switchyardApiTest' }],
    properties,
  };

  methods = { credentialTest: { switchyardApiTest } };

  async execute(this: IExecuteFunctions): Promise<INodeExecutionData[][]> {
    const resource = this.getNodeParameter('resource', 0) as string;
    const operation = this.getNodeParameter('operation', 0) as string;
    const ask = operations[resource]?.[operation];
    if (!ask) throw new NodeOperationError(this.getNode(), `There is no operation ${operation} of ${resource}.`);
    const output = await forEachItem(
      this,
      (itemIndex) => ask(this, itemIndex),
      (context, input, end) => present(context, input, end, { keepInput: false }),
    );
    return [output];
  }
}
