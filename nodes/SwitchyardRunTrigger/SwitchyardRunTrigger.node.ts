/** Run Finished: starts the workflow when a durable run of Switchyard ended. */
import {
  NodeConnectionTypes,
  type IDataObject,
  type IHookFunctions,
  type INodeType,
  type INodeTypeDescription,
  type ITriggerFunctions,
  type IWebhookFunctions,
  type IWebhookResponseData,
} from 'n8n-workflow';
import { switchyardApiTest } from '../shared/access.ts';
import { receiveCallback } from '../shared/callback.ts';
import { workflowOptions } from '../shared/options.ts';
import { callbackWebhook, registeredTrigger } from '../shared/registration.ts';
import { properties } from './properties.ts';

const registered = registeredTrigger(describe);

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
    webhooks: [callbackWebhook('run')],
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

  webhookMethods = registered.webhookMethods;
  trigger = registered.trigger;
  execute = registered.execute;

  async webhook(this: IWebhookFunctions): Promise<IWebhookResponseData> {
    const received = await receiveCallback<IDataObject>(this);
    if (received === undefined) return { noWebhookResponse: true };
    const { type: _type, ...json } = received;
    return { workflowData: [[{ json }]] };
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
