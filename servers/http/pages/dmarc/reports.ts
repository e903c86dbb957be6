/** Reports about a domain, newest first. */
import { html } from 'hono/html';
import type { DmarcReport, ReportKind } from '../../../../stores/records/dmarc/port.ts';
import { csvStream } from '../../csv.ts';
import { reportColumns } from '../../dmarc/columns.ts';
import { everyReport } from '../../dmarc/every.ts';
import { ReportKind as Kind } from '../../dmarc/schemas.ts';
import { pager, panel, type Html } from '../layout.ts';
import { moment, number, plural, tag } from '../words.ts';
import { PAST_REPORTS } from './parts.ts';
import { dayWords, domainPage, linkTo, PAGE, rangeWords, reportLink, type View } from './view.ts';

export const KIND_WORDS: Record<ReportKind, string> = {
  aggregate: 'aggregate report',
  tls: 'TLS report',
  failure: 'failure report',
};

export async function reportsPage(view: View): Promise<Html | Response> {
  const { records, domain, range, search } = view;
  const kind = Kind.safeParse(search.get('kind')).data;
  const before = search.get('before') ?? undefined;
  if (search.get('format') === 'csv')
    return csvStream(reportColumns, everyReport(records.queries, { ...range, kind }), `${domain}-reports`);
  const items = await records.queries.reports({ ...range, kind, before, limit: PAGE });
  const filter: Record<string, string> = kind === undefined ? {} : { kind };
  const table =
    items.length > 0
      ? reportTable(items)
      : html`<div class="body empty">
          <p>
            No ${kind === undefined ? 'report' : KIND_WORDS[kind]} about ${rangeWords(range)} has come. Each appears
            here once, however often it is sent. This prints the record to publish:
          </p>
          <p><code>switchyard dmarc add ${domain}</code></p>
          ${PAST_REPORTS}
        </div>`;
  const kinds = html`<span class="links"
    >${kind === undefined ? '' : html`<a href="${linkTo(view, 'reports')}">All kinds</a>`}${Kind.options
      .filter((one) => one !== kind)
      .map((one) => html`<a href="${linkTo(view, 'reports', { kind: one })}">${KIND_NAMES[one]}</a>`)}</span
  >`;
  return domainPage(view, {
    tab: 'reports',
    title: `Reports about ${domain}`,
    sub: `${rangeWords(range)}, newest first. ${items.length === 0 ? '' : `${plural(items.length, 'report')} on this page.`}`,
    body: panel(
      kind === undefined ? 'Reports' : KIND_NAMES[kind],
      html`${table}${reportPager(view, items, filter, before)}`,
      kinds,
    ),
    csv: linkTo(view, 'reports', { ...filter, format: 'csv' }),
  });
}

const KIND_NAMES: Record<ReportKind, string> = { aggregate: 'Aggregate', tls: 'TLS', failure: 'Failure' };

function reportPager(
  view: View,
  items: DmarcReport[],
  filter: Record<string, string>,
  before: string | undefined,
): Html | '' {
  const last = items.length === PAGE ? items.at(-1) : undefined;
  return pager(
    before === undefined ? null : linkTo(view, 'reports', filter),
    last ? linkTo(view, 'reports', { ...filter, before: last.id }) : null,
  );
}

export function reportTable(reports: DmarcReport[]): Html {
  return html`<table class="cards figures">
    <thead>
      <tr>
        <th>Reporter</th>
        <th>About</th>
        <th>Came</th>
        <th class="n">Messages</th>
        <th class="n">Failing</th>
        <th>Read</th>
      </tr>
    </thead>
    <tbody>
      ${reports.map(
        (one) =>
          html`<tr>
            <td class="first">
              <a class="row" href="${reportLink(one.id)}">${one.organization ?? 'without a name'}</a
              ><span class="quiet"
                >${KIND_WORDS[one.kind]}${one.policyDomain === one.domain ? '' : `, ${one.policyDomain}`}</span
              >
            </td>
            <td class="when wide">${dayWords(one.day)}</td>
            <td class="quiet when wide">${moment(one.receivedAt)}</td>
            <td class="n" data-label="${one.kind === 'tls' ? 'sessions' : 'messages'}">${number(one.messages)}</td>
            <td class="n" data-label="failing">${number(one.messages - one.passed)}</td>
            <td class="state">
              ${one.warnings.length === 0 ? tag('pass', 'without fault') : tag('warn', plural(one.warnings.length, 'oddity', 'oddities'))}
            </td>
          </tr>`,
      )}
    </tbody>
  </table>`;
}
