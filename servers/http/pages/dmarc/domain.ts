/** A domain: four figures, a picture over time, what to do next, who sends. */
import { html } from 'hono/html';
import { adviseOn } from '../../../../activities/dmarc/advise.ts';
import { hasWeekBefore, NEW_DAYS } from '../../../../activities/dmarc/newcomers.ts';
import { ADVICE_DAYS } from '../../../../protocols/dmarc/advice.ts';
import type { PolicyPublished } from '../../../../protocols/dmarc/aggregate.ts';
import { dayBefore } from '../../../../protocols/dmarc/identity.ts';
import type { Counts, ServiceCounts, SourceCounts, Totals } from '../../../../stores/records/dmarc/queries-port.ts';
import { csvResponse } from '../../csv.ts';
import { dayColumns } from '../../dmarc/columns.ts';
import { rangeBefore, today } from '../../dmarc/range.ts';
import { empty, pager, panel, tile, type Html } from '../layout.ts';
import { ago, number, plural, share, tag } from '../words.ts';
import { advicePanel } from './advice.ts';
import { alignedBar, PAST_REPORTS, POLICY_TONE, serviceName, standingTag } from './parts.ts';
import { sourceTable } from './sources.ts';
import { daysPanel } from './days.ts';
import {
  beforeWords,
  domainPage,
  FIRST_WEEKS,
  LARGEST_FIRST,
  linkTo,
  PAGE,
  rangeWords,
  skipOf,
  type View,
} from './view.ts';

/** New sources that the page has room for; the others are behind the link. */
const NEW_SHOWN = 5;
/** Failing sources that are asked for to say how few make most of it; where it takes more, it is not few. */
const FAILING = 100;
/** So much of what fails is most of it. */
const MOST = 0.8;

export async function domainOverview(view: View): Promise<Html | Response> {
  const { records, domain, range, search } = view;
  const { queries } = records;
  if (search.get('format') === 'csv') return csvResponse(dayColumns, await queries.days(range), `${domain}-days`);
  const since = dayBefore(today(), NEW_DAYS - 1);
  const figures = queries.inOneState(async (of) => {
    const [last] = await of.reports({ domain, limit: 1 });
    if (!last) return null;
    return {
      last,
      totals: await of.totals(range),
      before: await of.days(rangeBefore(range)),
      days: await of.days(range),
      services: await of.services(range),
      failing: await of.countsBySource({ ...range, failing: true, limit: FAILING }),
      fresh: await of.newSources({ domain, since, limit: NEW_SHOWN }),
      freshCount: await of.countNewSources({ domain, since }),
      comparable: await hasWeekBefore(of, domain, since),
      policy: await of.policy(domain),
      tls: await of.tls(range),
    };
  });
  // Of days of its own: it need not wait for them.
  const [answers, { advice }, refused] = await Promise.all([
    figures,
    adviseOn(queries, domain, today()),
    records.quarantine.count({ domain }),
  ]);
  if (!answers) return waiting(view, refused);
  const { last, totals, before, days, services, failing, fresh, freshCount, comparable, policy, tls } = answers;
  const sub = html`<a href="${linkTo(view, 'reports', { kind: 'aggregate' })}">${plural(totals.reports, 'report')}</a>
    from ${plural(totals.organizations, 'receiver')}, ${rangeWords(range)}. Last report ${ago(last.receivedAt)}.`;
  const earlier = before.reduce((sum, { messages }) => sum + messages, 0);
  const body = html`<dl class="tiles">
      ${tile('Messages', number(totals.messages), linkTo(view, 'sources'), changeWords(totals.messages, earlier, beforeWords(range)))}
      ${tile('DMARC pass', share(totals.passed, totals.messages), linkTo(view, 'sources'), `SPF ${share(totals.spf, totals.messages)}, DKIM ${share(totals.dkim, totals.messages)}`)}
      ${tile('Failing', number(totals.messages - totals.passed), linkTo(view, 'sources', { failing: '1' }), concentration(failing, totals))}
      ${policyTile(view, policy?.policy)}
    </dl>
    ${daysPanel(view, days)} ${advicePanel(view, { advice, days: ADVICE_DAYS, last, tls, refused })}
    ${panel(
      'Sending services',
      services.length > 0 ? serviceTable(view, services) : nothingSent(view),
      services.length > 0
        ? html`<a href="${linkTo(view, 'sources')}">${plural(totals.sources, 'address', 'addresses')}</a>`
        : '',
    )}
    ${fresh.length > 0 ? newPanel(view, comparable ? fresh : null, freshCount, since) : ''}`;
  return domainPage(view, {
    tab: 'overview',
    title: domain,
    sub,
    body,
    csv: linkTo(view, 'overview', { format: 'csv' }),
  });
}

