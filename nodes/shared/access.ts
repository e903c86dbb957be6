/** The test of the credential: four ways to be wrong, each with its own words. */
import type { ICredentialsDecrypted, ICredentialTestFunctions, INodeCredentialTestResult } from 'n8n-workflow';
import { unreachable } from './errors.ts';

/** The version of this pack, as in package.json. */
export const PACK_VERSION = '0.1.0';

/** What the nodes ask of a token. */
export const SCOPES = [
  'mail:read',
  'mail:write',
  'dmarc:read',
  'dmarc:write',
  'runs:read',
  'runs:write',
  'blobs:read',
  'blobs:write',
  'triggers:write',
];

const NEW_TOKEN = `switchyard tokens add n8n ${SCOPES.map((scope) => `--scope ${scope}`).join(' ')}`;
const TIMEOUT = 10_000;

interface Access {
  state: 'ok' | 'scope_missing' | 'too_old';
  version: string;
  name: string;
  missing: string[];
}

/** Asks Switchyard whether this token and this server are what the nodes need. */
export async function switchyardApiTest(
  this: ICredentialTestFunctions,
  { data }: ICredentialsDecrypted,
): Promise<INodeCredentialTestResult> {
  const { baseUrl, token } = data as { baseUrl: string; token: string };
  const address = baseUrl.trim().replace(/\/+$/, '');
  let answer: Response;
  try {
    answer = await fetch(`${address}/v1/access?scopes=${SCOPES.join(',')}&pack=${PACK_VERSION}`, {
      headers: { authorization: `Bearer ${token.trim()}` },
      redirect: 'error',
      signal: AbortSignal.timeout(TIMEOUT),
    });
  } catch (error) {
    const { message, fix } = unreachable(error, address);
    return failed(`${message} ${fix}`);
  }
  if (answer.status === 401)
    return failed(
      `Switchyard refuses the token: it was removed, or it is that of another installation. Make a new one with: ${NEW_TOKEN}`,
    );
  const access = (await answer.json().catch(() => undefined)) as Partial<Access> | undefined;
  if (answer.status === 404 && isSwitchyard(access))
    return failed(
      `A Switchyard answers at ${address}, but does not know this test: it is older than the nodes, which are version ${PACK_VERSION}, or the base URL has a path that does not belong there.`,
    );
  if (!answer.ok || access?.state === undefined)
    return failed(
      `Something answers at ${address} with status ${answer.status}, but not as Switchyard does. The base URL is the address that "switchyard up" prints beside "api".`,
    );
  if (access.state === 'too_old')
    return failed(
      `This Switchyard, version ${access.version}, is too old for the nodes, which are version ${PACK_VERSION}: update it.`,
    );
  if (access.state === 'scope_missing')
    return failed(
      `The token ${JSON.stringify(access.name)} lacks ${access.missing?.join(', ')}. Make one that has all: ${NEW_TOKEN}`,
    );
  return { status: 'OK', message: `Connected to Switchyard ${access.version}.` };
}

/** A server that does not know the route answers with problem details all the same. */
function isSwitchyard(body: unknown): boolean {
  return typeof body === 'object' && body !== null && 'code' in body && 'fix' in body;
}

function failed(message: string): INodeCredentialTestResult {
  return { status: 'Error', message };
}
