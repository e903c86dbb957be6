/** One report: what it says of itself, how it came, what was odd, and its records. */
import { html } from 'hono/html';
import type { PolicyPublished } from '../../../../protocols/dmarc/aggregate.ts';
import type { TlsPolicy } from '../../../../protocols/dmarc/tls.ts';
import type { DmarcReport } from '../../../../stores/records/dmarc/port.ts';
import type { TlsBeginning } from '../../../../stores/records/dmarc/queries-port.ts';
import type { HttpContext } from '../../context.ts';
import { csvStream } from '../../csv.ts';
import { tlsFailureColumns } from '../../dmarc/columns.ts';
import { everyTlsFailure } from '../../dmarc/every.ts';
import { findReport } from '../../dmarc/find.ts';
import { factList, head, page, pager, panel, type Html } from '../layout.ts';
import { bytes, moment, number, plural, verdictTags } from '../words.ts';
import { failureFacts } from './failures.ts';
import { recordTable } from './records.ts';
import { KIND_WORDS } from './reports.ts';
import { dayWords, PAGE, reportLink } from './view.ts';

export async function reportPage(context: HttpContext, id: string, search: URLSearchParams): Promise<Html | Response> {
  const records = context.dependencies.records.dmarc;
  const report = await findReport(records, id);
  if (report.kind === 'tls' && search.get('format') === 'csv')
    return csvStream(tlsFailureColumns, everyTlsFailure(records.queries, report.id), `report-${report.id}`);
  const domain = `/dmarc/${encodeURIComponent(report.domain)}`;
  const day = `?from=${report.day}&to=${report.day}`;
  const title = `${report.organization ?? 'A reporter without a name'}, ${dayWords(report.day)}`;
  const body = html`${head(
    title,
    html`${KIND_WORDS[report.kind].replace(/^./, (letter) => letter.toUpperCase())} about
      <a href="${domain}">${report.policyDomain}</a>: ${figures(report)}.`,
    html`${report.kind === 'tls' ? html`<a class="button" href="${tlsFile(report.id)}">CSV</a>` : ''}
      <a class="button" href="${reportLink(report.id)}/raw">Original, ${bytes(report.blob.size)}</a>`,
  )}
  ${await content(context, report, search, (source) => `${domain}/sources/${encodeURIComponent(source)}${day}`)}
  ${report.warnings.length > 0 ? warningsPanel(report) : ''}
  ${panel('The report itself', html`<div class="body">${factList(facts(report))}</div>`)}`;
  return page({ title: `${title} · DMARC`, body, current: 'dmarc', runs: context.addresses.temporalUi });
}

function figures({ kind, messages, passed }: DmarcReport): string {
  if (kind === 'failure') return plural(messages, 'message');
  if (kind === 'tls') return `${plural(messages, 'session')}, ${number(messages - passed)} failed`;
  return `${plural(messages, 'message')}, ${number(messages - passed)} failed DMARC`;
}

async function content(
  context: HttpContext,
  report: DmarcReport,
  search: URLSearchParams,
  sourceHref: (source: string) => string,
): Promise<Html> {
  const { queries } = context.dependencies.records.dmarc;
  if (report.kind === 'tls') return tlsContent(report, await queries.reportTlsBeginning(report.id, SHOWN_TLS));
  if (report.kind === 'failure') {
    const stored = await queries.reportFailure(report.id);
    return stored ? panel('What failed', html`<div class="body">${failureFacts(stored)}</div>`) : html``;
  }
  const after = Math.max(0, Number(search.get('after')) || 0);
  const items = await queries.reportRecords(report.id, after, PAGE);
  const last = items.length === PAGE ? items.at(-1) : undefined;
  const next = last && last.number < report.records ? `${reportLink(report.id)}?after=${last.number}` : null;
  const table =
    items.length > 0
      ? html`${recordTable(items, 'sources', sourceHref)}${pager(after > 0 ? reportLink(report.id) : null, next)}`
      : html`<div class="body empty"><p>The report has no ${after > 0 ? 'more ' : ''}records.</p></div>`;
  return panel('Records', table, plural(report.records, 'record'));
}

function facts(report: DmarcReport): [string, string | Html][] {
  const { details, mail, policy } = report;
  return [
    ['Reporter', [report.organization ?? 'not said', report.email].filter(Boolean).join(', ')],
    ['Its id', html`<span class="mono">${report.reportId ?? 'none'}</span>`],
    ['Interval', html`${moment(iso(report.begin), 'full')} to ${moment(iso(report.end), 'full')}`],
    ...(policy ? [['Policy found', policyWords(policy)] as [string, Html]] : []),
    [
      'Came',
      html`${moment(report.receivedAt, 'full')}${mail ? html` by mail from ${mail.sender || 'the null sender'}` : ''}${wayWords(report)}`,
    ],
    ...(mail?.authentication ? [['The mail itself', verdictTags(mail.authentication)] as [string, Html]] : []),
    ...(details.form ? [['Form', details.form === 'rfc9990' ? 'RFC 9990' : 'RFC 7489'] as [string, string]] : []),
    ...(details.metadata?.generator ? [['Written by', details.metadata.generator] as [string, string]] : []),
    ...(details.metadata?.extraContactInfo
      ? [['More about the reporter', details.metadata.extraContactInfo] as [string, string]]
      : []),
    ...(details.metadata?.errors.length
      ? [['Its own errors', details.metadata.errors.join('; ')] as [string, string]]
      : []),
    [
      'Stored',
      html`${bytes(report.blob.size)}${report.file === null ? '' : html`, file ${report.file}`},
        <span class="mono">${report.blob.key}</span>`,
    ],
  ];
}

