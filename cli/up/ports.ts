/** Which port each process gets. A configured port never moves; a default one gives way to the next free one. */
import { execFileSync, type ExecFileSyncOptionsWithStringEncoding } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';
import { PermanentError } from '../../protocols/errors.ts';
import { DEFAULT_PORTS, LOOPBACK, type Addresses, type Endpoint } from '../../stores/configuration/addresses.ts';
import type { Configuration } from '../../stores/configuration/schema.ts';

export interface ChosenPorts {
  addresses: Addresses;
  /** Where the UI of our own Temporal server listens; null when the server is not ours. */
  temporalUi: Endpoint | null;
  /** Sentences about defaults that moved: `8080 is taken: http is on 8081`. */
  moved: string[];
}

/** Looking further than this would hide that something is wrong with the machine. */
const TRIES = 100;

/** Linux gives outgoing connections ports from 32768 on, macOS from 49152. */
const FREE_RANGE = { from: 20_000, to: 32_000 };

interface Wish {
  host: string;
  /** From the configuration. */
  configured: number | undefined;
  /** Key in switchyard.yaml, for the error. */
  key: string;
  /** What people call it. */
  name: string;
  preferred: number;
}

/**
 * Chooses a free port for everything that listens.
 * @param externalTemporal `host:port` of a server that runs already; none is started then
 * @param editor whether the n8n editor is started
 * @param anyPort take whatever the system gives instead of the default ports: for tests, which run side by side
 * @throws PermanentError `port.taken`, naming the key and who has it
 */
export async function choosePorts(
  configuration: Configuration,
  options: { externalTemporal?: string; anyPort?: boolean; editor?: boolean } = {},
): Promise<ChosenPorts> {
  const given = new Set<number>();
  const moved: string[] = [];
  const choose = async (wish: Wish) => {
    const port = await choosePort(wish, given, options.anyPort ?? false);
    given.add(port);
    if (wish.configured === undefined && !options.anyPort && port !== wish.preferred) {
      moved.push(`${wish.preferred} is taken: ${wish.name} is on ${port}`);
    }
    return { host: wish.host, port };
  };

  const { mail, http, inbox, editor, temporal, metrics } = configuration;
  const wantsEditor = editor.enabled && (options.editor ?? false);
  // What is configured goes first, so that no default takes it.
  const wishes: Record<string, Wish> = {
    smtp: {
      host: mail.listen.host,
      configured: mail.listen.port,
      key: 'mail.listen.port',
      name: 'mail',
      preferred: DEFAULT_PORTS.smtp,
    },
    http: { host: http.host, configured: http.port, key: 'http.port', name: 'http', preferred: DEFAULT_PORTS.http },
    ...(inbox.enabled && {
      inbox: {
        host: LOOPBACK,
        configured: inbox.port,
        key: 'inbox.port',
        name: 'the local inbox',
        preferred: DEFAULT_PORTS.inbox,
      },
    }),
    ...(wantsEditor && {
      editor: {
        host: editor.host,
        configured: editor.port,
        key: 'editor.port',
        name: 'the editor',
        preferred: DEFAULT_PORTS.editor,
      },
    }),
    ...(!options.externalTemporal && {
      temporal: {
        host: LOOPBACK,
        configured: temporal.port,
        key: 'temporal.port',
        name: 'Temporal',
        preferred: DEFAULT_PORTS.temporal,
      },
      temporalUi: {
        host: LOOPBACK,
        configured: temporal.uiPort,
        key: 'temporal.uiPort',
        name: 'the Temporal UI',
        preferred: DEFAULT_PORTS.temporalUi,
      },
    }),
    workerMetrics: {
      host: LOOPBACK,
      configured: metrics.workerPort,
      key: 'metrics.workerPort',
      name: "the worker's metrics",
      preferred: DEFAULT_PORTS.workerMetrics,
    },
    smtpMetrics: {
      host: LOOPBACK,
      configured: metrics.smtpPort,
      key: 'metrics.smtpPort',
      name: "smtp's metrics",
      preferred: DEFAULT_PORTS.smtpMetrics,
    },
  };
  const order = Object.entries(wishes).sort(
    ([, a], [, b]) => Number(b.configured !== undefined) - Number(a.configured !== undefined),
  );
  const chosen: Record<string, Endpoint> = {};
  for (const [name, wish] of order) chosen[name] = await choose(wish);
  const at = (name: string) => chosen[name] ?? { host: LOOPBACK, port: 0 };

  return {
    moved,
    temporalUi: options.externalTemporal ? null : at('temporalUi'),
    addresses: {
      temporal: options.externalTemporal ?? `${at('temporal').host}:${at('temporal').port}`,
      temporalUi:
        temporal.uiUrl ??
        (options.externalTemporal ? null : `http://${at('temporalUi').host}:${at('temporalUi').port}`),
      smtp: at('smtp'),
      http: at('http'),
      inbox: inbox.enabled ? at('inbox') : null,
      editor: wantsEditor ? at('editor') : null,
      workerMetrics: at('workerMetrics'),
      smtpMetrics: at('smtpMetrics'),
    },
  };
}

