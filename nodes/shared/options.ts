/** Choices that the editor offers, as Switchyard answers them. */
import type { IDataObject, ILoadOptionsFunctions, INodePropertyOptions } from 'n8n-workflow';
import { callApi } from './api.ts';

const TIMEOUT = 10_000;

export interface StepDescription {
  name: string;
  summary: string;
  /** JSON Schema. */
  input: JsonSchema;
}

/** The part of JSON Schema (2020-12) that inputs of steps use. */
export interface JsonSchema {
  type?: string | string[];
  properties?: Record<string, JsonSchema>;
  required?: string[];
  enum?: unknown[];
  const?: unknown;
  anyOf?: JsonSchema[];
  oneOf?: JsonSchema[];
  items?: JsonSchema;
  default?: unknown;
  format?: string;
  description?: string;
}

/** Every step with its schemas. */
export async function loadSteps(context: ILoadOptionsFunctions): Promise<StepDescription[]> {
  const { body } = await callApi(context, { method: 'GET', path: '/v1/steps', timeout: TIMEOUT });
  return (body as { items: StepDescription[] }).items;
}

/** The steps by name, with what they do. */
export async function stepOptions(this: ILoadOptionsFunctions): Promise<INodePropertyOptions[]> {
  const steps = await loadSteps(this);
  return steps.map(({ name, summary }) => ({ name, value: name, description: summary }));
}

/** The workflows that can be started: what POST /v1/runs takes, as its own description says. */
export async function workflowOptions(this: ILoadOptionsFunctions): Promise<INodePropertyOptions[]> {
  const { body } = await callApi(this, { method: 'GET', path: '/openapi.json', timeout: TIMEOUT });
  const start = ['paths', '/v1/runs', 'post', 'requestBody', 'content', 'application/json', 'schema'].reduce(
    (part, name) => (part[name] ?? {}) as IDataObject,
    body as IDataObject,
  ) as JsonSchema;
  return (start.properties?.workflow?.enum ?? []).map((name) => ({ name: String(name), value: String(name) }));
}
