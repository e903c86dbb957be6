/** Switchyard Step: any step by its name, with typed fields made from its contract. */
import {
  NodeConnectionTypes,
  NodeOperationError,
  type IDataObject,
  type IExecuteFunctions,
  type ILoadOptionsFunctions,
  type INodeExecutionData,
  type INodeType,
  type INodeTypeDescription,
  type IWebhookFunctions,
  type IWebhookResponseData,
  type ResourceMapperFields,
  type ResourceMapperValue,
} from 'n8n-workflow';
import { switchyardApiTest } from '../shared/access.ts';
import { RESUME_WEBHOOKS, resume } from '../shared/durable.ts';
import { fieldsOf, inputFrom } from '../shared/fields.ts';
import { forEachItem } from '../shared/items.ts';
import { loadSteps, stepOptions } from '../shared/options.ts';
import { present, type Presentation } from '../shared/output.ts';
import { runStep } from '../shared/steps.ts';
import { properties, type Options } from './properties.ts';

export class SwitchyardStep implements INodeType {
  description: INodeTypeDescription = {
    displayName: 'Switchyard Step',
    name: 'switchyardStep',
    icon: { light: 'file:switchyardStep.svg', dark: 'file:switchyardStep.dark.svg' },
    group: ['transform'],
    version: 1,
    subtitle: '={{ $parameter["step"] + ($parameter["durable"] ? ", durable" : "") }}',
    description: 'Run any step of Switchyard, with the fields that it takes',
    defaults: { name: 'Switchyard Step' },
    usableAsTool: true,
    inputs: [NodeConnectionTypes.Main],
    outputs: [NodeConnectionTypes.Main],
    credentials: [{ name: 'switchyardApi', required: true, testedBy: 'switchyardApiTest' }],
    webhooks: RESUME_WEBHOOKS,
    properties,
  };

  methods = {
    credentialTest: { switchyardApiTest },
    loadOptions: { getSteps: stepOptions },
    resourceMapping: {
      async getStepFields(this: ILoadOptionsFunctions): Promise<ResourceMapperFields> {
        const name = this.getCurrentNodeParameter('step') as string;
        const step = (await loadSteps(this)).find((one) => one.name === name);
        if (!step) return { fields: [], emptyFieldsNotice: `There is no step ${name}.` };
        return { fields: fieldsOf(step.input) };
      },
    },
  };

  async execute(this: IExecuteFunctions): Promise<INodeExecutionData[][]> {
    const durable = this.getNodeParameter('durable', 0) as boolean;
    const presentation = presentationOf(this.getNodeParameter('options', 0, {}) as Options);
    const output = await forEachItem(
      this,
      async (itemIndex) =>
        runStep(this, itemIndex, {
          step: this.getNodeParameter('step', itemIndex) as string,
          input: inputOf(this, itemIndex),
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

function presentationOf({ keepInput = false }: Options): Presentation {
  return { keepInput };
}

function inputOf(context: IExecuteFunctions, itemIndex: number): IDataObject {
  const { value, schema } = context.getNodeParameter('fields', itemIndex) as ResourceMapperValue;
  try {
    return inputFrom((value ?? {}) as IDataObject, schema ?? []);
  } catch (error) {
    throw new NodeOperationError(context.getNode(), `A field is not valid JSON: ${(error as Error).message}`, {
      itemIndex,
      description: 'Objects and lists are written as JSON, or taken from an earlier node by an expression.',
    });
  }
}