async function choosePort(wish: Wish, given: Set<number>, anyPort: boolean): Promise<number> {
  if (wish.configured !== undefined) {
    if (!given.has(wish.configured) && (await isFree(wish.host, wish.configured))) return wish.configured;
    throw takenError(wish, wish.configured, given.has(wish.configured));
  }
  if (anyPort) {
    const port = await freePort(wish.host);
    return given.has(port) ? choosePort(wish, given, anyPort) : port;
  }
  for (let port = wish.preferred; port < wish.preferred + TRIES; port++) {
    if (!given.has(port) && (await isFree(wish.host, port))) return port;
  }
  throw takenError(wish, wish.preferred, false);
}

function takenError(wish: Wish, port: number, bySwitchyard: boolean): PermanentError {
  const holder = bySwitchyard ? 'another key of switchyard.yaml' : portHolder(port);
  return new PermanentError({
    code: 'port.taken',
    message: `Port ${port} (${wish.key}) is taken${holder ? ` by ${holder}` : ''}, and a configured port never moves.`,
    fix: `Stop what uses it, or change ${wish.key} in switchyard.yaml; without the key a free port is chosen.`,
    details: { key: wish.key, port },
  });
}

/**
 * A port that was free a moment ago. Not from the range that the system gives to outgoing connections: one of those
 * would take it before its process listens.
 */
export async function freePort(host: string): Promise<number> {
  for (let tries = 0; tries < TRIES; tries++) {
    const port = randomInt(FREE_RANGE.from, FREE_RANGE.to);
    if (await isFree(host, port)) return port;
  }
  throw new Error(`no free port on ${host}`);
}

export function isFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(false);
      else if (error.code === 'EACCES' || error.code === 'EADDRNOTAVAIL') reject(unusableError(host, port, error));
      else reject(error);
    });
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

function unusableError(host: string, port: number, cause: NodeJS.ErrnoException): PermanentError {
  const isForbidden = cause.code === 'EACCES';
  return new PermanentError({
    code: isForbidden ? 'port.forbidden' : 'address.unknown',
    message: isForbidden ? `This user may not listen on port ${port}.` : `${host} is no address of this machine.`,
    fix: isForbidden
      ? 'Ports below 1024 need the right to them: on Linux `setcap cap_net_bind_service=+ep` on the node binary, or a redirect to a higher port.'
      : 'Use 127.0.0.1, 0.0.0.0 or an address that `ip address` lists.',
    cause,
  });
}

/** `nginx (process 123)`, where the system tells. */
function portHolder(port: number): string | undefined {
  try {
    const options: ExecFileSyncOptionsWithStringEncoding = {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: 3_000,
    };
    const fields = execFileSync('lsof', ['-nP', `-iTCP:${port}`, '-sTCP:LISTEN', '-Fpc'], options).split('\n');
    const pid = fields.find((field) => field.startsWith('p'))?.slice(1);
    const command = fields.find((field) => field.startsWith('c'))?.slice(1);
    return pid && `${command ?? 'a program'} (process ${pid})`;
  } catch {
    return undefined;
  }
}
