/** Receive Mail: starts the workflow for each mail to its addresses, and lets the graph decide what the sender is told. */
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
import { downloadMessage } from '../shared/blobs.ts';
import { receiveCallback } from '../shared/callback.ts';
import type { BlobRef } from '../shared/contract.ts';
import { callbackWebhook, registeredTrigger } from '../shared/registration.ts';
import { properties } from './properties.ts';

interface MailMessage extends IDataObject {
  type: 'mail';
  message: BlobRef;
}

interface Options {
  timeout?: number;
  troubleCode?: number;
  troubleText?: string;
  downloadMessage?: boolean;
  binaryProperty?: string;
}

const registered = registeredTrigger(describe);

export class SwitchyardMailTrigger implements INodeType {
  description: INodeTypeDescription = {
    displayName: 'Switchyard Mail Trigger',
    name: 'switchyardMailTrigger',
    icon: { light: 'file:receiveMail.svg', dark: 'file:receiveMail.dark.svg' },
    group: ['trigger'],
    version: 1,
    subtitle: '={{ ($parameter["addresses"] || []).join(", ") }}',
    description: 'Receive mail at your addresses and decide what the sender is told; verify, sign and send mail',
    eventTriggerDescription: 'Waiting for a mail to one of the addresses',
    activationMessage: 'Mail to the addresses now starts this workflow.',
    defaults: { name: 'Receive Mail' },
    inputs: [],
    outputs: [NodeConnectionTypes.Main],
    credentials: [{ name: 'switchyardApi', required: true, testedBy: 'switchyardApiTest' }],
    webhooks: [
      {
        ...callbackWebhook('mail'),
        responseMode: '={{$parameter["answer"] === "verdict" ? "responseNode" : "onReceived"}}',
        // What Switchyard reads when the graph ends without a verdict.
        responseCode: '={{$parameter["answer"] === "verdict" ? 204 : 200}}',
      },
    ],
    triggerPanel: {
      header: 'Try it with a mail',
      executionsHelp: {
        inactive:
          'Click <b>Execute step</b>, then send a mail to one of the addresses, such as with <code>switchyard send-test</code>. Once the workflow is active, every mail to them starts it.',
        active:
          'Every mail to the addresses starts this workflow; see the executions. After <b>Execute step</b> the next mail comes to the editor instead.',
      },
      activationHint: 'Once the workflow is active, every mail to its addresses starts it.',
    },
    properties,
  };

  methods = { credentialTest: { switchyardApiTest } };

  webhookMethods = registered.webhookMethods;
  trigger = registered.trigger;
  execute = registered.execute;

  async webhook(this: IWebhookFunctions): Promise<IWebhookResponseData> {
    const received = await receiveCallback<MailMessage>(this);
    if (received === undefined) return { noWebhookResponse: true };
    const { type: _type, ...json } = received;
    const { downloadMessage: download, binaryProperty = 'message' } = this.getNodeParameter('options', {}) as Options;
    return {
      workflowData: [
        [download ? { json, binary: { [binaryProperty]: await downloadMessage(this, received.message) } } : { json }],
      ],
    };
  }
}

function describe(context: IHookFunctions | ITriggerFunctions): IDataObject {
  const answer = context.getNodeParameter('answer') as string;
  const { timeout, troubleCode, troubleText } = context.getNodeParameter('options', {}) as Options;
  return {
    kind: 'mail',
    addresses: (context.getNodeParameter('addresses') as string[]).map((one) => one.trim()).filter((one) => one !== ''),
    answer,
    ...(answer === 'verdict' && timeout !== undefined ? { timeout } : {}),
    ...(answer === 'verdict' && (troubleCode !== undefined || troubleText)
      ? {
          trouble: {
            ...(troubleCode === undefined ? {} : { code: troubleCode }),
            ...(troubleText ? { text: troubleText } : {}),
          },
        }
      : {}),
  };
}
