/** Switchyard Mail: everything that is done with a message, as steps of Switchyard. */
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
import { present, type Presentation } from '../shared/output.ts';
import { runStep } from '../shared/steps.ts';
import { operations, type MailOperation, type Operation } from './operations/index.ts';
import { properties, type Options } from './properties.ts';

export class SwitchyardMail implements INodeType {
  description: INodeTypeDescription = {
    displayName: 'Switchyard Mail',
    name: 'switchyardMail',
    icon: { light: 'file:switchyardMail.svg', dark: 'file:switchyardMail.dark.svg' },
    group: ['transform'],
    version: 1,
    subtitle:
      '={{ ({ dkimSign: "DKIM-sign", sealArc: "seal with ARC", get: "get activity", getAll: "get activity" }[$parameter["operation"]] || $parameter["operation"]) + ($parameter["durable"] ? ", durable" : "") }}',
    description: 'Read, verify, sign, seal, deliver and send mail',
    defaults: { name: 'Switchyard Mail' },
    usableAsTool: true,
    inputs: [NodeConnectionTypes.Main],
    outputs: [NodeConnectionTypes.Main],
    credentials: [{ name: 'switchyardApi', required: true, testedBy: 'switchyardApiTest' }],
    webhooks: RESUME_WEBHOOKS,
    properties,
  };

  methods = { credentialTest: { switchyardApiTest } };

  async execute(this: IExecuteFunctions): Promise<INodeExecutionData[][]> {
    const operation: MailOperation = operations[this.getNodeParameter('operation', 0) as Operation];
    // What only reads has no such switch.
    const durable = this.getNodeParameter('durable', 0, false) as boolean;
    const presentation = presentationOf(this.getNodeParameter('options', 0, {}) as Options);
    const output = await forEachItem(
      this,
      async (itemIndex) =>
        'act' in operation
          ? operation.act(this, itemIndex)
          : runStep(this, itemIndex, {
              step: operation.step,
              input: await operation.input(this, itemIndex),
              durable,
            }),
      (context, input, end) => present(context, input, end, presentation),
    );
    return [output];
  }

  async webhook(this: IWebhookFunctions): Promise<IWebhookResponseData> {
    const presentation = presentationOf(this.getNodeParameter('options', {}) as Options);
    return resume(this, (context, input, end) => present(context, input, end, presentation));
  }
}

function presentationOf({ keepInput = true, downloadMessage, binaryProperty = 'message' }: Options): Presentation {
  return { keepInput, ...(downloadMessage ? { binaryProperty } : {}) };
}
