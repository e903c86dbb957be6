/** Addresses that mail came from: all, those of a service, those that fail, those that are new. */
import { html } from 'hono/html';
import { hasWeekBefore, NEW_DAYS } from '../../../../activities/dmarc/newcomers.ts';
import { dayBefore } from '../../../../protocols/dmarc/identity.ts';
import type { SourceCounts } from '../../../../stores/records/dmarc/queries-port.ts';
import { csvStream } from '../../csv.ts';
import { sourceColumns } from '../../dmarc/columns.ts';
import { Days, today } from '../../dmarc/range.ts';
import { pager, panel, type Html } from '../layout.ts';
import { number, plural } from '../words.ts';
import { alignedBar, hostWords, PAST_REPORTS, serviceName, standingTag } from './parts.ts';
import {
  dayWords,
  domainPage,
  FIRST_WEEKS,
  LARGEST_FIRST,
  linkTo,
  PAGE,
  rangeWords,
  skipOf,
  sourceLink,
  type View,
} from './view.ts';

export async function sourcesPage(view: View): Promise<Html | Response> {
  const { records, domain, range, search } = view;
  const service = search.get('service') ?? undefined;
  const failing = search.get('failing') === '1';
  if (search.get('format') === 'csv')
    return csvStream(sourceColumns, records.queries.everySource({ ...range, service, failing }), `${domain}-sources`);
  const skip = skipOf(search, 'skip');
  const items = await records.queries.sources({ ...range, service, failing, skip, limit: PAGE });
  const filter: Record<string, string> = {
    ...(service === undefined ? {} : { service }),
    ...(failing ? { failing: '1' } : {}),
  };
  const words = [
    ...(failing ? ['with mail that failed'] : []),
    ...(service === undefined ? [] : [`of ${service === '' ? 'no known service' : service}`]),
  ].join(' ');
  const body = panel(
    `Sources${words ? ` ${words}` : ''}`,
    items.length > 0
      ? html`${sourceTable(view, items, (await hasWeekBefore(records.queries, domain, weekAgo())) ? weekAgo() : null, filter)}${pages((more) => linkTo(view, 'sources', { ...filter, ...more }), skip, items)}`
      : noSource(view, words !== ''),
    html`<span class="links"
      >${filterLinks(view, filter)}${words ? html`<a href="${linkTo(view, 'sources')}">Remove the filters</a>` : ''}</span
    >`,
  );
  return domainPage(view, {
    tab: 'sources',
    title: `Sources of ${domain}`,
    sub: `${rangeWords(range)}: ${summary(items, skip)}`,
    body,
    csv: linkTo(view, 'sources', { ...filter, format: 'csv' }),
  });
}

export async function newSourcesPage(view: View): Promise<Html | Response> {
  const { records, domain, search } = view;
  const failing = search.get('failing') === '1';
  const days = Days.safeParse(search.get('new')).data ?? NEW_DAYS;
  const since = dayBefore(today(), days - 1);
  const wanted = { domain, since, failing };
  if (search.get('format') === 'csv')
    return csvStream(sourceColumns, records.queries.everyNewSource(wanted), `${domain}-new-sources`);
  const skip = skipOf(search, 'skip');
  const items = await records.queries.newSources({ ...wanted, skip, limit: PAGE });
  const own = { ...view, period: { from: since, to: today() } };
  const period = { ...(days === NEW_DAYS ? {} : { new: String(days) }) };
  const other = failing
    ? html`<a href="${linkTo(view, 'new', period)}">Show all</a>`
    : html`<a href="${linkTo(view, 'new', { ...period, failing: '1' })}">Only what fails</a>`;
  const body = panel(
    `First seen since ${dayWords(since)}`,
    items.length > 0
      ? html`${sourceTable(own, items, null)}${pages((more) => linkTo(view, 'new', { ...period, ...(failing ? { failing: '1' } : {}), ...more }), skip, items)}`
      : html`<div class="body empty">
          <p>
            No address${failing ? ' with mail that failed' : ''} was seen for the first time since ${dayWords(since)}. A
            service that somebody begins to use appears here on the day after.
          </p>
          <p><a href="${linkTo(view, 'new', { new: '30' })}">Look at the last 30 days</a></p>
        </div>`,
    html`<span class="links">${other}</span>`,
  );
  return domainPage(view, {
    tab: 'new',
    title: `New sources of ${domain}`,
    sub: `Addresses that no report named before ${dayWords(since)}. ${items.length > 0 ? summary(items, skip) : ''}${(await hasWeekBefore(records.queries, domain, since)) ? '' : ` ${FIRST_WEEKS}`}`,
    body,
    csv: linkTo(view, 'new', { ...period, ...(failing ? { failing: '1' } : {}), format: 'csv' }),
    dated: false,
  });
}

