/** The shared Temporal server, for tests that run workflows. Use a task queue of your own: `randomUUID()`. */
import { inject } from 'vitest';

/**
 * Address, `host:port`, of the one real server of this test run; it is started by the first call. The house's search
 * attributes are registered and the namespace is `default`.
 */
export async function sharedTemporal(): Promise<string> {
  // Not fetch: a first call may build the server for minutes, past its header time-out.
  const { request } = await import('node:http');
  return new Promise((resolve, reject) => {
    request(inject('sharedParts'), (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
      response.on('end', () =>
        response.statusCode === 200
          ? resolve(body)
          : reject(new Error(`The shared Temporal server did not start: ${body}`)),
      );
    })
      .on('error', reject)
      .end();
  });
}
