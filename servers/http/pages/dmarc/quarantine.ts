/** What came as a report and was not taken: why, from whom, and the original. */
import { html } from 'hono/html';
import { dmarcFix } from '../../../../protocols/dmarc/errors.ts';
import type { Authentication } from '../../../../protocols/mail/authentication.ts';
import type { Quarantined } from '../../../../stores/records/dmarc/port.ts';
import type { IngestDmarcReportResult } from '../../../../workflows/dmarc/contract.ts';
import type { HttpContext } from '../../context.ts';
import { findDomain, findQuarantined } from '../../dmarc/find.ts';
import { readingOf } from '../../dmarc/read-again.ts';
import { factList, head, page, pager, panel, type Html } from '../layout.ts';
import { bytes, moment, number, plural, tag, verdictTags, type Tone } from '../words.ts';
import { PAST_REPORTS } from './parts.ts';
import { dayWords, domainPage, linkTo, PAGE, reportLink, type View } from './view.ts';

const EMPTY = html`<div class="body empty">
  <p>
    Nothing. What comes to a report address and is no report, or one that no honest reporter would send, appears here
    with its original and the reason; so does what an import refuses. This gives a domain a report address:
  </p>
  <p><code>switchyard dmarc add DOMAIN</code></p>
  ${PAST_REPORTS}
</div>`;

/** Of every domain. */
export async function quarantinePage(context: HttpContext, search: URLSearchParams): Promise<Html> {
  const before = search.get('before') ?? undefined;
  const { quarantine } = context.dependencies.records.dmarc;
  const [items, count] = await Promise.all([quarantine.list({ before, limit: PAGE }), quarantine.count({})]);
  const body = html`${head('Quarantine', subOf(count))}${panel('Not taken', listOf(items, '/dmarc/quarantine', before, new URLSearchParams()))}`;
  return page({ title: 'Quarantine · DMARC', body, current: 'dmarc', runs: context.addresses.temporalUi });
}

/** Of one domain. */
export async function domainQuarantine(view: View): Promise<Html> {
  const { records, domain, search } = view;
  const before = search.get('before') ?? undefined;
  const [items, count] = await Promise.all([
    records.quarantine.list({ domain, before, limit: PAGE }),
    records.quarantine.count({ domain }),
  ]);
  return domainPage(view, {
    tab: 'quarantine',
    title: `Quarantine of ${domain}`,
    sub: subOf(count),
    body: panel(
      'Not taken',
      listOf(items, linkTo({ ...view, period: {} }, 'quarantine'), before, new URLSearchParams(view.period)),
      html`<a href="/dmarc/quarantine">Of all domains</a>`,
    ),
    dated: false,
  });
}

const subOf = (count: number): string =>
  count === 0
    ? 'Everything that came was read.'
    : `${plural(count, 'thing', 'things')} came as reports and ${count === 1 ? 'was' : 'were'} not taken, newest first.`;

function listOf(items: Quarantined[], path: string, before: string | undefined, kept: URLSearchParams): Html {
  if (items.length === 0) return EMPTY;
  const last = items.length === PAGE ? items.at(-1) : undefined;
  const link = (more: Record<string, string>) => {
    const query = new URLSearchParams([...kept, ...Object.entries(more)]).toString();
    return query ? `${path}?${query}` : path;
  };
  return html`<table class="cards figures">
      <thead>
        <tr>
          <th>Why</th>
          <th>From and to</th>
          <th>Came</th>
          <th class="n">Size</th>
        </tr>
      </thead>
      <tbody>
        ${items.map(
          (one) =>
            html`<tr>
              <td class="first">
                <a class="row" href="/dmarc/quarantine/${one.id}">${one.message}</a
                ><span class="quiet mono">${one.code}</span>
              </td>
              <td class="wide">
                ${senderOf(one)}<br /><span class="quiet"
                  >${one.address ? `to ${one.address}` : (one.domain ?? 'of no domain')}</span
                >${one.mail?.authentication ? verdictTags(one.mail.authentication) : ''}
              </td>
              <td class="quiet when wide">${moment(one.receivedAt)}</td>
              <td class="n" data-label="size">${bytes(one.blob.size)}</td>
            </tr>`,
        )}
      </tbody>
    </table>
    ${pager(before === undefined ? null : link({}), last ? link({ before: last.id }) : null)}`;
}

