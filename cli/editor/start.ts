/** The n8n editor of an installation: got ready and started after everything that mail needs, and never in its way. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { localUrl } from '../../stores/configuration/addresses.ts';
import { openRecords } from '../../stores/records/open.ts';
import type { Progress } from '../progress.mjs';
import type { Installation } from '../up/installation.ts';
import { freePort } from '../up/ports.ts';
import { EDITOR_GRACE_MS, EDITOR_HEAP_MB, editorEnvironment } from './environment.ts';
import { installPack, providePack } from './pack.ts';
import { provideEditor } from './provide.ts';
import { secretFiles } from './secrets.ts';
import { setUp } from './set-up.ts';
import { readTemplates } from './templates.ts';

/** Folder in the state folder with all that n8n keeps. */
export const EDITOR_FOLDER = 'n8n';

export interface StartedEditor {
  /** The credential points to where the API was, and was left alone, since a person changed it. */
  isCredentialOutdated: boolean;
}

/**
 * Installs, sets up and starts the editor; resolves when it answers. The installation must run: a trigger that is
 * published registers at the API as soon as n8n is up. `installation.stop()` ends it at any stage.
 * @throws PermanentError `editor.no_space`, `editor.install_failed`, `editor.pack_failed`, `editor.template_invalid`,
 *   `editor.set_up_failed`, `process.failed`
 */
export function startEditor(
  installation: Installation,
  options: { progress: Progress; environment?: NodeJS.ProcessEnv },
): Promise<StartedEditor> {
  return installation.beside((signal) => start(installation, options, signal));
}

async function start(
  installation: Installation,
  options: { progress: Progress; environment?: NodeJS.ProcessEnv },
  signal: AbortSignal,
): Promise<StartedEditor> {
  const { configuration, addresses } = installation;
  const listen = addresses.editor;
  if (!listen) throw new Error('the editor is switched off');
  const program = await provideEditor({ progress: options.progress, signal });

  const step = options.progress.step('Starting the editor');
  try {
    const folder = join(configuration.state, EDITOR_FOLDER);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    step.detail('the nodes');
    installPack(folder, await providePack());
    const environment = editorEnvironment({
      folder,
      listen,
      brokerPort: await freePort('127.0.0.1'),
      publicUrl: configuration.editor.publicUrl,
      secrets: await secretFiles(configuration.state, folder, program),
      from: options.environment ?? process.env,
    });
    const records = await openRecords(configuration);
    const plan = await setUp({
      program,
      folder,
      environment,
      baseUrl: localUrl(addresses.http),
      records,
      domains: Object.keys(configuration.mail.domains),
      templates: readTemplates(),
      logFile: join(configuration.state, 'logs', 'editor.log'),
      onDetail: step.detail,
      signal,
    }).finally(() => records.close());
    step.detail('n8n');
    signal.throwIfAborted();
    await installation
      .watchServer({
        name: 'editor',
        command: [process.execPath, `--max-old-space-size=${EDITOR_HEAP_MB}`, program.script, 'start'],
        folder,
        environment,
        graceMs: EDITOR_GRACE_MS + 2_000,
        probe: () => untilReady(localUrl(listen), signal),
      })
      .start();
    step.done();
    return { isCredentialOutdated: plan.credential === 'edited' };
  } catch (error) {
    step.fail();
    throw error;
  }
}

/** How often n8n is asked. */
const PROBE_EVERY_MS = 250;

/** Resolves when n8n serves pages and webhooks; `/healthz` alone says so while it still boots. */
export async function untilReady(url: string, signal: AbortSignal): Promise<void> {
  for (;;) {
    signal.throwIfAborted();
    const answer = await fetch(`${url}/healthz/readiness`, { signal }).catch(() => undefined);
    await answer?.body?.cancel();
    if (answer?.ok) return;
    await sleep(PROBE_EVERY_MS, undefined, { signal });
  }
}
