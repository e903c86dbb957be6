/** DMARC Report Received: starts the workflow for the reports of a mail, once Switchyard has published or refused them. */
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
import type { ClosedRun } from '../shared/contract.ts';
import { callbackWebhook, registeredTrigger } from '../shared/registration.ts';
import { resultOf } from '../shared/runs.ts';
import { itemsOf, outcomesOf, type Event, type Ingestion } from './events.ts';
import { properties } from './properties.ts';

const registered = registeredTrigger(describe);

export class SwitchyardDmarcTrigger implements INodeType {
  description: INodeTypeDescription = {
    displayName: 'DMARC Report Received Trigger',
    name: 'switchyardDmarcTrigger',
    icon: { light: 'file:reportReceived.svg', dark: 'file:reportReceived.dark.svg' },
    group: ['trigger'],
    version: 1,
    subtitle:
      '={{ ($parameter["events"] || []).join(", ") + (($parameter["domains"] || []).length ? ": " + $parameter["domains"].join(", ") : "") }}',
    description: 'Starts the workflow when a DMARC or TLS report was published or refused',
    eventTriggerDescription: 'Waiting for a report to one of the report addresses',
    activationMessage: 'Reports now start this workflow.',
    defaults: { name: 'DMARC Report Received' },
    inputs: [],
    outputs: [NodeConnectionTypes.Main],
    credentials: [{ name: 'switchyardApi', required: true, testedBy: 'switchyardApiTest' }],
    webhooks: [callbackWebhook('dmarc')],
    triggerPanel: {
      header: 'Try it with a report',
      executionsHelp: {
        inactive:
          'Click <b>Execute step</b>, then send a report to a report address. Once the workflow is active, every report starts it.',
        active: 'Every report starts this workflow; see the executions.',
      },
      activationHint: 'Once the workflow is active, every report starts it.',
    },
    properties,
  };

  methods = { credentialTest: { switchyardApiTest } };

  webhookMethods = registered.webhookMethods;
  trigger = registered.trigger;
  execute = registered.execute;

  async webhook(this: IWebhookFunctions): Promise<IWebhookResponseData> {
    const run = await receiveCallback<ClosedRun>(this);
    if (run === undefined) return { noWebhookResponse: true };
    const items = itemsOf(run, (await ingestionOf(this, run)) as Ingestion, {
      events: this.getNodeParameter('events') as Event[],
      domains: this.getNodeParameter('domains', []) as string[],
    });
    if (items.length > 0) return { workflowData: [items.map((json) => ({ json }))] };
    // Taken, and nothing for this workflow.
    this.getResponseObject().status(200).json({ taken: true });
    return { noWebhookResponse: true };
  }
}

/** What came of the mail; a result that is too large for a callback is asked for. */
async function ingestionOf(context: IWebhookFunctions, run: ClosedRun): Promise<unknown> {
  if (!run.truncated) return run.result;
  const known = { id: run.id, workflow: 'ingestDmarcReport', status: run.status, url: run.runUrl };
  return (await resultOf(context, { itemIndex: 0, run: known }, 1))?.result;
}

function describe(context: IHookFunctions | ITriggerFunctions): IDataObject {
  return {
    kind: 'run',
    workflows: ['ingestDmarcReport'],
    outcomes: outcomesOf(context.getNodeParameter('events') as Event[]),
  };
}
