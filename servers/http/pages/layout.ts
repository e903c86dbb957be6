/** The frame of every page. Everything is escaped by Hono's `html`; nothing is inline, as the CSP demands. */
import { html, raw } from 'hono/html';
import { ASSETS } from './assets.ts';

export type Html = ReturnType<typeof html>;
export type Section = 'overview' | 'mail' | 'inbox' | 'dmarc' | 'docs';

const NAVIGATION: { section: Section; href: string; name: string }[] = [
  { section: 'overview', href: '/', name: 'Overview' },
  { section: 'mail', href: '/mail', name: 'Mail' },
  { section: 'inbox', href: '/inbox', name: 'Inbox' },
  { section: 'dmarc', href: '/dmarc', name: 'DMARC' },
  { section: 'docs', href: '/docs', name: 'API' },
];

export interface Page {
  title: string;
  body: Html;
  current: Section | null;
  /** Without navigation, for people who may not see the pages. */
  bare?: boolean;
  /** Page of all runs in the Temporal UI. */
  runs?: string | null;
}

export function page({ title, body, current, bare = false, runs = null }: Page): Html {
  const links = NAVIGATION.map(
    ({ section, href, name }) =>
      html`<li><a href="${href}" ${raw(section === current ? ' aria-current="page"' : '')}>${name}</a></li>`,
  );
  const navigation = html`<nav aria-label="Pages">
    <ul>
      ${links}${runs ? html`<li><a href="${runs}">Runs</a></li>` : ''}
    </ul>
  </nav>`;
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>${title} · Switchyard</title>
        <link rel="stylesheet" href="${ASSETS.stylesheet}" />
        <link rel="icon" href="${ASSETS.icon}" type="image/svg+xml" />
        <script src="${ASSETS.script}" defer></script>
      </head>
      <body>
        <a class="skip" href="#main">Skip to content</a>
        <header><a class="brand" href="/">Switchyard</a>${bare ? '' : navigation}</header>
        <main id="main">${body}</main>
      </body>
    </html>`;
}

/** First line of a page: what it is and how fresh. */
export function head(title: string | Html, sub: string | Html, aside: Html | '' = ''): Html {
  return html`<div class="head">
    <div>
      <h1>${title}</h1>
      <p class="sub">${sub}</p>
    </div>
    ${aside}
  </div>`;
}

/** A box with a heading. */
export function panel(title: string, body: Html, note: string | Html = ''): Html {
  return html`<section class="panel">
    <div class="top">
      <h2>${title}</h2>
      ${note ? html`<span class="quiet">${note}</span>` : ''}
    </div>
    ${body}
  </section>`;
}

/** What an empty place says: what will appear here, and the command that makes it appear. */
export function empty(sentence: string, command: string): Html {
  return html`<div class="body empty">
    <p>${sentence}</p>
    <p><code>${command}</code></p>
  </div>`;
}

/** A figure that links to what it counts. A number and its sign stay in one line. */
export function tile(name: string, figure: string | Html, href: string, small: string): Html {
  return html`<div class="tile">
    <dt>${name}</dt>
    <dd><a href="${href}">${figure}</a><small>${small.replaceAll(' %', '\u00a0%')}</small></dd>
  </div>`;
}

export interface Advice {
  what: string;
  why: string | Html;
  command?: string;
  link?: { href: string; text: string };
}

/** What to do, why, and with which command or where. */
export function adviceRow({ what, why, command, link }: Advice): Html {
  return html`<div class="advice">
    <div>
      <strong>${what}</strong>
      <p>${why}${command ? html` <code>${command}</code>` : ''}</p>
    </div>
    ${link ? html`<a href="${link.href}">${link.text}</a>` : ''}
  </div>`;
}

/** Names and values of one thing. */
export function factList(facts: [string, string | Html][]): Html {
  return html`<dl class="facts">
    ${facts.map(
      ([name, value]) =>
        html`<dt>${name}</dt>
          <dd>${value}</dd>`,
    )}
  </dl>`;
}

/** Back to the newest, on to the older, or as the order of the rows is; nothing where there is one page. */
export function pager(first: string | null, next: string | null, words = ['Newest', 'Older']): Html | '' {
  if (first === null && next === null) return '';
  return html`<div class="pager">
    <span>${first === null ? '' : html`<a href="${first}">${words[0]}</a>`}</span
    ><span>${next === null ? '' : html`<a href="${next}">${words[1]}</a>`}</span>
  </div>`;
}
