/**
 * Who may see the pages. On one's own machine nobody signs in; everywhere else a token is asked for once and a signed
 * cookie remembers its id, never the token.
 */
import type { Context, Hono, MiddlewareHandler } from 'hono';
import { deleteCookie, getSignedCookie, setSignedCookie } from 'hono/cookie';
import { getConnInfo } from '@hono/node-server/conninfo';
import { html } from 'hono/html';
import type { TokenRecord } from '../../../stores/records/port.ts';
import { PermanentError } from '../../../protocols/errors.ts';
import { allows } from '../authentication.ts';
import type { HttpContext, HttpEnv } from '../context.ts';
import { FORM_BODY, SESSION_AGE } from '../limits.ts';
import { readBody } from '../route.ts';
import { page } from './layout.ts';

const COOKIE = 'switchyard';
const LOOPBACK_HOST = /^(localhost|127(?:\.\d{1,3}){3}|\[::1\])(:\d+)?$/i;
const LOOPBACK_ADDRESS = /^(127(?:\.\d{1,3}){3}|::1|::ffff:127(?:\.\d{1,3}){3})$/i;
/** A proxy on this machine makes every visitor look local. */
const PROXY_HEADERS = ['forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-real-ip', 'via'];
/** What a page shows, and a token must be allowed to read. */
type PageScope = 'mail:read' | 'dmarc:read';
const PAGE_SCOPES: readonly PageScope[] = ['mail:read', 'dmarc:read'];
const EITHER = PAGE_SCOPES.join(' or ');

/**
 * Whether the person sits at this machine. The Host header is checked too: a name of a stranger that resolves to
 * 127.0.0.1 (DNS rebinding) reaches the port, but not with our name. With a public URL everyone signs in.
 */
export function isLocalRequest({ configuration }: HttpContext, http: Context<HttpEnv>): boolean {
  const { publicUrl } = configuration.http;
  if (publicUrl && !LOOPBACK_HOST.test(new URL(publicUrl).host)) return false;
  if (PROXY_HEADERS.some((name) => http.req.header(name) !== undefined)) return false;
  return (
    LOOPBACK_ADDRESS.test(getConnInfo(http).remote.address ?? '') && LOOPBACK_HOST.test(http.req.header('host') ?? '')
  );
}

/** Lets local people and signed-in people through; everyone else meets the sign-in page. */
export function pageAccess(context: HttpContext, scope: PageScope = 'mail:read'): MiddlewareHandler<HttpEnv> {
  return async (http, next) => {
    http.header('cache-control', 'private, no-store');
    if (isLocalRequest(context, http)) return next();
    const token = await signedIn(context, http);
    if (token && allows(token.scopes, scope)) {
      http.set('token', token);
      return next();
    }
    if (token) return signInPage(http, 403, `The token ${token.name} lacks the scope ${scope}, which this page needs.`);
    return signInPage(http, 401);
  };
}

async function signedIn(context: HttpContext, http: Context<HttpEnv>): Promise<TokenRecord | undefined> {
  const value = await getSignedCookie(http, context.cookieSecret, COOKIE);
  const [id, expires] = value ? value.split('.') : [];
  if (!id || !(Number(expires) > Date.now())) return undefined;
  return (await context.dependencies.records.tokens.list()).find((token) => token.id === id);
}

export function mountSignIn(app: Hono<HttpEnv>, context: HttpContext): void {
  app.get('/signin', (http) => signInPage(http, 200));
  app.post('/signin', async (http) => {
    refuseCrossSite(http);
    const form = new URLSearchParams((await readBody(http, FORM_BODY)).toString('utf8'));
    const token = await context.tokenGate.find(
      (form.get('token') ?? '').trim(),
      getConnInfo(http).remote.address ?? '',
    );
    if (!token)
      return signInPage(
        http,
        401,
        'This token is not known here. Look into the file token of the state folder, or make a new one.',
      );
    const allowed = PAGE_SCOPES.filter((scope) => allows(token.scopes, scope));
    if (allowed.length === 0)
      return signInPage(http, 403, `The token ${token.name} lacks the scope ${EITHER}, which the pages need.`);
    await setSignedCookie(http, COOKIE, `${token.id}.${Date.now() + SESSION_AGE}`, context.cookieSecret, {
      path: '/',
      httpOnly: true,
      sameSite: 'Strict',
      secure: context.configuration.http.publicUrl?.startsWith('https:') ?? false,
      maxAge: SESSION_AGE / 1_000,
    });
    return http.redirect(allowed.includes('mail:read') ? '/' : '/dmarc', 303);
  });
  app.post('/signout', (http) => {
    refuseCrossSite(http);
    deleteCookie(http, COOKIE, { path: '/' });
    return http.redirect('/signin', 303);
  });
}

/**
 * A form of another site is refused by what the browser says of itself (Fetch Metadata, Origin).
 * @throws PermanentError `request.cross_site`
 */
export function refuseCrossSite(http: Context<HttpEnv>): void {
  const site = http.req.header('sec-fetch-site');
  const origin = http.req.header('origin');
  const ours = origin === undefined || URL.parse(origin)?.host === http.req.header('host');
  if (ours && (site === undefined || site === 'same-origin' || site === 'none')) return;
  throw new PermanentError({
    code: 'request.cross_site',
    message: 'This form was sent from another site.',
    fix: 'Open the page here and send it again.',
  });
}

async function signInPage(http: Context<HttpEnv>, status: 200 | 401 | 403, problem?: string): Promise<Response> {
  const body = html`<div class="head">
      <div>
        <h1>Sign in</h1>
        <p class="sub">This page is open on the machine itself. From elsewhere it asks for a token.</p>
      </div>
    </div>
    <section class="panel">
      <div class="body">
        ${problem ? html`<p role="alert" class="fail">${problem}</p>` : ''}
        <form method="post" action="/signin" class="stack">
          <label for="token">Token with the scope ${EITHER}</label>
          <input id="token" name="token" type="password" autocomplete="current-password" required autofocus />
          <button>Sign in</button>
        </form>
        <p class="quiet">
          The first token lies in the file <code>token</code> of the state folder.
          <code>switchyard tokens add NAME --scope ${PAGE_SCOPES[0]}</code> makes one.
        </p>
      </div>
    </section>`;
  return http.html(page({ title: 'Sign in', body, current: null, bare: true }), status);
}
