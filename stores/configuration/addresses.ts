/**
 * Where the processes of this installation listen. `up` chooses the ports, hands them to each process in
 * SWITCHYARD_ADDRESSES and leaves them in `<state>/run.json` for the command line; without either, the
 * configuration and the default ports hold.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Configuration } from './schema.ts';

export interface Endpoint {
  host: string;
  port: number;
}

export interface Addresses {
  /** gRPC of the Temporal server, `host:port`. */
  temporal: string;
  /** Base URL of the Temporal UI; null where nobody knows it. */
  temporalUi: string | null;
  smtp: Endpoint;
  http: Endpoint;
  /** The local inbox's SMTP port; null when it is off. */
  inbox: Endpoint | null;
  /** The n8n editor; null when it is off. */
  editor: Endpoint | null;
  /** Prometheus of the SDK in the worker and of the smtp process. */
  workerMetrics: Endpoint;
  smtpMetrics: Endpoint;
}

/** Chosen to be free of root rights and of each other; `up` moves on from a taken one. */
export const DEFAULT_PORTS = {
  smtp: 2525,
  http: 8080,
  inbox: 2526,
  editor: 5678,
  temporal: 7233,
  temporalUi: 8233,
  workerMetrics: 9464,
  smtpMetrics: 9465,
} as const;

/** Host every default listens on. */
export const LOOPBACK = '127.0.0.1';

export function resolveAddresses(
  configuration: Configuration,
  environment: NodeJS.ProcessEnv = process.env,
): Addresses {
  if (environment.SWITCHYARD_ADDRESSES) return JSON.parse(environment.SWITCHYARD_ADDRESSES) as Addresses;
  const running = readRunning(configuration.state);
  if (running) return running;
  return {
    temporal:
      environment.TEMPORAL_ADDRESS ??
      configuration.temporal.address ??
      `${LOOPBACK}:${configuration.temporal.port ?? DEFAULT_PORTS.temporal}`,
    temporalUi: configuration.temporal.uiUrl ?? null,
    smtp: { host: configuration.mail.listen.host, port: configuration.mail.listen.port ?? DEFAULT_PORTS.smtp },
    http: { host: configuration.http.host, port: configuration.http.port ?? DEFAULT_PORTS.http },
    inbox: configuration.inbox.enabled
      ? { host: LOOPBACK, port: configuration.inbox.port ?? DEFAULT_PORTS.inbox }
      : null,
    editor: configuration.editor.enabled
      ? { host: configuration.editor.host, port: configuration.editor.port ?? DEFAULT_PORTS.editor }
      : null,
    workerMetrics: { host: LOOPBACK, port: configuration.metrics.workerPort ?? DEFAULT_PORTS.workerMetrics },
    smtpMetrics: { host: LOOPBACK, port: configuration.metrics.smtpPort ?? DEFAULT_PORTS.smtpMetrics },
  };
}

/** Addresses that listen on all of a machine's, and the loopback address that reaches them. */
const WILDCARDS: Record<string, string> = { '0.0.0.0': '127.0.0.1', '::': '::1' };

/** Base URL of a listening server as this machine reaches it, without a slash at the end. */
export function localUrl({ host, port }: Endpoint): string {
  const reachable = WILDCARDS[host] ?? host;
  return `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`;
}

/** Where others reach the API and the pages, without a slash at the end. */
export function publicUrl(configuration: Pick<Configuration, 'http'>, { http }: Pick<Addresses, 'http'>): string {
  return (configuration.http.publicUrl ?? localUrl(http)).replace(/\/$/, '');
}

/** Origins (RFC 6454) that callbacks may go to: those of the configuration, else the editor's. */
export function callbackOrigins(
  { triggers, editor: { publicUrl } }: Pick<Configuration, 'triggers' | 'editor'>,
  { editor }: Pick<Addresses, 'editor'>,
): string[] {
  if (triggers.callbackOrigins) return triggers.callbackOrigins;
  const { host, port } = editor ?? { host: LOOPBACK, port: DEFAULT_PORTS.editor };
  const hosts = new Set([LOOPBACK, 'localhost', host]);
  return [
    ...[...hosts].map((name) => new URL(localUrl({ host: name, port })).origin),
    ...(publicUrl ? [new URL(publicUrl).origin] : []),
  ];
}

/** Name of the file in the state folder that says where the running processes listen. */
export const RUN_FILE = 'run.json';

function readRunning(state: string): Addresses | undefined {
  try {
    return (JSON.parse(readFileSync(join(state, RUN_FILE), 'utf8')) as { addresses: Addresses }).addresses;
  } catch {
    return undefined;
  }
}
