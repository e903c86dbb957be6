/** The pages for people: each is one function from records to HTML, behind the same door. */
import type { Hono } from 'hono';
import type { HttpContext, HttpEnv } from '../context.ts';
import type { OpenApi } from '../openapi.ts';
import { mountSignIn, pageAccess } from './access.ts';
import { mountAssets } from './assets.ts';
import { mountDmarcPages } from './dmarc/mount.ts';
import { docsPage } from './docs.ts';
import { inboxDownload, inboxMessagePage, inboxPage } from './inbox.ts';
import { mailPage } from './mail.ts';
import { messagePage } from './message.ts';
import { overviewPage } from './overview.ts';
import { createKeyWatch } from './published-keys.ts';

export function mountPages(app: Hono<HttpEnv>, context: HttpContext, document: () => OpenApi): void {
  mountAssets(app);
  mountSignIn(app, context);
  const door = pageAccess(context);
  const keys = createKeyWatch(context);
  app.get('/', door, async (http) => http.html(await overviewPage(context, keys)));
  app.get('/mail', door, async (http) => http.html(await mailPage(context, new URL(http.req.url).searchParams)));
  app.get('/mail/:id', door, async (http) => http.html(await messagePage(context, http.req.param('id'))));
  app.get('/inbox', door, async (http) => http.html(await inboxPage(context, new URL(http.req.url).searchParams)));
  app.get('/inbox/:id', door, async (http) => http.html(await inboxMessagePage(context, http.req.param('id'))));
  app.get('/inbox/:id/raw', door, (http) => inboxDownload(context, http.req.param('id'), http.req.method === 'HEAD'));
  mountDmarcPages(app, context);
  app.get('/docs', door, async (http) => http.html(await docsPage(context, document())));
}