const weekAgo = (): string => dayBefore(today(), NEW_DAYS - 1);

/** Ways to the next page, and back to the first. */
function pages(link: (more: Record<string, string>) => string, skip: number, items: SourceCounts[]): Html | '' {
  const next = items.length === PAGE ? link({ skip: String(skip + PAGE) }) : null;
  return pager(skip > 0 ? link({}) : null, next, LARGEST_FIRST);
}

/** Of one page; where there are several, which of them it is. */
function summary(items: SourceCounts[], skip: number): string {
  if (items.length === 0) return 'no address.';
  const messages = items.reduce((sum, one) => sum + one.messages, 0);
  const failed = items.reduce((sum, one) => sum + one.messages - one.passed, 0);
  const words =
    skip > 0
      ? ` These are numbers ${number(skip + 1)} to ${number(skip + items.length)}.`
      : items.length === PAGE
        ? ` These are the ${PAGE} with most of it.`
        : '';
  return `${plural(messages, 'message')} from ${plural(items.length, 'address', 'addresses')}, ${number(failed)} failed.${words}`;
}

function filterLinks(view: View, filter: Record<string, string>): Html {
  const { failing, ...rest } = filter;
  return failing
    ? html`<a href="${linkTo(view, 'sources', rest)}">Also what passes</a>`
    : html`<a href="${linkTo(view, 'sources', { ...rest, failing: '1' })}">Only what fails</a>`;
}

function noSource(view: View, filtered: boolean): Html {
  return html`<div class="body empty">
    <p>
      ${filtered ? 'No source fits these filters' : 'No message is reported'} for ${rangeWords(view.range)}. Each
      address that sends in the name of the domain appears here.${filtered ? '' : ' This prints the record to publish:'}
    </p>
    ${
      filtered
        ? html`<p><a href="${linkTo(view, 'sources')}">Show all sources</a></p>`
        : html`<p><code>switchyard dmarc add ${view.domain}</code></p>
            ${PAST_REPORTS}`
    }
  </div>`;
}

/**
 * @param newSince marks those that were first seen on or after the day
 * @param filter goes on to the records
 */
export function sourceTable(
  view: View,
  sources: SourceCounts[],
  newSince: string | null,
  filter: Record<string, string> = {},
): Html {
  const kept: Record<string, string> = filter.failing ? { failing: filter.failing } : {};
  return html`<table class="cards figures">
    <thead>
      <tr>
        <th>Address</th>
        <th>Service</th>
        <th class="n">Messages</th>
        <th class="n">Failing</th>
        <th>Aligned</th>
        <th>Verdict</th>
      </tr>
    </thead>
    <tbody>
      ${sources.map((one) => {
        const isNew = newSince !== null && one.firstDay >= newSince;
        return html`<tr>
          <td class="first">
            <a class="row mono" href="${sourceLink(view, one.source, kept)}">${one.source}</a
            ><span class="quiet">${hostWords(one)}</span>
          </td>
          <td class="wide">
            <a href="${linkTo(view, 'sources', { service: one.service })}">${serviceName(one.service)}</a
            ><span class="quiet">${isNew ? html`, <strong>new</strong>` : ''}</span>
          </td>
          <td class="n" data-label="messages">
            <a href="${sourceLink(view, one.source)}">${number(one.messages)}</a>
          </td>
          <td class="n" data-label="failing">
            <a href="${sourceLink(view, one.source, { failing: '1' })}">${number(one.messages - one.passed)}</a>
          </td>
          <td class="wide">${alignedBar(one)}${handled(one)}</td>
          <td class="state">${standingTag(one)}</td>
        </tr>`;
      })}
    </tbody>
  </table>`;
}

/** What receivers did with it, where they did anything. */
function handled({ quarantined, rejected }: SourceCounts): Html | '' {
  if (quarantined + rejected === 0) return '';
  const words = [
    ...(quarantined > 0 ? [`${number(quarantined)} to spam`] : []),
    ...(rejected > 0 ? [`${number(rejected)} refused`] : []),
  ];
  return html`<span class="quiet">${words.join(', ')}</span>`;
}