/** What came to no address was imported; the rest without a mail came by HTTPS, or somebody gave it to a run. */
function senderOf({ sender, mail, domain }: Quarantined): string {
  if (mail !== null || sender !== null) return sender || 'the null sender';
  return domain === null ? 'imported' : 'not by mail';
}

/** What was found out about the mail: of one without a policy it is SPF and DKIM that say whose it is. */
function authenticationOf(authentication: Authentication): Html {
  const { spf, dkim } = authentication;
  const signed = dkim.map(({ result, domain }) => `DKIM ${result} of ${domain}`);
  const words = [`SPF ${spf.result} of ${spf.domain}`, ...(signed.length > 0 ? signed : ['no DKIM signature'])];
  return html`${verdictTags(authentication)} <span class="quiet">${words.join(', ')}</span>`;
}

export async function quarantinedPage(context: HttpContext, id: string): Promise<Html> {
  const { dmarc } = context.dependencies.records;
  const entry = await findQuarantined(dmarc, id);
  const { mail, domain } = entry;
  const known = domain === null ? undefined : await findDomain(dmarc, domain).catch(() => undefined);
  const domains = (await dmarc.domains.list()).map((one) => one.domain);
  const facts: [string, string | Html][] = [
    ['Code', html`<code>${entry.code}</code>`],
    ['Came', moment(entry.receivedAt, 'full')],
    ['From', senderOf(entry)],
    ...(mail?.headerFrom ? [['From field', mail.headerFrom] as [string, string]] : []),
    ...(mail?.authentication ? [['The mail itself', authenticationOf(mail.authentication)] as [string, Html]] : []),
    ...(mail?.activityId
      ? [['Message', html`<a href="/mail/${mail.activityId}">its record</a>`] as [string, Html]]
      : []),
    ['To', entry.address ?? 'no address'],
    [
      'Domain',
      known ? html`<a href="/dmarc/${encodeURIComponent(known.domain)}">${known.domain}</a>` : (domain ?? 'none'),
    ],
    ['File', entry.file ?? 'without a name'],
    ['Kept until', moment(entry.expiresAt, 'full')],
    ['Stored', html`${bytes(entry.blob.size)}, <span class="mono">${entry.blob.key}</span>`],
  ];
  const body = html`${head(
    'Not taken',
    html`${entry.message}`,
    html`<a class="button" href="/dmarc/quarantine/${entry.id}/raw">Original, ${bytes(entry.blob.size)}</a>`,
  )}
  ${panel('What it is', html`<div class="body">${factList(facts)}</div>`)}
  ${panel(
    'What to do',
    html`<div class="body">
      <p>${dmarcFix(entry.code) ?? 'It counts for nothing, and nothing has to be done.'}</p>
      <p class="quiet">The original may be hostile: do not open it with a program that would run what is in it.</p>
      ${readForm(entry, domains)}
      <form method="post" action="/dmarc/quarantine/${entry.id}/remove" class="act">
        <button>Remove it now</button>
        <span class="quiet">With its original, for good.</span>
      </form>
    </div>`,
  )}`;
  return page({ title: 'Not taken · DMARC', body, current: 'dmarc', runs: context.addresses.temporalUi });
}

