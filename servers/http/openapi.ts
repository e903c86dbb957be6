/** The OpenAPI 3.1 document, written from the table of routes and the steps, so that it says what the server does. */
import { z } from 'zod';
import type { Step } from '../../activities/step.ts';
import { SCOPES } from './authentication.ts';
import type { Route, RouteAnswer } from './route.ts';
import { jsonSchema } from './routes/steps.ts';

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json | undefined };
type JsonObject = { [key: string]: Json | undefined };

export interface OpenApi {
  openapi: string;
  info: {
    title: string;
    version: string;
    summary: string;
    description: string;
    license: { name: string; identifier: string };
  };
  servers: { url: string }[];
  tags: { name: string; description: string }[];
  security: Record<string, string[]>[];
  paths: Record<string, Record<string, Operation>>;
  components: JsonObject;
}

export interface Operation {
  operationId: string;
  tags: string[];
  summary: string;
  description?: string;
  parameters?: {
    name: string;
    in: 'path' | 'query' | 'header';
    required: boolean;
    description?: string;
    schema: Json;
  }[];
  requestBody?: { required: boolean; content: Record<string, { schema: Json }> };
  responses: Record<string, Json>;
  /** Empty: no token. */
  security?: Record<string, string[]>[];
  'x-scope'?: string;
  'x-errors'?: string[];
}

const GROUPS: Record<Route['group'], string> = {
  Access: 'Tokens, their scopes, and the log of changes.',
  Steps: 'Each step does one thing, at once, in the process that answers.',
  Blobs: 'Messages and files. Steps and runs take them by reference.',
  Runs: 'Durable runs in Temporal.',
  Jobs: 'Long jobs, one at a time for each key.',
  Mail: 'What came in, what became of it, and the rules.',
  DMARC: 'What receivers report about domains, and what was refused as a report.',
  Triggers: 'Who is called when mail comes or runs end.',
};

/** Names of the components of a step's schemas. */
const schemaName = (step: string, io: 'input' | 'output') => `${step}.${io}`;
const refTo = (name: string): JsonObject => ({ $ref: `#/components/schemas/${name}` });

