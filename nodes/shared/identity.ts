/** Names that are the same for every repeat of the same act, and pages that people can open. */
import type { IExecuteFunctions, IHookFunctions, INode, ITriggerFunctions, IWebhookFunctions } from 'n8n-workflow';

type Context = IExecuteFunctions | IHookFunctions | ITriggerFunctions | IWebhookFunctions;

/**
 * What names one act of one item: the id of its durable run, and the idempotency key without one. A retry of the node
 * has the same, the next round of a loop another.
 */
export function actId(context: IExecuteFunctions, itemIndex: number): string {
  return `n8n/${[
    context.getInstanceId(),
    workflowId(context),
    context.getExecutionId(),
    nodeId(context.getNode()),
    runIndex(context),
    itemIndex,
  ].join('/')}`;
}

/** The name of one of several acts of an item. */
export const partId = (actId: string, part: number): string => `${actId}+${part}`;

/** The item that an act's id ends with. */
export function itemOf(actId: string): number {
  return Number.parseInt(actId.slice(actId.lastIndexOf('/') + 1), 10) || 0;
}

/** What an execution that waits at a node is registered under. */
export function waitId(context: IExecuteFunctions): string {
  return [
    'n8n',
    context.getInstanceId(),
    workflowId(context),
    nodeId(context.getNode()),
    context.getExecutionId(),
    runIndex(context),
  ].join(':');
}

/** What a trigger node is registered under. One that listens for a try is another beside it. */
export function triggerId(context: IHookFunctions | ITriggerFunctions, isTest: boolean): string {
  return [
    'n8n',
    context.getInstanceId(),
    workflowId(context),
    nodeId(context.getNode()),
    ...(isTest ? ['test'] : []),
  ].join(':');
}

/** Page of the workflow in the editor. */
export function workflowPage(context: Context): string {
  return `${context.getInstanceBaseUrl().replace(/\/+$/, '')}/workflow/${workflowId(context)}`;
}

/** Page of the execution in the editor. */
export function executionPage(context: IExecuteFunctions): string {
  return `${workflowPage(context)}/executions/${context.getExecutionId()}`;
}

/** The name of a workflow for people; n8n has none before it is saved. */
export function workflowName(context: Context): string {
  return context.getWorkflow().name ?? 'n8n workflow';
}

function workflowId(context: Context): string {
  return String(context.getWorkflow().id ?? 'unsaved');
}

/** Ids are UUIDs; a node that was written by hand may have another. */
function nodeId({ id, name }: INode): string {
  return (id || name).replace(/[^\w.-]/g, '_').slice(0, 64);
}

function runIndex(context: IExecuteFunctions): number {
  return Number(context.evaluateExpression('{{ $runIndex }}', 0)) || 0;
}
