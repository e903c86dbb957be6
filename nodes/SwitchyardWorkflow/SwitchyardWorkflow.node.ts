/** Durable Workflow: starts runs of Switchyard, asks and steers them, and waits for what they come to. */
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
import { workflowOptions } from '../shared/options.ts';
import { present, type End } from '../shared/output.ts';
import { operations, type Operation } from './operations.ts';
import { properties } from './properties.ts';

export class SwitchyardWorkflow implements INodeType {
  description: INodeTypeDescription = {
    displayName: 'Durable Workflow',
    name: 'switchyardWorkflow',
    icon: { light: 'file:durableWorkflow.svg', dark: 'file:durableWorkflow.dark.svg' },
    group: ['transform'],
    version: 1,
    subtitle:
      '={{ { getAll: "get many", getResult: "wait for result", start: "start " + $parameter["workflow"] }[$parameter["operation"]] || $parameter["operation"] }}',
    description: 'Start, watch and steer durable runs of Switchyard on Temporal',
    defaults: { name: 'Durable Workflow' },
    usableAsTool: true,
    inputs: [NodeConnectionTypes.Main],
    outputs: [NodeConnectionTypes.Main],
    credentials: [{ name: 'switchyardApi', required: true, testedBy: 'switchyardApiTest' }],
    webhooks: RESUME_WEBHOOKS,
    properties,
  };

  methods = {
    credentialTest: { switchyardApiTest },
    loadOptions: { getWorkflows: workflowOptions },
  };

  async execute(this: IExecuteFunctions): Promise<INodeExecutionData[][]> {
    const operate = operations[this.getNodeParameter('operation', 0) as Operation];
    const output = await forEachItem(this, (itemIndex) => operate(this, itemIndex), presentRun);
    return [output];
  }

  async webhook(this: IWebhookFunctions): Promise<IWebhookResponseData> {
    return resume(this, presentRun);
  }
}

/** The result, and the id that the other operations take. */
async function presentRun(
  context: IExecuteFunctions | IWebhookFunctions,
  _input: INodeExecutionData,
  end: End,
): Promise<INodeExecutionData> {
  const item = await present(context, { json: {} }, end, { keepInput: false });
  return { ...item, json: { id: end.run?.id, ...item.json } };
}
