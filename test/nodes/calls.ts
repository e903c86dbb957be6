/** Whether a call of a node is one that the servers take. */
import type { z } from 'zod';
import { expect } from 'vitest';
import { publicSteps } from '../../activities/registry.ts';
import type { Route } from '../../servers/http/route.ts';
import { blobRoutes } from '../../servers/http/routes/blobs.ts';
import { dmarcAddressRoutes } from '../../servers/http/routes/dmarc-addresses.ts';
import { dmarcDomainRoutes } from '../../servers/http/routes/dmarc-domains.ts';
import { dmarcReportRoutes } from '../../servers/http/routes/dmarc-reports.ts';
import { dmarcSummaryRoutes } from '../../servers/http/routes/dmarc-summary.ts';
import { mailRoutes } from '../../servers/http/routes/mail.ts';
import { runRoutes } from '../../servers/http/routes/runs.ts';
import { stepRoutes } from '../../servers/http/routes/steps.ts';
import { triggerRoutes } from '../../servers/http/routes/triggers.ts';
import type { Recorded } from './n8n.ts';

const routes: Route[] = [
  ...stepRoutes(publicSteps),
  ...blobRoutes,
  ...runRoutes,
  ...mailRoutes,
  ...triggerRoutes,
  ...dmarcAddressRoutes,
  ...dmarcDomainRoutes,
  ...dmarcReportRoutes,
  ...dmarcSummaryRoutes,
];

/** The route of a call; its query and body are what the route takes. */
export function checkCall({ method, path, query, body, headers }: Recorded): Route {
  const route = routes.find(
    (one) =>
      one.method === method.toLowerCase() &&
      new RegExp(`^${one.path.replace(/\{\w+\.\.\.\}/g, '.+').replace(/\{\w+\}/g, '[^/]+')}$`).test(path),
  );
  if (!route) throw new Error(`no route for ${method} ${path}`);
  if (Object.keys(query).length > 0) valid(route.query, query);
  if (route.body && route.body !== 'bytes') valid(stepOf(path)?.input ?? route.body, body);
  if (stepOf(path)?.repeat === 'needs-key') expect(headers['idempotency-key']).toMatch(/^n8n\//);
  // A durable step stands in the run's input.
  const durable = (body as { workflow?: string; input?: { step: string; input: unknown } } | undefined) ?? {};
  if (route.path === '/v1/runs' && durable.workflow === 'runStep') {
    const step = publicSteps.find(({ name }) => name === durable.input?.step);
    valid(step?.input, durable.input?.input);
  }
  return route;
}

const stepOf = (path: string) => publicSteps.find(({ name }) => path === `/v1/steps/${name}`);

function valid(schema: z.ZodType | undefined, value: unknown): void {
  const checked = schema?.safeParse(value);
  expect(checked?.error?.issues ?? (schema ? [] : 'no schema')).toEqual([]);
}
