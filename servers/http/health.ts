/** Liveness, readiness and metrics: for probes and Prometheus, not for people. */
import type { Hono } from 'hono';
import { messageOf } from '../../protocols/errors.ts';
import { authenticate, demand } from './authentication.ts';
import type { HttpContext, HttpEnv } from './context.ts';
import { READY_DEADLINE } from './limits.ts';
import { isLocalRequest } from './pages/access.ts';
import { askTemporal } from './runs.ts';

export interface Readiness {
  ready: boolean;
  parts: Record<'records' | 'blobs' | 'temporal', 'ok' | 'away'>;
}

export function mountHealth(app: Hono<HttpEnv>, context: HttpContext): void {
  app.get('/healthz', (http) => http.json({ status: 'up', version: context.version }));
  app.get('/readyz', async (http) => {
    const readiness = await checkReadiness(context);
    return http.json(readiness, readiness.ready ? 200 : 503);
  });
  app.get('/metrics', async (http) => {
    // Counts of mail are nobody else's business: from another machine a token is needed.
    if (!isLocalRequest(context, http)) demand(await authenticate(context, http), 'mail:read');
    const { contentType, text } = await context.metrics.render();
    return http.body(text, 200, { 'content-type': contentType });
  });
}

/** Asks every part that this process needs, each under a deadline. */
export async function checkReadiness(context: HttpContext): Promise<Readiness> {
  const { records, blobs } = context.dependencies;
  const probes: Record<keyof Readiness['parts'], () => Promise<unknown>> = {
    records: () => records.check(),
    blobs: () => blobs.check(),
    temporal: () => askTemporal(context, () => context.temporal.workflowService.getSystemInfo({}), READY_DEADLINE),
  };
  const states = await Promise.all(
    Object.entries(probes).map(async ([part, probe]) => {
      try {
        await within(READY_DEADLINE + 500, probe());
        return [part, 'ok'] as const;
      } catch (thrown) {
        context.log.warn({ part, reason: messageOf(thrown) }, 'a part is away');
        return [part, 'away'] as const;
      }
    }),
  );
  return {
    ready: states.every(([, state]) => state === 'ok'),
    parts: Object.fromEntries(states) as Readiness['parts'],
  };
}

async function within(milliseconds: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${milliseconds} ms`)), milliseconds);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
