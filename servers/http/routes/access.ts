/** Who am I, tokens, audit log. */
import { z } from 'zod';
import { PermanentError } from '../../../protocols/errors.ts';
import { allows, demand, isScope, SCOPES } from '../authentication.ts';
import { defineRoute, type Route } from '../route.ts';
import { AuditEntry, Token } from '../schemas.ts';

const Scope = z.string().refine(isScope, `write *, an area such as mail:*, or one of ${SCOPES.join(', ')}`);

/** A patch changes nothing that a client sees; before 1.0 a minor version may. */
function isOlder(server: string, client: string): boolean {
  const [major = 0, minor = 0] = server.split('.').map(Number);
  const [wantedMajor = 0, wantedMinor = 0] = client.split('.').map(Number);
  return major < wantedMajor || (major === wantedMajor && minor < wantedMinor);
}

export const accessRoutes: readonly Route[] = [
  defineRoute({
    method: 'get',
    path: '/v1/whoami',
    group: 'Access',
    summary: 'The token of this call, and the version of the server.',
    scope: null,
    answers: {
      200: {
        description: 'The token is good.',
        body: z.object({ name: z.string(), scopes: z.array(z.string()), version: z.string() }),
      },
    },
    async handle({ http, token, context }) {
      return http.json({ name: token.name, scopes: token.scopes, version: context.version });
    },
  }),
  defineRoute({
    method: 'get',
    path: '/v1/access',
    group: 'Access',
    summary: 'Whether this token and this server are what a client needs.',
    scope: null,
    query: z.object({
      scopes: z.string().max(1_000).default('').describe('The scopes that the client needs, with commas.'),
      pack: z
        .string()
        .regex(/^\d+\.\d+/, 'write a version such as 0.1.0')
        .optional()
        .describe('Version of the n8n pack that asks.'),
    }),
    answers: {
      200: {
        description: 'The token is good; `state` says whether it is enough.',
        body: z.object({
          state: z.enum(['ok', 'scope_missing', 'too_old']),
          version: z.string(),
          name: z.string(),
          missing: z.array(z.string()),
        }),
      },
    },
    async handle({ http, token, context: { version }, query }) {
      const needed = query.scopes.split(',').filter((scope) => scope !== '');
      const missing = needed.filter((scope) => !allows(token.scopes, scope));
      const tooOld = query.pack !== undefined && isOlder(version, query.pack);
      const state = tooOld ? 'too_old' : missing.length > 0 ? 'scope_missing' : 'ok';
      return http.json({ state, version, name: token.name, missing });
    },
  }),
  defineRoute({
    method: 'get',
    path: '/v1/tokens',
    group: 'Access',
    summary: 'List the tokens, without their secrets.',
    scope: 'tokens:write',
    answers: { 200: { description: 'Every token.', body: z.object({ items: z.array(Token) }) } },
    async handle({ http, context }) {
      return http.json({ items: await context.dependencies.records.tokens.list() });
    },
  }),
  defineRoute({
    method: 'post',
    path: '/v1/tokens',
    group: 'Access',
    summary: 'Make a token; its secret is shown in this answer and never again.',
    description: 'A token can only give scopes that it has itself.',
    scope: 'tokens:write',
    body: z.strictObject({ name: z.string().min(1).max(100), scopes: z.array(Scope).min(1) }),
    answers: { 201: { description: 'The token, with its secret.', body: Token.extend({ token: z.string() }) } },
    async handle({ http, context: { dependencies }, token, body }) {
      for (const scope of body.scopes) demand(token, scope);
      const made = await dependencies.records.tokens.create(body.name, body.scopes);
      await dependencies.records.audit.write({
        actor: `token:${token.name}`,
        action: 'token.added',
        subject: made.name,
        before: null,
        after: { id: made.id, scopes: made.scopes },
      });
      return http.json(made, 201);
    },
  }),
  defineRoute({
    method: 'delete',
    path: '/v1/tokens/{id}',
    group: 'Access',
    summary: 'Remove a token; calls with it fail from then on.',
    parameters: { id: 'Id of the token, not its secret.' },
    scope: 'tokens:write',
    answers: { 204: { description: 'It is gone.' } },
    errors: ['token.missing'],
    async handle({ http, context: { dependencies }, token, path }) {
      const id = path.id ?? '';
      if (!(await dependencies.records.tokens.remove(id))) {
        throw new PermanentError({
          code: 'token.missing',
          message: `There is no token with the id ${JSON.stringify(id)}.`,
          fix: 'GET /v1/tokens lists them.',
        });
      }
      await dependencies.records.audit.write({
        actor: `token:${token.name}`,
        action: 'token.removed',
        subject: id,
        before: { id },
        after: null,
      });
      return http.body(null, 204);
    },
  }),
  defineRoute({
    method: 'get',
    path: '/v1/audit',
    group: 'Access',
    summary: 'What was changed, by whom: newest first.',
    scope: 'rules:write',
    query: z.object({
      before: z.string().optional().describe('Entries older than this id.'),
      limit: z.coerce.number().int().min(1).max(500).default(50),
    }),
    answers: {
      200: {
        description: 'A page of the audit log.',
        body: z.object({ items: z.array(AuditEntry), next: z.string().nullable() }),
      },
    },
    async handle({ http, context, query }) {
      const items = await context.dependencies.records.audit.list(query);
      return http.json({ items, next: items.length === query.limit ? (items.at(-1)?.id ?? null) : null });
    },
  }),
];
