/** The first page of reports: every domain, with what needs a look. */
import { html } from 'hono/html';
import { standingOf } from '../../../../protocols/dmarc/advice.ts';
import { dayBefore } from '../../../../protocols/dmarc/identity.ts';
import type { DomainSummary } from '../../../../stores/records/dmarc/queries-port.ts';
import type { HttpContext } from '../../context.ts';
import { DEFAULT_DAYS, today } from '../../dmarc/range.ts';
import { head, page, panel, tile, type Html } from '../layout.ts';
import { ago, number, plural, share } from '../words.ts';
import { alignedBar, PAST_REPORTS, standingTag } from './parts.ts';

export async function dmarcOverview(context: HttpContext): Promise<Html> {
  const records = context.dependencies.records.dmarc;
  const [domains, refused] = await Promise.all([
    records.queries.domains(dayBefore(today(), DEFAULT_DAYS - 1)),
    records.quarantine.count({}),
  ]);
  const body = html`${head('DMARC reports', subOf(domains))} ${domains.length > 0 ? tiles(domains, refused) : ''}
    <div id="domains">
      ${panel(
        'Domains',
        domains.length > 0
          ? domainTable(domains)
          : html`<div class="body empty">
              <p>
                Each domain that has a report address appears here, with what receivers report about its mail. This
                makes an address and prints the record to publish:
              </p>
              <p><code>switchyard dmarc add DOMAIN</code></p>
              ${PAST_REPORTS}
            </div>`,
        domains.length > 0 ? `last ${DEFAULT_DAYS} days` : '',
      )}
    </div>
    ${domains.length > 0 && domains.every(({ lastReportAt }) => lastReportAt === null) ? waiting() : ''}`;
  return page({ title: 'DMARC', body, current: 'dmarc', runs: context.addresses.temporalUi });
}

/** There are domains, and no report about any. */
const waiting = (): Html =>
  panel(
    'While you wait',
    html`<div class="body empty">
      <p>Receivers send a report a day, in the hours after midnight UTC, once the record is published.</p>
      ${PAST_REPORTS}
    </div>`,
  );

function subOf(domains: DomainSummary[]): string {
  if (domains.length === 0) return 'No domain is reported about yet.';
  const last = domains
    .map(({ lastReportAt }) => lastReportAt ?? '')
    .sort()
    .at(-1);
  return `${plural(domains.length, 'domain')}. ${last ? `Last report ${ago(last)}.` : 'No report has come yet.'}`;
}

function tiles(domains: DomainSummary[], refused: number): Html {
  const sum = (figure: (one: DomainSummary) => number) => domains.reduce((total, one) => total + figure(one), 0);
  const messages = sum(({ counts }) => counts.messages);
  const passed = sum(({ counts }) => counts.passed);
  const unwell = domains.filter(({ counts }) => counts.messages > 0 && standingOf(counts) !== 'passes').length;
  return html`<dl class="tiles">
    ${tile('Messages', number(messages), '#domains', `reported in ${DEFAULT_DAYS} days`)}
    ${tile(
      'DMARC pass',
      share(passed, messages),
      '#domains',
      `SPF ${share(
        sum(({ counts }) => counts.spf),
        messages,
      )}, DKIM ${share(
        sum(({ counts }) => counts.dkim),
        messages,
      )}`,
    )}
    ${tile('Failing', number(messages - passed), '#domains', unwell === 0 ? 'no domain with more than 2 %' : `more than 2 % at ${plural(unwell, 'domain')}`)}
    ${tile('Quarantine', number(refused), '/dmarc/quarantine', refused === 0 ? 'everything that came was read' : 'came as reports and were not taken')}
  </dl>`;
}

function domainTable(domains: DomainSummary[]): Html {
  return html`<table class="cards figures">
    <thead>
      <tr>
        <th>Domain</th>
        <th class="n">Messages</th>
        <th class="n">Failing</th>
        <th>Aligned</th>
        <th>Last report</th>
        <th>State</th>
      </tr>
    </thead>
    <tbody>
      ${domains.map(({ domain, address, counts, lastReportAt }) => {
        const path = `/dmarc/${encodeURIComponent(domain)}`;
        const failing = counts.messages - counts.passed;
        return html`<tr>
          <td class="first">
            <a class="row" href="${path}">${domain}</a
            ><span class="quiet">${address ?? 'its address was removed'}</span>
          </td>
          <td class="n" data-label="messages"><a href="${path}/sources">${number(counts.messages)}</a></td>
          <td class="n" data-label="failing"><a href="${path}/sources?failing=1">${number(failing)}</a></td>
          <td class="wide">${counts.messages > 0 ? alignedBar(counts) : ''}</td>
          <td class="quiet wide"><a href="${path}/reports">${lastReportAt ? ago(lastReportAt) : 'none yet'}</a></td>
          <td class="state">
            ${counts.messages > 0 ? standingTag(counts) : html`<span class="tag none">waits for reports</span>`}
          </td>
        </tr>`;
      })}
    </tbody>
  </table>`;
}
