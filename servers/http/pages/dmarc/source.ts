/** One address that mail came from: what is known of it, and every record about it. */
import { html } from 'hono/html';
import { normalizeAddress } from '../../../../protocols/dmarc/address.ts';
import type { RecordCursor, SourceCounts } from '../../../../stores/records/dmarc/queries-port.ts';
import { csvStream } from '../../csv.ts';
import { recordColumns } from '../../dmarc/columns.ts';
import { everyRecord } from '../../dmarc/every.ts';
import { pager, panel, type Html } from '../layout.ts';
import { number, plural, share } from '../words.ts';
import { hostWords, serviceName, standingTag } from './parts.ts';
import { recordTable } from './records.ts';
import { dayWords, domainPage, linkTo, PAGE, rangeWords, sourceLink, type View } from './view.ts';

export async function sourcePage(view: View, given: string): Promise<Html | Response> {
  const { records, domain, range, search } = view;
  const source = normalizeAddress(given) ?? given;
  const failing = search.get('failing') === '1';
  const filter: Record<string, string> = failing ? { failing: '1' } : {};
  const before = cursorOf(search.get('before'));
  if (search.get('format') === 'csv')
    return csvStream(recordColumns, everyRecord(records.queries, { ...range, source, failing }), `${domain}-${source}`);
  const hosts = await records.hosts.find([source]);
  const { items, known } = await records.queries.inOneState(async (of) => ({
    items: await of.records({ ...range, source, failing, before, limit: PAGE }),
    known: (await of.sources({ ...range, source, limit: 1 }))[0],
  }));
  const host = hosts.get(source) ?? { name: null, network: null, country: null };
  const last = items.length === PAGE ? items.at(-1) : undefined;
  const next = last && sourceLink(view, source, { ...filter, before: `${last.reportId}.${last.number}` });
  const table =
    items.length > 0
      ? html`${recordTable(items, 'reports', (one) => sourceLink(view, one))}${pager(before ? sourceLink(view, source, filter) : null, next ?? null)}`
      : html`<div class="body empty">
          <p>No record about ${source}${failing ? ' that failed' : ''} for ${rangeWords(range)}.</p>
          <p><a href="${sourceLink({ ...view, period: { days: '365' } }, source)}">Look at the last 365 days</a></p>
        </div>`;
  const other = failing
    ? html`<a href="${sourceLink(view, source)}">Also what passes</a>`
    : html`<a href="${sourceLink(view, source, { failing: '1' })}">Only what fails</a>`;
  const body = html`${known ? facts(view, known) : ''}${panel(
    failing ? 'Records that failed' : 'Records',
    table,
    html`<span class="links">${other}</span>`,
  )}`;
  return domainPage(view, {
    tab: 'sources',
    title: source,
    sub: html`Sends as <a href="${linkTo(view, 'overview')}">${domain}</a>. ${hostWords(host)}.`,
    body,
    csv: sourceLink(view, source, { ...filter, format: 'csv' }),
  });
}

function cursorOf(text: string | null): RecordCursor | undefined {
  const parts = /^([\w-]{1,64})\.(\d{1,9})$/.exec(text ?? '');
  return parts ? { reportId: parts[1] ?? '', number: Number(parts[2]) } : undefined;
}

function facts(view: View, one: SourceCounts): Html {
  const failed = one.messages - one.passed;
  return panel(
    'In short',
    html`<div class="body">
      <p>
        ${rangeWords(view.range)}: <a href="${sourceLink(view, one.source)}">${plural(one.messages, 'message')}</a>,
        <a href="${sourceLink(view, one.source, { failing: '1' })}">${number(failed)} failed</a>,
        ${share(one.passed, one.messages)} passed (DKIM ${number(one.dkim)}, SPF ${number(one.spf)}). Receivers put
        ${number(one.quarantined)} to spam and refused ${number(one.rejected)}.
      </p>
      <p class="quiet">
        Part of <a href="${linkTo(view, 'sources', { service: one.service })}">${serviceName(one.service)}</a>. First
        seen ${dayWords(one.firstDay)}, last seen ${dayWords(one.lastDay)}.
      </p>
    </div>`,
    standingTag(one),
  );
}
