/** The n8n editor: installed, answering, and its credential accepted by the API. */
import { join } from 'node:path';
import { findEditor, N8N_VERSION } from '../editor/provide.ts';
import { signIn } from '../editor/session.ts';
import { CREDENTIAL } from '../editor/set-up.ts';
import { localUrl } from '../../stores/configuration/addresses.ts';
import { fail, failed, ok, warn, type Check, type Finding } from './check.ts';

const NAME = 'editor';
/** n8n tests a credential with a request of its own. */
const ANSWER_TIMEOUT_MS = 10_000;

export const checkEditor: Check = async ({ configuration, addresses, running }) => {
  if (!configuration.editor.enabled) return [ok(NAME, 'switched off in switchyard.yaml')];
  if (running && !addresses.editor) return [ok(NAME, 'left out of this start (--no-editor)')];
  if (!findEditor())
    return [
      warn(
        NAME,
        `n8n ${N8N_VERSION} is not installed yet`,
        'switchyard editor install; or the next switchyard up does it while mail flows.',
      ),
    ];
  if (!running || !addresses.editor) return [ok(NAME, `n8n ${N8N_VERSION}, started by switchyard up`)];

  const url = localUrl(addresses.editor);
  const signal = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
  const ready = await fetch(`${url}/healthz/readiness`, { signal }).catch(() => undefined);
  await ready?.body?.cancel();
  if (!ready?.ok)
    return [
      fail(
        NAME,
        `${url} does not answer`,
        `It may be starting, for up to a minute; else see ${join(configuration.state, 'logs', 'editor.log')}.`,
      ),
    ];
  try {
    return [ok(NAME, `n8n ${N8N_VERSION} at ${url}`), await examineCredential(url, configuration.state, signal)];
  } catch (error) {
    return [failed(NAME, error, `See ${join(configuration.state, 'logs', 'editor.log')}.`)];
  }
};

/** n8n asks the API itself: what it says is what the nodes will meet. */
async function examineCredential(url: string, state: string, signal: AbortSignal): Promise<Finding> {
  const name = 'credential';
  const session = await signIn(url, state, signal);
  const kept = await session.call('GET', `/rest/credentials/${CREDENTIAL.id}?includeData=true`);
  if (kept.status !== 200)
    return ok(name, `the credential ${CREDENTIAL.name} was deleted in the editor; nodes need one of your own`);
  const { data: credentials } = kept.json as { data: unknown };
  const tested = await session.call('POST', '/rest/credentials/test', { credentials });
  const { status, message } = (tested.json as { data?: { status?: string; message?: string } }).data ?? {};
  if (status === 'OK') return ok(name, 'accepted by the API');
  return fail(
    name,
    `the API does not accept the editor's credential: ${message ?? `n8n answered ${tested.status}`}`,
    `Start Switchyard again: an unchanged credential then gets a new token. One that was changed by hand is left alone: correct it at ${url}/home/credentials.`,
  );
}