/** Asks which domain it is about where there is a choice: it may have come to the address of another one. */
function readForm({ id, domain }: Quarantined, domains: string[]): Html | '' {
  if (domains.length === 0) return '';
  const options = domains.map((one) =>
    one === domain
      ? html`<option value="${one}" selected>${one}</option>`
      : html`<option value="${one}">${one}</option>`,
  );
  const choice =
    domains.length === 1
      ? html`<input type="hidden" name="domain" value="${domains[0]}" />`
      : html`<label
          >As a report about
          <select name="domain">
            ${options}
          </select></label
        >`;
  return html`<form method="post" action="/dmarc/quarantine/${id}/read" class="act">
    ${choice}<button>Read it again</button>
    <span class="quiet">What is published leaves quarantine; what is refused again stays, with its reason of now.</span>
  </form>`;
}

/** What came of reading it again; its URL stays when the entry is gone. */
export async function readAgainPage(context: HttpContext, id: string, caller: AbortSignal): Promise<Html> {
  const { run, result } = await readingOf(context, id, PAGE_WAIT, caller);
  const aside = run.url ? html`<a class="button" href="${run.url}">Open the run in Temporal</a>` : '';
  const body = result
    ? html`${head('Read again', subOfResult(result), aside)}${panel(
        'What came of it',
        resultTable(result),
        html`<span class="links"
          ><a href="/dmarc/${encodeURIComponent(result.domain)}">${result.domain}</a
          ><a href="/dmarc/quarantine">What is in quarantine</a></span
        >`,
      )}`
    : html`${head('Read again', 'It is being read.', aside)}${panel(
        'Not over yet',
        html`<div class="body empty">
          <p>What comes of it appears here. Nothing comes while no worker runs; this starts one with all the rest:</p>
          <p><code>switchyard up</code></p>
          <p><a href="/dmarc/quarantine/${id}/read">Look again</a></p>
        </div>`,
      )}`;
  return page({ title: 'Read again · DMARC', body, current: 'dmarc', runs: context.addresses.temporalUi });
}

/** ms that the page waits for the end of the run: a report takes one or two seconds. */
const PAGE_WAIT = 10_000;

function subOfResult({ outcome, published, repeated, refused, domain }: IngestDmarcReportResult): string {
  const words = [
    ...(published > 0 ? [`${number(published)} published`] : []),
    ...(repeated > 0 ? [`${number(repeated)} known before`] : []),
    ...(refused > 0 ? [`${number(refused)} refused again`] : []),
  ].join(', ');
  const end = outcome === 'quarantined' ? 'What was refused is in quarantine.' : 'It has left quarantine.';
  return `Reports about ${domain}: ${words}. ${end}`;
}

const CAME: Record<IngestDmarcReportResult['reports'][number]['state'], { tone: Tone; word: string }> = {
  published: { tone: 'pass', word: 'published' },
  repeated: { tone: 'none', word: 'counted before' },
  refused: { tone: 'fail', word: 'refused again' },
};

function resultTable({ reports }: IngestDmarcReportResult): Html {
  return html`<table class="cards figures">
    <thead>
      <tr>
        <th>What</th>
        <th>Reporter</th>
        <th>About</th>
        <th class="n">Messages</th>
        <th>State</th>
      </tr>
    </thead>
    <tbody>
      ${reports.map((one) => {
        const { tone, word } = CAME[one.state];
        const name = [one.name, one.file].filter((part) => part !== null).join(': ') || 'without a name';
        const href = one.state === 'refused' ? `/dmarc/quarantine/${one.id}` : reportLink(one.id ?? '');
        return html`<tr>
          <td class="first">
            ${one.id === null ? name : html`<a class="row" href="${href}">${name}</a>`}${
              one.message === null ? '' : html`<span class="quiet">${one.message}</span>`
            }
          </td>
          <td class="wide">${one.organization ?? html`<span class="quiet">not read</span>`}</td>
          <td class="when wide">${one.day === null ? '' : dayWords(one.day)}</td>
          <td class="n" data-label="messages">${one.state === 'refused' ? '' : number(one.messages)}</td>
          <td class="state">${tag(tone, word)}</td>
        </tr>`;
      })}
    </tbody>
  </table>`;
}
