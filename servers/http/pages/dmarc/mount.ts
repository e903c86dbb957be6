/** Addresses of the pages about reports. The door is the same for all; what changes something needs more. */
import type { Context, Hono } from 'hono';
import { PermanentError } from '../../../../protocols/errors.ts';
import { demand } from '../../authentication.ts';
import type { HttpContext, HttpEnv } from '../../context.ts';
import { findQuarantined, findReport, quarantineMissing, sendOriginal } from '../../dmarc/find.ts';
import { readAgain } from '../../dmarc/read-again.ts';
import { FORM_BODY } from '../../limits.ts';
import { readBody } from '../../route.ts';
import { pageAccess, refuseCrossSite } from '../access.ts';
import type { Html } from '../layout.ts';
import { domainOverview } from './domain.ts';
import { failuresPage } from './failures.ts';
import { dmarcOverview } from './overview.ts';
import { domainQuarantine, quarantinedPage, quarantinePage, readAgainPage } from './quarantine.ts';
import { reportPage } from './report.ts';
import { reportsPage } from './reports.ts';
import { sourcePage } from './source.ts';
import { newSourcesPage, sourcesPage } from './sources.ts';
import { tlsPage } from './tls.ts';
import { viewOf, type Tab, type View } from './view.ts';
import { whatIfPage } from './what-if.ts';

const PAGES: Record<Tab, (view: View) => Promise<Html | Response>> = {
  overview: domainOverview,
  sources: sourcesPage,
  new: newSourcesPage,
  'what-if': whatIfPage,
  reports: reportsPage,
  tls: tlsPage,
  failures: failuresPage,
  quarantine: domainQuarantine,
};

export function mountDmarcPages(app: Hono<HttpEnv>, context: HttpContext): void {
  const door = pageAccess(context, 'dmarc:read');
  const { blobs, records } = context.dependencies;
  const searchOf = (url: string) => new URL(url).searchParams;

  app.get('/dmarc', door, async (http) => {
    const search = searchOf(http.req.url);
    const domain = search.get('domain');
    if (!domain) return http.html(await dmarcOverview(context));
    return http.redirect(choice(domain, search));
  });
  app.get('/dmarc/quarantine', door, async (http) => http.html(await quarantinePage(context, searchOf(http.req.url))));
  app.get('/dmarc/quarantine/:id', door, async (http) =>
    http.html(await quarantinedPage(context, http.req.param('id'))),
  );
  app.get('/dmarc/quarantine/:id/raw', door, async (http) =>
    sendOriginal(blobs, await findQuarantined(records.dmarc, http.req.param('id')), http.req.method === 'HEAD'),
  );
  app.post('/dmarc/quarantine/:id/remove', door, async (http) => {
    const by = whoChanges(http);
    const id = http.req.param('id');
    if (!(await records.dmarc.quarantine.remove(id, by))) throw quarantineMissing(id);
    return http.redirect('/dmarc/quarantine', 303);
  });
  app.post('/dmarc/quarantine/:id/read', door, async (http) => {
    const by = whoChanges(http);
    const id = http.req.param('id');
    const form = new URLSearchParams((await readBody(http, FORM_BODY)).toString('utf8'));
    await readAgain(context, id, { domain: form.get('domain') || undefined, by });
    return http.redirect(`/dmarc/quarantine/${encodeURIComponent(id)}/read`, 303);
  });
  app.get('/dmarc/quarantine/:id/read', door, async (http) =>
    http.html(await readAgainPage(context, http.req.param('id'), http.req.raw.signal)),
  );
  app.get('/dmarc/reports/:id', door, async (http) =>
    answer(http, await reportPage(context, http.req.param('id'), searchOf(http.req.url))),
  );
  app.get('/dmarc/reports/:id/raw', door, async (http) =>
    sendOriginal(blobs, await findReport(records.dmarc, http.req.param('id')), http.req.method === 'HEAD'),
  );
  app.get('/dmarc/:domain/sources/:source', door, async (http) => {
    const view = await viewOf(context, http.req.param('domain'), searchOf(http.req.url));
    return answer(http, await sourcePage(view, http.req.param('source')));
  });
  app.get('/dmarc/:domain/:tab?', door, async (http) => {
    const tab = http.req.param('tab') ?? 'overview';
    if (!isTab(tab)) throw pageMissing();
    return answer(http, await PAGES[tab](await viewOf(context, http.req.param('domain'), searchOf(http.req.url))));
  });
}

/**
 * Who sends a form that changes something. Who sits at the machine has no token and may do everything.
 * @throws PermanentError `request.cross_site`, `scope.missing`
 */
function whoChanges(http: Context<HttpEnv>): string {
  refuseCrossSite(http);
  const token = http.get('token');
  if (token) demand(token, 'dmarc:write');
  return token ? `token:${token.name}` : 'page';
}

const isTab = (name: string): name is Tab => Object.hasOwn(PAGES, name);

const pageMissing = (): PermanentError =>
  new PermanentError({
    code: 'page.missing',
    message: 'There is nothing at this address.',
    fix: 'The domains are at /dmarc.',
  });

/** Where the form in the head of a page leads. */
function choice(domain: string, search: URLSearchParams): string {
  const tab = search.get('tab') ?? 'overview';
  const days = search.get('days');
  const path = isTab(tab) && tab !== 'overview' ? `/${tab}` : '';
  return `/dmarc/${encodeURIComponent(domain)}${path}${days ? `?days=${encodeURIComponent(days)}` : ''}`;
}

function answer(http: { html(content: Html): Response | Promise<Response> }, content: Html | Response) {
  return content instanceof Response ? content : http.html(content);
}