/** No report has ever come: what will be here, and how. */
function waiting(view: View, refused: number): Promise<Html> {
  const body = html`${panel(
    'Nothing reported yet',
    empty(
      `What receivers report about mail from ${view.domain} appears here: how much passes, who sends it, and what to do next. Most send a report a day, in the hours after midnight UTC, once the record is published. This prints it again:`,
      `switchyard dmarc add ${view.domain}`,
    ),
    view.address ?? '',
  )}${panel('Reports of the past', html`<div class="body empty">${PAST_REPORTS}</div>`)}${
    refused > 0
      ? html`<p>
          <a href="${linkTo(view, 'quarantine')}">${plural(refused, 'mail or file', 'mails and files')}</a> came to the
          address and could not be taken.
        </p>`
      : ''
  }`;
  return domainPage(view, { tab: 'overview', title: view.domain, sub: 'No report has come yet.', body });
}

function changeWords(now: number, before: number, words: string): string {
  if (before === 0) return `none in ${words}`;
  const change = Math.round((1_000 * (now - before)) / before) / 10;
  return `${change > 0 ? '+' : ''}${number(change)} % on ${words}`;
}

/** `3 sources make 92 % of it`. */
function concentration(failing: Counts[], { messages, passed }: Totals): string {
  const whole = messages - passed;
  if (whole === 0) return 'everything passed';
  let part = 0;
  let count = 0;
  for (const one of failing) {
    part += one.messages - one.passed;
    count += 1;
    if (part >= MOST * whole) break;
  }
  return `${plural(count, 'source')} ${count === 1 ? 'makes' : 'make'} ${share(part, whole)} of it`;
}

function policyTile(view: View, policy: PolicyPublished | undefined): Html {
  const p = policy?.p ?? null;
  const figure = p === null ? 'not known' : tag(POLICY_TONE[p], p);
  const mode = (word: 'r' | 's' | null) => (word === 's' ? 'strict' : 'relaxed');
  const small = policy
    ? [
        `DKIM ${mode(policy.adkim)}, SPF ${mode(policy.aspf)}`,
        ...(policy.sp !== null && policy.sp !== p ? [`subdomains ${policy.sp}`] : []),
        ...(policy.pct !== null && policy.pct < 100 ? [`pct=${policy.pct}`] : []),
        ...(policy.testing === 'y' ? ['only tested (t=y)'] : []),
      ].join(', ')
    : 'no report names one';
  return tile('Policy', figure, linkTo(view, 'what-if'), small);
}

function nothingSent(view: View): Html {
  return html`<div class="body empty">
    <p>No message of ${rangeWords(view.range)} is reported.</p>
    <p><a href="${linkTo({ ...view, period: {} }, 'overview', { days: '365' })}">Look at the last 365 days</a></p>
  </div>`;
}

/** A page of the services: there may be hundreds. */
function serviceTable(view: View, services: ServiceCounts[]): Html {
  const skip = skipOf(view.search, 'services');
  const at = (rows: number) => linkTo(view, 'overview', rows > 0 ? { services: String(rows) } : {});
  const next = skip + PAGE < services.length ? at(skip + PAGE) : null;
  return html`<table class="cards figures" id="services">
      <thead>
        <tr>
          <th>Service</th>
          <th class="n">Messages</th>
          <th class="n">Failing</th>
          <th>Aligned</th>
          <th class="n">Addresses</th>
          <th>Verdict</th>
        </tr>
      </thead>
      <tbody>
        ${services.slice(skip, skip + PAGE).map((one) => {
          const link = (more: Record<string, string> = {}) =>
            linkTo(view, 'sources', { service: one.service, ...more });
          return html`<tr>
            <td class="first"><a class="row" href="${link()}">${serviceName(one.service)}</a></td>
            <td class="n" data-label="messages"><a href="${link()}">${number(one.messages)}</a></td>
            <td class="n" data-label="failing">
              <a href="${link({ failing: '1' })}">${number(one.messages - one.passed)}</a>
            </td>
            <td class="wide">${alignedBar(one)}</td>
            <td class="n" data-label="addresses"><a href="${link()}">${number(one.sources)}</a></td>
            <td class="state">${standingTag(one)}</td>
          </tr>`;
        })}
      </tbody>
    </table>
    ${pager(skip > 0 ? at(0) : null, next, LARGEST_FIRST)}`;
}

/** @param fresh null where nothing can be compared yet */
function newPanel(view: View, fresh: SourceCounts[] | null, count: number, since: string): Html {
  const all = html`<a href="${linkTo(view, 'new')}">${plural(count, 'address', 'addresses')}</a>`;
  const body = fresh ? sourceTable(view, fresh, since) : html`<div class="body empty"><p>${FIRST_WEEKS}</p></div>`;
  return panel('New since last week', body, all);
}