export function createOpenApi({
  routes,
  steps,
  version,
  url,
}: {
  routes: readonly Route[];
  steps: readonly Step[];
  version: string;
  url: string;
}): OpenApi {
  const paths: OpenApi['paths'] = {};
  for (const route of routes) {
    const path = route.path.replace('...}', '}');
    paths[path] = { ...paths[path], [route.method]: operationOf(route, steps) };
  }
  return {
    openapi: '3.1.1',
    info: {
      title: 'Switchyard',
      version,
      summary: 'Mail routing, DMARC reports and their steps, as durable runs.',
      description:
        'Send JSON in UTF-8 and the header "Authorization: Bearer <token>". Errors are problem details (RFC 9457) with a stable code and what to do.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url }],
    tags: Object.entries(GROUPS).map(([name, description]) => ({ name, description })),
    security: [{ token: [] }],
    paths,
    components: {
      securitySchemes: {
        token: {
          type: 'http',
          scheme: 'bearer',
          description: `Scopes: *, an area such as mail:*, or ${SCOPES.join(', ')}.`,
        },
      },
      schemas: {
        Problem: problemSchema(),
        ...Object.fromEntries(
          steps.flatMap((step) => [
            [schemaName(step.name, 'input'), jsonSchema(step.input, 'input') as JsonObject],
            [schemaName(step.name, 'output'), jsonSchema(step.output, 'output') as JsonObject],
          ]),
        ),
      },
      responses: {
        Problem: {
          description: 'What went wrong and what to do about it (RFC 9457).',
          content: { 'application/problem+json': { schema: refTo('Problem') } },
        },
      },
    },
  };
}

function operationOf(route: Route, steps: readonly Step[]): Operation {
  const step = steps.find((one) => route.path === `/v1/steps/${one.name}`);
  const parameters = [...pathParameters(route), ...queryParameters(route), ...headerParameters(route)];
  return {
    operationId: `${route.method} ${route.path}`.replace(/[^\w.]+(\w)?/g, (_, letter: string | undefined) =>
      (letter ?? '').toUpperCase(),
    ),
    tags: [route.group],
    summary: route.summary,
    ...(route.description ? { description: route.description } : {}),
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(route.body
      ? {
          requestBody: {
            required: route.body !== 'bytes',
            content: bodyContent(
              step
                ? refTo(schemaName(step.name, 'input'))
                : route.body === 'bytes'
                  ? 'bytes'
                  : (jsonSchema(route.body, 'input') as JsonObject),
              route.types,
            ),
          },
        }
      : {}),
    responses: {
      ...Object.fromEntries(
        Object.entries(route.answers).map(([status, answer]) => [
          status,
          responseOf(answer, step && refTo(schemaName(step.name, 'output'))),
        ]),
      ),
      default: { $ref: '#/components/responses/Problem' },
    },
    ...(route.isOpen ? { security: [] } : {}),
    ...(route.scope ? { 'x-scope': route.scope } : {}),
    ...(route.errors?.length ? { 'x-errors': [...new Set(route.errors)] } : {}),
  };
}

function bodyContent(
  schema: JsonObject | 'bytes',
  types: readonly string[] = ['application/octet-stream'],
): Record<string, { schema: Json }> {
  if (schema !== 'bytes') return { 'application/json': { schema } };
  // OpenAPI 3.1, 4.8.14.3: bytes are an empty schema under their media type.
  return Object.fromEntries(types.map((type) => [type, { schema: {} }]));
}

function responseOf(answer: RouteAnswer, stepOutput: JsonObject | undefined): Json {
  if (!answer.body) return { description: answer.description };
  return {
    description: answer.description,
    content: {
      ...bodyContent(
        stepOutput ?? (answer.body === 'bytes' ? 'bytes' : (jsonSchema(answer.body, 'output') as JsonObject)),
      ),
      ...(answer.csv ? { 'text/csv': { schema: { type: 'string' } } } : {}),
    },
  };
}

function pathParameters(route: Route): NonNullable<Operation['parameters']> {
  return [...route.path.matchAll(/\{(\w+)(?:\.\.\.)?\}/g)].map(([, name = '']) => ({
    name,
    in: 'path',
    required: true,
    description: route.parameters?.[name] ?? name,
    schema: { type: 'string' },
  }));
}

function queryParameters(route: Route): NonNullable<Operation['parameters']> {
  if (!route.query) return [];
  const { properties = {}, required = [] } = jsonSchema(route.query, 'input') as {
    properties?: Record<string, JsonObject>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, { description, ...schema }]) => ({
    name,
    in: 'query',
    required: required.includes(name),
    ...(typeof description === 'string' ? { description } : {}),
    // A coerced parameter takes anything as far as zod knows; over HTTP it is what it becomes.
    schema:
      Object.keys(schema).length === 0 || !('type' in schema || 'anyOf' in schema || 'enum' in schema)
        ? { type: 'string', ...schema }
        : schema,
  }));
}

function headerParameters(route: Route): NonNullable<Operation['parameters']> {
  return Object.entries(route.headers ?? {}).map(([name, description]) => ({
    name,
    in: 'header',
    required: description.startsWith('Required'),
    description,
    schema: { type: 'string' },
  }));
}

function problemSchema(): JsonObject {
  return jsonSchema(
    z.looseObject({
      type: z.string().describe('Where the code is explained.'),
      title: z.string(),
      status: z.number().int(),
      detail: z.string().describe('What happened, in a sentence.'),
      code: z.string().describe('Stable identifier, area.what.'),
      fix: z.string().describe('What to do about it.'),
      field: z.string().optional().describe('The field of the input that is wrong.'),
      instance: z.string().describe('Id of the request, the same as in the log.'),
    }),
    'output',
  ) as JsonObject;
}
