/** n8n's own API, the one that its pages use, as the owner. */
import { randomUUID } from 'node:crypto';
import { TemporaryError } from '../../protocols/errors.ts';
import { OWNER_EMAIL, readPassword } from './secrets.ts';

export interface EditorSession {
  /** The cookies, and the id that n8n binds them to. */
  cookie: string;
  browserId: string;
  call(method: string, path: string, body?: unknown): Promise<EditorAnswer>;
}

export interface EditorAnswer {
  status: number;
  /** `{ message }` where the answer was no JSON. */
  json: unknown;
}

/**
 * Signs in with the password in the state folder.
 * @param url base URL of n8n, without a slash at the end
 * @throws TemporaryError `editor.sign_in_failed`
 */
export async function signIn(url: string, state: string, signal?: AbortSignal): Promise<EditorSession> {
  const browserId = randomUUID();
  const answer = await request(`${url}/rest/login`, 'POST', {
    headers: { 'browser-id': browserId },
    body: { emailOrLdapLoginId: OWNER_EMAIL, password: readPassword(state) ?? '' },
    signal,
  });
  const cookie = answer.headers
    .getSetCookie()
    .map((one) => one.split(';')[0])
    .join('; ');
  if (!answer.ok || cookie === '')
    throw new TemporaryError({
      code: 'editor.sign_in_failed',
      message: `n8n at ${url} answered ${answer.status} to the owner's password.`,
      fix: 'Start Switchyard again: the owner then has the password of the file editor-password.',
    });
  return {
    cookie,
    browserId,
    async call(method, path, body) {
      const headers = { cookie, 'browser-id': browserId };
      const response = await request(`${url}${path}`, method, { headers, body, signal });
      return { status: response.status, json: parsed(await response.text()) };
    },
  };
}

function request(
  url: string,
  method: string,
  { headers, body, signal }: { headers: Record<string, string>; body: unknown; signal?: AbortSignal | undefined },
): Promise<Response> {
  return fetch(url, {
    method,
    headers: { accept: 'application/json', 'content-type': 'application/json', ...headers },
    body: body === undefined ? null : JSON.stringify(body),
    signal: signal ?? null,
  });
}

function parsed(text: string): unknown {
  try {
    return text === '' ? null : JSON.parse(text);
  } catch {
    return { message: text };
  }
}
