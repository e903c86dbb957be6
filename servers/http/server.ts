/** The http process: the API and the pages. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { createAdaptorServer } from '@hono/node-server';
import { openDependencies } from '../../activities/open.ts';
import { publicSteps } from '../../activities/registry.ts';
import { PermanentError } from '../../protocols/errors.ts';
import type { RunningServer, ServerOptions } from '../server.ts';
import { lazyTemporal } from '../temporal.ts';
import { createApp } from './app.ts';
import type { HttpContext } from './context.ts';
import { CLOSE_GRACE, HEADERS_TIMEOUT, KEEP_ALIVE_TIMEOUT, REQUEST_TIMEOUT } from './limits.ts';
import { createMetrics } from './metrics.ts';
import { createTokenGate } from './token-gate.ts';

export interface HttpServer extends RunningServer {
  /** The port that it listens on, also where 0 was asked for. */
  port: number;
}

/**
 * Starts the API and the pages. The Temporal server may be away: only what needs it then answers 503.
 * @throws PermanentError `http.port_taken`, and what `openDependencies` throws
 */
export async function startHttp({ configuration, addresses, log }: ServerOptions): Promise<HttpServer> {
  const dependencies = await openDependencies(configuration, addresses);
  const temporal = lazyTemporal(configuration, addresses);
  const closing = new AbortController();
  const ended = new AbortController();
  const context: HttpContext = {
    configuration,
    addresses: { ...addresses, http: { ...addresses.http } },
    log,
    dependencies,
    temporal,
    tokenGate: createTokenGate(dependencies.records.tokens),
    steps: publicSteps,
    metrics: createMetrics(dependencies.records),
    version: packageVersion(),
    cookieSecret: await dependencies.keys.secret('cookie'),
    closing: closing.signal,
    ended: ended.signal,
  };
  const server = createAdaptorServer({
    fetch: createApp(context).fetch,
    serverOptions: {
      headersTimeout: HEADERS_TIMEOUT,
      requestTimeout: REQUEST_TIMEOUT,
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT,
    },
  }) as Server;
  const closeParts = async () => {
    await temporal.connection.close();
    await dependencies.close();
  };
  try {
    const { port } = await listen(server, addresses.http);
    context.addresses.http.port = port;
    log.info({ host: addresses.http.host, port }, 'http listens');
    return { port, close: () => close(server, closing, ended, closeParts) };
  } catch (thrown) {
    await closeParts();
    throw thrown;
  }
}

async function listen(server: Server, { host, port }: { host: string; port: number }): Promise<AddressInfo> {
  server.listen(port, host);
  try {
    await once(server, 'listening');
  } catch (thrown) {
    throw new PermanentError({
      code: 'http.port_taken',
      message: `Cannot listen on ${host}:${port}: ${(thrown as Error).message}`,
      fix: 'Stop what uses the port, or set http.port in switchyard.yaml.',
      cause: thrown,
    });
  }
  return server.address() as AddressInfo;
}

/** Takes nothing new, ends long polls, lets the rest finish within the grace time. */
async function close(
  server: Server,
  closing: AbortController,
  ended: AbortController,
  closeParts: () => Promise<void>,
): Promise<void> {
  if (closing.signal.aborted) return;
  closing.abort();
  const closed = once(server, 'close');
  server.close();
  server.closeIdleConnections();
  const grace = setTimeout(() => {
    ended.abort();
    // A moment for the answers that say so.
    setTimeout(() => server.closeAllConnections(), 500).unref();
  }, CLOSE_GRACE);
  await closed;
  clearTimeout(grace);
  await closeParts();
}

/** The version of the nearest package.json: the checkout's or the installed package's. */
function packageVersion(): string {
  for (let folder = import.meta.dirname; ; folder = dirname(folder)) {
    try {
      return (JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version: string }).version;
    } catch {
      if (folder === dirname(folder)) return '0.0.0';
    }
  }
}
