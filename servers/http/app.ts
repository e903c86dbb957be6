/** The HTTP application: API, health, pages. One table of routes, one place for errors, one for headers. */
import { randomUUID } from 'node:crypto';
import { Hono, type Context, type MiddlewareHandler } from 'hono';
import { publicUrl } from '../../stores/configuration/addresses.ts';
import { PermanentError } from '../../protocols/errors.ts';
import { authenticate } from './authentication.ts';
import type { HttpContext, HttpEnv } from './context.ts';
import { mountHealth } from './health.ts';
import { createOpenApi, type OpenApi } from './openapi.ts';
import { mountPages } from './pages/pages.ts';
import { showProblem } from './pages/error.ts';
import { tlsPostRoutes } from './tls-posts.ts';
import { problemOf } from './problem.ts';
import { mount, type Route } from './route.ts';
import { accessRoutes } from './routes/access.ts';
import { blobRoutes } from './routes/blobs.ts';
import { dmarcAddressRoutes } from './routes/dmarc-addresses.ts';
import { dmarcDomainRoutes } from './routes/dmarc-domains.ts';
import { dmarcReportRoutes } from './routes/dmarc-reports.ts';
import { dmarcSummaryRoutes } from './routes/dmarc-summary.ts';
import { jobRoutes } from './routes/jobs.ts';
import { mailRoutes } from './routes/mail.ts';
import { runRoutes } from './routes/runs.ts';
import { stepRoutes } from './routes/steps.ts';
import { triggerRoutes } from './routes/triggers.ts';

/** Nothing from another host, nothing inline, no frames (CSP Level 3). */
const CONTENT_SECURITY_POLICY =
  "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const SECURITY_HEADERS: Record<string, string> = {
  'content-security-policy': CONTENT_SECURITY_POLICY,
  'x-content-type-options': 'nosniff',
  // With no-referrer a browser sends `Origin: null` with our own forms (Fetch, `Origin` header), which then look like another site's.
  'referrer-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
};

export function createApp(context: HttpContext): Hono<HttpEnv> {
  const routes: Route[] = [
    ...accessRoutes,
    ...stepRoutes(context.steps),
    ...blobRoutes,
    ...runRoutes,
    ...jobRoutes,
    ...mailRoutes,
    ...dmarcAddressRoutes,
    ...dmarcDomainRoutes,
    ...dmarcReportRoutes,
    ...dmarcSummaryRoutes,
    ...tlsPostRoutes(context.configuration),
    ...triggerRoutes,
  ];
  const app = new Hono<HttpEnv>();
  app.use(observe(context));
  mountHealth(app, context);
  for (const route of routes) mount(app, context, route);
  app.post('/v1/steps/:name', async (http) => {
    await authenticate(context, http);
    throw new PermanentError({
      code: 'step.unknown',
      message: `There is no step ${JSON.stringify(http.req.param('name'))}.`,
      fix: 'GET /v1/steps lists the steps.',
    });
  });
  const documents = new Map<string, OpenApi>();
  const document = (url: string): OpenApi => {
    const known = documents.get(url) ?? createOpenApi({ routes, steps: context.steps, version: context.version, url });
    if (documents.size === 0) documents.set(url, known);
    return known;
  };
  app.get('/openapi.json', (http) => http.json(document(publicUrl(context.configuration, context.addresses))));
  mountPages(app, context, () => document(publicUrl(context.configuration, context.addresses)));

  app.notFound((http) =>
    answerProblem(
      context,
      http,
      new PermanentError({
        code: 'page.missing',
        message: 'There is nothing at this address.',
        fix: 'The API is described at /docs.',
      }),
    ),
  );
  app.onError((thrown, http) => answerProblem(context, http, thrown));
  return app;
}

/** A page for people, problem details for programs. */
function answerProblem(context: HttpContext, http: Context<HttpEnv>, thrown: unknown): Response | Promise<Response> {
  const { problem, headers } = problemOf(thrown, http.get('requestId'), context.log);
  const isPerson = !http.req.path.startsWith('/v1/') && (http.req.header('accept') ?? '').includes('text/html');
  if (isPerson) return showProblem(http, problem);
  return http.body(JSON.stringify(problem), problem.status as 400, headers);
}

/** An id for every request, its time by route, and the headers that every answer carries. */
function observe(context: HttpContext): MiddlewareHandler<HttpEnv> {
  return async (http, next) => {
    const started = process.hrtime.bigint();
    http.set('requestId', randomUUID());
    http.set('token', null);
    await next();
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) http.res.headers.set(name, value);
    http.res.headers.set('x-request-id', http.get('requestId'));
    // A kept connection would hold up the end of the process.
    if (context.closing.aborted) http.res.headers.set('connection', 'close');
    const seconds = Number(process.hrtime.bigint() - started) / 1e9;
    context.metrics.observe(
      http.req.method,
      http.get('route') ?? (http.res.status === 404 ? 'unknown' : http.req.routePath),
      http.res.status,
      seconds,
    );
    context.log.debug(
      {
        requestId: http.get('requestId'),
        method: http.req.method,
        path: http.req.path,
        status: http.res.status,
        seconds,
        token: http.get('token')?.name,
      },
      'request',
    );
  };
}
