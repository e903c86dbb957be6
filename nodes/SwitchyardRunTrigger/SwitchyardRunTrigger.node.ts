/** Run Finished: starts the workflow when a durable run of Switchyard ended. */
import {
  NodeConnectionTypes,
  type IDataObject,
  type IExecuteFunctions,
  type IHookFunctions,
  type INodeExecutionData,
  type INodeType,
  type INodeTypeDescription,
  type ITriggerFunctions,
  type ITriggerResponse,
  type IWebhookFunctions,
  type IWebhookResponseData,
} from 'n8n-workflow';
import { switchyardApiTest } from '../shared/access.ts';
import { receiveCallback } from '../shared/callback.ts';
import { workflowOptions } from '../shared/options.ts';
import { keepRegistered, register, unregister } from '../shared/registration.ts';
import { properties } from './properties.ts';

export class SwitchyardRunTrigger implements INodeType {
  description: INodeTypeDescription = {
    displayName: 'Run Finished Trigger',
    name: 'switchyardRunTrigger',
    icon: { light: 'file:runFinished.svg', dark: 'file:runFinished.dark.svg' },
    group: ['trigger'],
    version: 1,
    subtitle: '={{ ($parameter["outcomes"] || []).join(", ") || "all that did not end well" }}',
    description: 'Starts the workflow when a durable run of Switchyard ended, such as one that failed',
    eventTriggerDescription: 'Waiting for a run to end',
    activationMessage: 'Runs that end this way now start this workflow.',
    defaults: { name: 'Run Finished' },
    inputs: [],
    outputs: [NodeConnectionTypes.Main],
    credentials: [{ name: 'switchyardApi', required: true, testedBy: 'switchyardApiTest' }],
    webhooks: [
      {
        name: 'default',
        httpMethod: 'POST',
        path: 'run',
        responseMode: 'onReceived',
        responseData: 'noData',
        ndvHideUrl: true,
        ndvHideMethod: true,
      },
    ],
    triggerPanel: {
      header: 'Try it with a run',
      executionsHelp: {
        inactive:
          'Click <b>Execute step</b>, then let a run end this way. Once the workflow is active, every such run starts it.',
        active: 'Every run that ends this way starts this workflow; see the executions.',
      },
      activationHint: 'Once the workflow is active, every run that ends this way starts it.',
    },
    properties,
  };

  methods = {
    credentialTest: { switchyardApiTest },
    loadOptions: { getWorkflows: workflowOptions },
  };

  webhookMethods = {
    default: {
      // Registering is the same whether it is there or not.
      async checkExists(this: IHookFunctions): Promise<boolean> {
        return false;
      },
      async create(this: IHookFunctions): Promise<boolean> {
        return register(this, describe);
      },
      async delete(this: IHookFunctions): Promise<boolean> {
        return unregister(this);
      },
    },
  };

  async trigger(this: ITriggerFunctions): Promise<ITriggerResponse> {
    return keepRegistered(this, describe);
  }

  async webhook(this: IWebhookFunctions): Promise<IWebhookResponseData> {
    const received = await receiveCallback<IDataObject>(this);
    if (received === undefined) return { noWebhookResponse: true };
    const { type: _type, ...json } = received;
    return { workflowData: [[{ json }]] };
  }

  /** n8n would start the trigger a second time for the run that the webhook started. */
  async execute(this: IExecuteFunctions): Promise<INodeExecutionData[][]> {
    return [[...this.getInputData()]];
  }
}

/** What is left empty is for Switchyard to say. */
function describe(context: IHookFunctions | ITriggerFunctions): IDataObject {
  const workflows = context.getNodeParameter('workflows', []) as string[];
  const outcomes = context.getNodeParameter('outcomes', []) as string[];
  return {
    kind: 'run',
    ...(workflows.length > 0 ? { workflows } : {}),
    ...(outcomes.length > 0 ? { outcomes } : {}),
  };
}
