/** Failure reports: single messages that failed, as receivers describe them (RFC 9991). */
import { html } from 'hono/html';
import type { StoredFailure } from '../../../../stores/records/dmarc/queries-port.ts';
import { mailtoUri } from '../../../../protocols/mail/dns-record.ts';
import { factList, pager, panel, type Html } from '../layout.ts';
import { moment, number, plural, tag } from '../words.ts';
import { PAST_REPORTS } from './parts.ts';
import { domainPage, linkTo, PAGE, reportLink, type View } from './view.ts';

export async function failuresPage(view: View): Promise<Html> {
  const { records, domain, search } = view;
  const before = search.get('before') ?? undefined;
  const items = await records.queries.failures({ domain, before, limit: PAGE });
  const last = items.length === PAGE ? items.at(-1) : undefined;
  const table =
    items.length > 0
      ? html`${failureTable(items)}${pager(before === undefined ? null : linkTo(view, 'failures'), last ? linkTo(view, 'failures', { before: last.reportId }) : null)}`
      : html`<div class="body empty">
          <p>
            Single messages that failed appear here, where a receiver describes them. Few do, since such a report tells
            about people's mail. The DMARC record asks for them with <code>ruf=</code>, which Switchyard does not
            publish for you. ${ask(view)}
          </p>
          ${PAST_REPORTS}
        </div>`;
  return domainPage(view, {
    tab: 'failures',
    title: `Failures of ${domain}`,
    sub:
      items.length === 0
        ? 'No failure report has come.'
        : `${plural(items.length, 'failure report')} on this page, newest first.`,
    body: panel('Failure reports', table),
    dated: false,
  });
}

/** What to add to the record; other domains than that of the address have to agree, and for rua they do already. */
const ask = ({ address }: View): Html | string =>
  address === null
    ? 'The domain has no report address any more that it could name.'
    : html`To ask for them, add <code>ruf=${mailtoUri(address)}</code> to it.`;

function failureTable(items: StoredFailure[]): Html {
  return html`<table class="cards figures">
    <thead>
      <tr>
        <th>Source</th>
        <th>From and to</th>
        <th>Failed</th>
        <th>Came</th>
        <th class="n">Messages</th>
        <th>What was done</th>
      </tr>
    </thead>
    <tbody>
      ${items.map(
        ({ reportId, receivedAt, organization, failure }) =>
          html`<tr>
            <td class="first">
              <a class="row mono" href="${reportLink(reportId)}">${failure.sourceIp ?? 'not said'}</a
              ><span class="quiet">${organization ?? failure.reporter.mta ?? 'reporter without a name'}</span>
            </td>
            <td class="wide">
              ${failure.mailFrom ?? 'not said'}<br /><span class="quiet"
                >to ${failure.rcptTo.join(', ') || 'not said'}</span
              >
            </td>
            <td class="wide">${failure.authFailure.join(', ') || 'not said'}</td>
            <td class="quiet when wide">${moment(receivedAt)}</td>
            <td class="n" data-label="messages">${number(failure.incidents)}</td>
            <td class="state">${tag('none', failure.deliveryResult ?? 'not said')}</td>
          </tr>`,
      )}
    </tbody>
  </table>`;
}

/** Everything that one of them says. */
export function failureFacts({ failure }: StoredFailure): Html {
  const text = (value: string | null) => value ?? 'not said';
  const mono = (value: string | null) => html`<span class="mono">${text(value)}</span>`;
  return factList([
    ['Failed', failure.authFailure.join(', ') || 'not said'],
    ['Aligned', failure.identityAlignment.join(', ') || 'none'],
    ['Came from', mono(failure.sourceIp)],
    ['Envelope sender', text(failure.mailFrom)],
    ['Recipients', failure.rcptTo.join(', ') || 'not said'],
    [
      'Arrived',
      failure.arrivedAt === null ? 'not said' : moment(new Date(failure.arrivedAt * 1_000).toISOString(), 'full'),
    ],
    ['What was done', text(failure.deliveryResult)],
    [
      'DKIM',
      [failure.dkim.domain, failure.dkim.selector, failure.dkim.identity].filter(Boolean).join(', ') || 'not said',
    ],
    ['SPF records', failure.spfRecords.join('; ') || 'not said'],
    ['Verified as', mono(failure.authenticationResults.join('; ') || null)],
    ['Stands for', plural(failure.incidents, 'message')],
    ['Written by', [failure.reporter.mta, failure.reporter.userAgent].filter(Boolean).join(', ') || 'not said'],
  ]);
}
