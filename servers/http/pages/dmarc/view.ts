/** What the pages of a domain have in common: the days they are about, links that keep them, the head with its tabs. */
import { html, raw } from 'hono/html';
import type { DmarcRecords } from '../../../../stores/records/dmarc/port.ts';
import type { Range } from '../../../../stores/records/dmarc/queries-port.ts';
import type { HttpContext } from '../../context.ts';
import { findDomain } from '../../dmarc/find.ts';
import { Day, Days, daysIn, DEFAULT_DAYS, today, toRange } from '../../dmarc/range.ts';
import { head, page, type Html } from '../layout.ts';
import { plural } from '../words.ts';

export const PERIODS = [7, 30, 90, 365] as const;
export const PAGE = 50;

/** How many rows a link leaves out; a mistyped one none. */
export const skipOf = (search: URLSearchParams, name: string): number => {
  const skip = Number(search.get(name));
  return Number.isSafeInteger(skip) && skip > 0 ? skip : 0;
};

export const FIRST_WEEKS =
  'Reports have just begun, so every address is new. Those that are new since last week appear here once there is a week before it to compare with.';

/** Ways through a table whose first rows are the largest. */
export const LARGEST_FIRST = ['Largest', 'Smaller'];

export interface View {
  context: HttpContext;
  records: DmarcRecords;
  domain: string;
  /** Null where only its reports are left. */
  address: string | null;
  search: URLSearchParams;
  range: Range;
  /** How the URL says the range: these parameters stay in every link. */
  period: Record<string, string>;
}

export type Tab = 'overview' | 'sources' | 'new' | 'what-if' | 'reports' | 'tls' | 'failures' | 'quarantine';

const TABS: { tab: Tab; name: string }[] = [
  { tab: 'overview', name: 'Overview' },
  { tab: 'sources', name: 'Sources' },
  { tab: 'new', name: 'New' },
  { tab: 'what-if', name: 'What if' },
  { tab: 'reports', name: 'Reports' },
  { tab: 'tls', name: 'TLS' },
  { tab: 'failures', name: 'Failures' },
  { tab: 'quarantine', name: 'Quarantine' },
];

/** @throws PermanentError `dmarc.domain_missing` */
export async function viewOf(context: HttpContext, given: string, search: URLSearchParams): Promise<View> {
  const records = context.dependencies.records.dmarc;
  const { domain, address } = await findDomain(records, given);
  return { context, records, domain, address, search, ...periodOf(domain, search) };
}

/** A link may be old or mistyped: what is not valid is left out rather than refused. */
function periodOf(domain: string, search: URLSearchParams): Pick<View, 'range' | 'period'> {
  const from = Day.safeParse(search.get('from')).data;
  const to = Day.safeParse(search.get('to')).data;
  if (from !== undefined && to !== undefined && from <= to)
    return { range: { domain, from, to }, period: { from, to } };
  const days = Days.safeParse(search.get('days')).data ?? DEFAULT_DAYS;
  return {
    range: toRange(domain, { days, to: today() }),
    period: days === DEFAULT_DAYS ? {} : { days: String(days) },
  };
}

/** A link to a page of the domain with the same days, and with these parameters. */
export function linkTo({ domain, period }: View, tab: string, parameters: Record<string, string> = {}): string {
  const path = tab === 'overview' ? '' : `/${tab}`;
  const query = new URLSearchParams({ ...period, ...parameters }).toString();
  return `/dmarc/${encodeURIComponent(domain)}${path}${query ? `?${query}` : ''}`;
}

export const reportLink = (id: string): string => `/dmarc/reports/${encodeURIComponent(id)}`;

export const sourceLink = (view: View, source: string, parameters: Record<string, string> = {}): string =>
  linkTo(view, `sources/${encodeURIComponent(source)}`, parameters);

export interface DomainPage {
  tab: Tab;
  title: string;
  sub: string | Html;
  body: Html;
  /** Where the rows are as a file. */
  csv?: string;
  /** Whether the page is about days that can be chosen. */
  dated?: boolean;
}

export async function domainPage(view: View, { tab, title, sub, body, csv, dated = true }: DomainPage): Promise<Html> {
  const form = await filters(view, tab, csv, dated);
  return page({
    title: `${title} · DMARC`,
    body: html`${head(title, sub, form)}${tabs(view, tab)}${body}`,
    current: 'dmarc',
    runs: view.context.addresses.temporalUi,
  });
}

function tabs(view: View, current: Tab): Html {
  return html`<nav class="tabs" aria-label="${view.domain}">
    <ul>
      ${TABS.map(
        ({ tab, name }) =>
          html`<li>
            <a href="${linkTo(view, tab)}" ${raw(tab === current ? ' aria-current="page"' : '')}>${name}</a>
          </li>`,
      )}
    </ul>
  </nav>`;
}

async function filters(view: View, tab: Tab, csv: string | undefined, dated: boolean): Promise<Html> {
  const known = (await view.records.domains.list()).map(({ domain }) => domain);
  const domains = known.includes(view.domain) ? known : [view.domain, ...known];
  const { from, to } = view.range;
  const days = daysIn(view.range);
  const isCustom = 'from' in view.period || !PERIODS.some((one) => one === days);
  const option = (value: string, text: string, chosen: boolean) =>
    chosen ? html`<option value="${value}" selected>${text}</option>` : html`<option value="${value}">${text}</option>`;
  const domain = html`<label
    >Domain<select name="domain">
      ${domains.map((one) => option(one, one, one === view.domain))}
    </select></label
  >`;
  const period = html`<label
    >Period<select name="days">
      ${isCustom ? option(String(days), rangeWords({ from, to }), true) : ''}${PERIODS.map((one) => option(String(one), `last ${one} days`, !isCustom && one === days))}
    </select></label
  >`;
  if (!dated && domains.length === 1 && csv === undefined) return html``;
  return html`<form class="filters" method="get" action="/dmarc">
    ${domains.length > 1 ? domain : html`<input type="hidden" name="domain" value="${view.domain}" />`}${dated ? period : ''}
    <input type="hidden" name="tab" value="${tab}" />
    <button>Show</button>${csv === undefined ? '' : html`<a class="button" href="${csv}">CSV</a>`}
  </form>`;
}

const DAY = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', timeZone: 'UTC' });
const DAY_AND_YEAR = new Intl.DateTimeFormat('en-GB', {
  day: 'numeric',
  month: 'short',
  year: 'numeric',
  timeZone: 'UTC',
});

/** `24 Nov`, with the year where it is another one. Days of reports are days in UTC. */
export function dayWords(day: string): string {
  return (day.slice(0, 4) === today().slice(0, 4) ? DAY : DAY_AND_YEAR).format(new Date(day));
}

/** `26 Oct to 24 Nov`. */
export const rangeWords = ({ from, to }: Pick<Range, 'from' | 'to'>): string =>
  from === to ? dayWords(from) : `${dayWords(from)} to ${dayWords(to)}`;

/** `in the 30 days before`. */
export const beforeWords = (range: Range): string => {
  const days = daysIn(range);
  return days === 1 ? 'the day before' : `the ${plural(days, 'day')} before`;
};
