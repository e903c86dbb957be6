/** Mail Verdict: what the sender of a received mail is told. */
import {
  NodeConnectionTypes,
  NodeOperationError,
  type IDataObject,
  type IExecuteFunctions,
  type INodeExecutionData,
  type INodeType,
  type INodeTypeDescription,
} from 'n8n-workflow';
import { properties } from './properties.ts';

const TRIGGER = 'switchyardMailTrigger';
/** Kept with the execution: that a verdict was given. */
const GIVEN = 'switchyardVerdict';

export class SwitchyardMailVerdict implements INodeType {
  description: INodeTypeDescription = {
    displayName: 'Mail Verdict',
    name: 'switchyardMailVerdict',
    icon: { light: 'file:mailVerdict.svg', dark: 'file:mailVerdict.dark.svg' },
    group: ['output'],
    version: 1,
    subtitle: '={{ $parameter["operation"] }}',
    description: 'Answer the sender of a received mail: accept, reject, forward or drop it',
    defaults: { name: 'Mail Verdict' },
    // A verdict belongs to a mail that waits; no agent has one to give.
    usableAsTool: undefined,
    inputs: [NodeConnectionTypes.Main],
    outputs: [NodeConnectionTypes.Main],
    properties,
  };

  async execute(this: IExecuteFunctions): Promise<INodeExecutionData[][]> {
    const items = this.getInputData();
    demandWaitingMail(this);
    // The sender gets one answer: the first.
    const given = this.getContext('flow');
    if (given[GIVEN] === undefined) {
      const verdict = readVerdict(this);
      await this.sendResponse({
        statusCode: 200,
        headers: { 'content-type': 'application/json', 'x-switchyard-verdict': '1' },
        body: verdict,
      });
      given[GIVEN] = verdict.verdict;
    } else {
      this.addExecutionHints({
        message: `The sender was already told by an earlier Mail Verdict node: ${String(given[GIVEN])}.`,
        type: 'warning',
        location: 'outputPane',
      });
    }
    return [items.map((item, index) => ({ ...item, pairedItem: { item: index } }))];
  }
}

/** @throws NodeOperationError where no sender waits for a verdict */
function demandWaitingMail(context: IExecuteFunctions): void {
  const node = context.getNode();
  const trigger = context
    .getParentNodes(node.name, { includeNodeParameters: true })
    .find(({ type }) => type.endsWith(`.${TRIGGER}`));
  if (!trigger)
    throw new NodeOperationError(node, 'No mail waits for this verdict.', {
      description: 'Put it behind a Receive Mail trigger in the same workflow.',
    });
  if (trigger.parameters?.answer === 'taken')
    throw new NodeOperationError(node, 'The mail was accepted before the workflow ran: a verdict comes too late.', {
      description: `Set "Answer the Sender" of ${trigger.name} to "By a Mail Verdict Node".`,
    });
}

/** The answer that Switchyard understands; see PUT /v1/triggers in its API documentation. */
function readVerdict(context: IExecuteFunctions): IDataObject {
  const verdict = context.getNodeParameter('operation', 0) as string;
  if (verdict === 'reject') {
    const { code, enhanced, text } = {
      code: context.getNodeParameter('code', 0) as number,
      text: context.getNodeParameter('text', 0) as string,
      enhanced: context.getNodeParameter('enhanced', 0) as string,
    };
    return { verdict, code, ...(text ? { text } : {}), ...(enhanced ? { enhanced } : {}) };
  }
  if (verdict === 'forward') {
    const destinations = (context.getNodeParameter('destinations', 0) as string)
      .split(/[,;\s]+/)
      .filter((one) => one !== '');
    if (destinations.length === 0)
      throw new NodeOperationError(context.getNode(), 'There is no address to forward to.', {
        description: 'Write one or more addresses, with commas between them.',
      });
    return { verdict, destinations };
  }
  return { verdict };
}