/** Of what came by mail its sender says it. */
function wayWords({ details: { way }, mail }: DmarcReport): string {
  if (way === undefined) return mail ? '' : ', not by mail';
  return way === 'mail' && mail ? '' : `, ${WAY_WORDS[way]}`;
}
const WAY_WORDS = { mail: 'by mail', https: 'by HTTPS', import: 'imported', hand: 'given by hand' } as const;

const iso = (seconds: number): string => new Date(seconds * 1_000).toISOString();

function policyWords(policy: PolicyPublished): Html {
  const tags = (['p', 'sp', 'np', 'adkim', 'aspf', 'pct', 'fo'] as const)
    .filter((name) => policy[name] !== null)
    .map((name) => `${name}=${policy[name]}`);
  if (policy.testing === 'y') tags.push('t=y');
  return html`<span class="mono">${tags.join('; ') || 'none'}</span>`;
}

function warningsPanel({ warnings }: DmarcReport): Html {
  return panel(
    'Odd, and taken all the same',
    html`<table class="cards figures">
      <thead>
        <tr>
          <th>What</th>
          <th>Where</th>
          <th>Example</th>
          <th class="n">Times</th>
        </tr>
      </thead>
      <tbody>
        ${warnings.map(
          ({ code, field, count, example }) =>
            html`<tr>
              <td class="first">${code.replaceAll('_', ' ')}</td>
              <td class="wide mono">${field || 'the whole report'}</td>
              <td class="wide">${example ?? ''}</td>
              <td class="n" data-label="times">${number(count)}</td>
            </tr>`,
        )}
      </tbody>
    </table>`,
  );
}

const TLS_TYPES: { [type: string]: string } = {
  sts: 'MTA-STS policy',
  tlsa: 'DANE (TLSA) policy',
  'no-policy-found': 'No policy found',
};

/** A stranger may have sent thousands of either; a person reads no more. */
const SHOWN_TLS = { policies: 100, failures: 200 };

const tlsFile = (id: string): string => `${reportLink(id)}?format=csv`;

function tlsContent({ id }: DmarcReport, { policies, total }: TlsBeginning): Html {
  const shown = policies.reduce((sum, { failures }) => sum + failures.length, 0);
  const left = [
    ...(policies.length < total.policies ? [`${number(policies.length)} of ${number(total.policies)} policies`] : []),
    ...(shown < total.failures ? [`${number(shown)} of ${number(total.failures)} failures`] : []),
  ];
  return html`${policies.map(tlsPanel)}${
    left.length === 0
      ? ''
      : panel(
          'There is more',
          html`<div class="body">
            <p>These are ${left.join(', ')}. <a href="${tlsFile(id)}">All failures as CSV</a></p>
          </div>`,
        )
  }`;
}

function tlsPanel(policy: TlsPolicy): Html {
  const { failures } = policy;
  const body =
    failures.length > 0
      ? html`<table class="cards figures">
          <thead>
            <tr>
              <th>What failed</th>
              <th>Receiving host</th>
              <th>Sender</th>
              <th>In its words</th>
              <th class="n">Sessions</th>
            </tr>
          </thead>
          <tbody>
            ${failures.map(
              (one) =>
                html`<tr>
                  <td class="first">${one.resultType}</td>
                  <td class="wide">
                    ${one.receivingMxHostname ?? 'not said'}${one.receivingIp ? html`<br /><span class="quiet mono">${one.receivingIp}</span>` : ''}
                  </td>
                  <td class="wide mono">${one.sendingMtaIp ?? 'not said'}</td>
                  <td class="wide">${[one.reasonCode, one.additionalInformation].filter(Boolean).join(' ')}</td>
                  <td class="n" data-label="sessions">${number(one.sessions)}</td>
                </tr>`,
            )}
          </tbody>
        </table>`
      : html`<div class="body empty">
          <p>${policy.failed === 0 ? 'Every session had TLS.' : 'No failure of it is shown here.'}</p>
        </div>`;
  return html`${panel(
    `${TLS_TYPES[policy.type] ?? policy.type}: ${policy.domain}`,
    body,
    `${plural(policy.successful, 'session')} with TLS, ${number(policy.failed)} failed`,
  )}`;
}
