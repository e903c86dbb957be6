/** The operations by name: each is one call, and its answer becomes items. */
import { NodeOperationError, type IDataObject, type IExecuteFunctions, type INodeExecutionData } from 'n8n-workflow';
import { callApi, type Call } from '../shared/api.ts';
import type { Run } from '../shared/contract.ts';
import { actId } from '../shared/identity.ts';
import type { Acted } from '../shared/items.ts';
import { listAll } from '../shared/list.ts';
import { runPath, startRun } from '../shared/runs.ts';

export const operations = {
  async start(context: IExecuteFunctions, i: number): Promise<Acted> {
    const workflow = context.getNodeParameter('workflow', i) as string;
    const { runId } = context.getNodeParameter('options', i, {}) as { runId?: string };
    const run = await startRun(context, i, {
      workflow,
      id: runId?.trim() || actId(context, i),
      input: inputOf(context, workflow, i),
    });
    return context.getNodeParameter('waitForResult', i) ? { run } : one(run, i);
  },

  async getResult(context: IExecuteFunctions, i: number): Promise<Acted> {
    const run = await ask(context, i, { method: 'GET', path: pathOf(context, i) });
    return { run: run as Run };
  },

  async get(context: IExecuteFunctions, i: number): Promise<Acted> {
    return one(await ask(context, i, { method: 'GET', path: pathOf(context, i) }), i);
  },

  async getAll(context: IExecuteFunctions, i: number): Promise<Acted> {
    const runs = await listAll(context, i, { path: '/v1/runs', cursor: 'page' });
    return { items: runs.map((run) => item(run, i)) };
  },

  async cancel(context: IExecuteFunctions, i: number): Promise<Acted> {
    return one(await ask(context, i, { method: 'POST', path: `${pathOf(context, i)}/cancel` }), i);
  },

  async signal(context: IExecuteFunctions, i: number): Promise<Acted> {
    const name = nameOf(context, i);
    await ask(context, i, {
      method: 'POST',
      path: `${pathOf(context, i)}/signals/${encodeURIComponent(name)}`,
      body: { args: argumentsOf(context, i) },
      key: actId(context, i),
    });
    return one({ id: idOf(context, i), signal: name, sent: true }, i);
  },

  async query(context: IExecuteFunctions, i: number): Promise<Acted> {
    const answer = await ask(context, i, {
      method: 'POST',
      path: `${pathOf(context, i)}/queries/${encodeURIComponent(nameOf(context, i))}`,
      body: { args: argumentsOf(context, i) },
    });
    return one({ id: idOf(context, i), ...answer }, i);
  },

  async update(context: IExecuteFunctions, i: number): Promise<Acted> {
    const answer = await ask(context, i, {
      method: 'POST',
      path: `${pathOf(context, i)}/updates/${encodeURIComponent(nameOf(context, i))}`,
      body: { args: argumentsOf(context, i) },
      key: actId(context, i),
    });
    return one({ id: idOf(context, i), ...answer }, i);
  },
} satisfies Record<string, (context: IExecuteFunctions, itemIndex: number) => Promise<Acted>>;
export type Operation = keyof typeof operations;

async function ask(context: IExecuteFunctions, itemIndex: number, call: Call): Promise<IDataObject> {
  const { body } = await callApi(context, { ...call, itemIndex });
  return body as IDataObject;
}

function item(json: IDataObject, itemIndex: number): INodeExecutionData {
  const { url, ...rest } = json;
  return { json: url === undefined ? rest : { ...rest, runUrl: url }, pairedItem: { item: itemIndex } };
}

function one(json: IDataObject, itemIndex: number): Acted {
  return { items: [item(json, itemIndex)] };
}

function idOf(context: IExecuteFunctions, itemIndex: number): string {
  const id = String(context.getNodeParameter('runId', itemIndex) ?? '').trim();
  if (id !== '') return id;
  throw new NodeOperationError(context.getNode(), 'It is not said which run.', {
    itemIndex,
    description: 'Fill in Run ID, such as {{ $json.id }} of the node that started it.',
  });
}

function pathOf(context: IExecuteFunctions, itemIndex: number): string {
  return runPath({ id: idOf(context, itemIndex) });
}

function nameOf(context: IExecuteFunctions, itemIndex: number): string {
  return (context.getNodeParameter('name', itemIndex) as string).trim();
}

function argumentsOf(context: IExecuteFunctions, itemIndex: number): unknown[] {
  const value = jsonOf(context, 'arguments', itemIndex);
  return Array.isArray(value) ? value : [value];
}

/** The fields of workflows that are known here, or JSON for others. */
function inputOf(context: IExecuteFunctions, workflow: string, itemIndex: number): unknown {
  if (workflow === 'routeMail')
    return {
      activityId: context.getNodeParameter('activityId', itemIndex),
      destinations: (context.getNodeParameter('destinations', itemIndex) as string)
        .split(/[,;\s]+/)
        .filter((one) => one !== ''),
    };
  return jsonOf(context, 'input', itemIndex);
}

function jsonOf(context: IExecuteFunctions, name: string, itemIndex: number): unknown {
  const value = context.getNodeParameter(name, itemIndex) as unknown;
  if (typeof value !== 'string') return value;
  try {
    return JSON.parse(value);
  } catch {
    throw new NodeOperationError(context.getNode(), `${name} is not valid JSON.`, { itemIndex });
  }
}
