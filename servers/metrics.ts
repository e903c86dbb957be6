/** Prometheus metrics of one process, on a port of its own. */
import { createServer } from 'node:http';
import { collectDefaultMetrics, register } from 'prom-client';
import type { Logger } from 'pino';
import type { Endpoint } from '../stores/configuration/addresses.ts';
import { messageOf } from '../protocols/errors.ts';

/** Serves the process's registry under /metrics. A taken port costs the metrics, never the mail. */
export async function serveMetrics(endpoint: Endpoint, log: Logger): Promise<{ close(): Promise<void> }> {
  collectDefaultMetrics();
  const server = createServer((request, response) => {
    if (request.url !== '/metrics') return void response.writeHead(404).end();
    void register.metrics().then(
      (text) => response.writeHead(200, { 'content-type': register.contentType }).end(text),
      () => response.writeHead(500).end(),
    );
  });
  const listening = await new Promise<boolean>((resolve) => {
    server.once('error', (error) => {
      log.warn({ endpoint, error: messageOf(error) }, 'metrics are not served');
      resolve(false);
    });
    server.listen(endpoint.port, endpoint.host, () => resolve(true));
  });
  return {
    async close() {
      register.clear();
      if (listening) await new Promise((resolve) => server.close(resolve));
    },
  };
}
