/** Bearer tokens (RFC 6750, section 2.1: in the header only, never in the URL) and their scopes. */
import { getConnInfo } from '@hono/node-server/conninfo';
import type { Context } from 'hono';
import type { TokenRecord } from '../../stores/records/port.ts';
import { PermanentError } from '../../protocols/errors.ts';
import type { HttpContext, HttpEnv } from './context.ts';

/** Everything a token can be allowed. `*` is all of it, `mail:*` all of one area. */
export const SCOPES = [
  'mail:read',
  'mail:write',
  'dmarc:read',
  'dmarc:write',
  'runs:read',
  'runs:write',
  'jobs:read',
  'jobs:write',
  'blobs:read',
  'blobs:write',
  'rules:write',
  'triggers:write',
  'tokens:write',
] as const;

/** Whether it is a scope that a token can have. */
export function isScope(scope: string): boolean {
  return scope === '*' || SCOPES.some((known) => known === scope || scope === `${known.split(':')[0]}:*`);
}

/**
 * The scopes as given, when each of them exists.
 * @throws PermanentError `input.invalid`
 */
export function resolveScopes(scopes: string[]): string[] {
  const unknown = scopes.find((scope) => !isScope(scope));
  if (unknown === undefined) return scopes;
  throw new PermanentError({
    code: 'input.invalid',
    message: `There is no scope ${JSON.stringify(unknown)}.`,
    fix: `Write *, an area such as mail:*, or one of ${SCOPES.join(', ')}.`,
    details: { field: 'scopes' },
  });
}

/**
 * The token of a request.
 * @throws PermanentError `token.required`, `token.unknown`; TemporaryError `token.too_many`
 */
export async function authenticate(context: HttpContext, http: Context<HttpEnv>): Promise<TokenRecord> {
  const presented = /^Bearer +(\S+)$/i.exec(http.req.header('authorization') ?? '')?.[1];
  if (!presented) {
    throw new PermanentError({
      code: 'token.required',
      message: 'This call needs a token and the request carries none.',
      fix: 'Send the header "Authorization: Bearer <token>". The first token lies in the file token of the state folder; switchyard tokens add makes more.',
    });
  }
  const token = await context.tokenGate.find(presented, getConnInfo(http).remote.address ?? '');
  if (token) return token;
  throw new PermanentError({
    code: 'token.unknown',
    message: 'The token is not known here: it was removed, or it belongs to another installation.',
    fix: 'Make a new one with: switchyard tokens add NAME',
  });
}

/** Whether scopes cover what is needed. */
export function allows(scopes: readonly string[], needed: string): boolean {
  const area = needed.split(':')[0];
  return scopes.some((scope) => scope === '*' || scope === needed || scope === `${area}:*`);
}

/** @throws PermanentError `scope.missing`, naming the scope */
export function demand(token: Pick<TokenRecord, 'name' | 'scopes'>, needed: string): void {
  if (allows(token.scopes, needed)) return;
  throw new PermanentError({
    code: 'scope.missing',
    message: `The token ${JSON.stringify(token.name)} lacks the scope ${needed}; it has ${token.scopes.join(', ') || 'none'}.`,
    fix: `Make a token that has it: switchyard tokens add NAME --scope ${needed}`,
    details: { scope: needed },
  });
}
