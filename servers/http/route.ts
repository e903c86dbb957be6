/**
 * A route of the API: what it takes, what it answers and who may call it, in one definition. The server mounts the
 * table and OpenAPI is written from it, so that the two cannot differ.
 */
import type { Context, Hono } from 'hono';
import type { z } from 'zod';
import type { TokenRecord } from '../../stores/records/port.ts';
import { PermanentError } from '../../protocols/errors.ts';
import { authenticate, demand } from './authentication.ts';
import type { HttpContext, HttpEnv } from './context.ts';
import { JSON_BODY } from './limits.ts';

export type RouteGroup = 'Access' | 'Steps' | 'Blobs' | 'Runs' | 'Jobs' | 'Mail' | 'DMARC' | 'Triggers';

export interface RouteAnswer {
  description: string;
  /** JSON of this shape; `bytes` for a download; absent for an empty body. */
  body?: z.ZodType | 'bytes';
  /** The same rows as CSV, where `format=csv` asks for it. */
  csv?: boolean;
}

export interface RouteRequest<Query, Body> {
  context: HttpContext;
  http: Context<HttpEnv>;
  token: TokenRecord;
  /** Path parameters, decoded. */
  path: Record<string, string>;
  query: Query;
  body: Body;
}

/** A route without a token: anyone may call it, and it looks after itself. */
export type OpenRequest<Query, Body> = Omit<RouteRequest<Query, Body>, 'token'>;

export interface Route {
  method: 'get' | 'post' | 'put' | 'delete';
  /** In OpenAPI's form: `/v1/runs/{id}/result`. A last parameter written `{key...}` takes slashes too. */
  path: string;
  group: RouteGroup;
  summary: string;
  description?: string;
  /** What the token must be allowed; null: any token will do, or none is asked for (`isOpen`). */
  scope: string | null;
  /** No token is asked for. */
  isOpen?: true;
  /** What each path parameter is. */
  parameters?: Record<string, string>;
  /** Headers that the route reads: name and what it is. */
  headers?: Record<string, string>;
  query?: z.ZodObject;
  body?: z.ZodType | 'bytes';
  /** Media types of a body of bytes. */
  types?: readonly string[];
  answers: Record<number, RouteAnswer>;
  /** Codes of errors beyond those of every route. */
  errors?: readonly string[];
  /** Without a token where it is open. */
  handle(request: OpenRequest<unknown, unknown> & { token?: TokenRecord }): Promise<Response>;
}

type OutputOf<Schema, Otherwise> = Schema extends z.ZodType ? z.output<Schema> : Otherwise;

/** Defines a route; the handler gets the types of its schemas. */
export function defineRoute<
  Query extends z.ZodObject | undefined = undefined,
  Body extends z.ZodType | 'bytes' | undefined = undefined,
>(
  route: Omit<Route, 'query' | 'body' | 'handle'> & {
    query?: Query;
    body?: Body;
    handle(request: RouteRequest<OutputOf<Query, undefined>, OutputOf<Body, undefined>>): Promise<Response>;
  },
): Route {
  return route as unknown as Route;
}

/** Defines a route that asks for no token. */
export const defineOpenRoute = (
  route: Omit<Route, 'scope' | 'isOpen' | 'query' | 'handle'> & {
    handle(request: OpenRequest<undefined, undefined>): Promise<Response>;
  },
): Route => ({ ...route, scope: null, isOpen: true });

/** Mounts a route: token, scope, query and body are checked before the handler sees anything. */
export function mount(app: Hono<HttpEnv>, context: HttpContext, route: Route): void {
  const path = route.path.replace(/\{(\w+)\.\.\.\}/g, ':$1{.+}').replace(/\{(\w+)\}/g, ':$1');
  app.on(route.method.toUpperCase(), path, async (http) => {
    http.set('route', route.path);
    const token = route.isOpen ? null : await authenticate(context, http);
    http.set('token', token);
    if (token && route.scope) demand(token, route.scope);
    const query = route.query ? check(route.query, http.req.query(), route, 'query') : undefined;
    const body =
      route.body && route.body !== 'bytes' ? check(route.body, await readJson(http), route, 'body') : undefined;
    return route.handle({
      context,
      http,
      ...(token ? { token } : {}),
      path: http.req.param() as Record<string, string>,
      query,
      body,
    });
  });
}

function check(schema: z.ZodType, value: unknown, route: Route, part: string): unknown {
  const checked = schema.safeParse(value);
  if (checked.success) return checked.data;
  const issue = checked.error.issues[0];
  const field = issue?.path.join('.') || part;
  throw new PermanentError({
    code: 'input.invalid',
    message: `${field}: ${issue?.message ?? 'not valid'}`,
    fix: `See ${route.method.toUpperCase()} ${route.path} in /docs.`,
    details: { field },
  });
}

/**
 * The JSON body of a request, undefined when it is empty.
 * @throws PermanentError `input.too_large`, `input.not_json`
 */
export async function readJson(http: Context<HttpEnv>): Promise<unknown> {
  const text = (await readBody(http, JSON_BODY)).toString('utf8');
  if (text.trim() === '') return undefined;
  try {
    return JSON.parse(text);
  } catch (thrown) {
    throw new PermanentError({
      code: 'input.not_json',
      message: `The body is not JSON: ${(thrown as Error).message}`,
      fix: 'Send JSON in UTF-8.',
      cause: thrown,
    });
  }
}

/**
 * Reads a body under a limit, whatever Content-Length says.
 * @throws PermanentError `input.too_large`
 */
export async function readBody(http: Context<HttpEnv>, maxBytes: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of (http.req.raw.body ?? []) as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength;
    if (size > maxBytes) {
      throw new PermanentError({
        code: 'input.too_large',
        message: `The body is larger than ${maxBytes} bytes.`,
        fix: 'Store large content with POST /v1/blobs and pass its reference.',
        details: { maxBytes },
      });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
