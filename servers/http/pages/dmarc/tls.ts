/** What senders met when they looked for TLS at the domain's mail hosts (RFC 8460). */
import { html } from 'hono/html';
import type { TlsTotals } from '../../../../stores/records/dmarc/queries-port.ts';
import { panel, tile, type Html } from '../layout.ts';
import { number, plural, share } from '../words.ts';
import { PAST_REPORTS } from './parts.ts';
import { dayWords, domainPage, linkTo, rangeWords, type View } from './view.ts';

export async function tlsPage(view: View): Promise<Html> {
  const { records, domain, range } = view;
  const tls = await records.queries.tls(range);
  const body =
    tls.reports > 0
      ? found(view, tls)
      : panel(
          'TLS reports',
          html`<div class="body empty">
            <p>
              How many senders reached the mail hosts of ${domain} with TLS appears here, and why others did not.
              Senders report it where a record at <code>_smtp._tls.${domain}</code> asks for it. This prints the address
              to write into it:
            </p>
            <p><code>switchyard dmarc add ${domain}</code></p>
            ${PAST_REPORTS}
          </div>`,
        );
  return domainPage(view, {
    tab: 'tls',
    title: `TLS to ${domain}`,
    sub: `${rangeWords(range)}: ${tls.reports === 0 ? 'no TLS report' : plural(tls.reports, 'report')}.`,
    body,
  });
}

function found(view: View, { reports, successful, failed, days, results }: TlsTotals): Html {
  const all = successful + failed;
  const list = linkTo(view, 'reports', { kind: 'tls' });
  const rows = results.map(
    ({ result, sessions, hosts }) =>
      html`<tr>
        <td class="first">${result || html`<span class="quiet">others, of reports with very many kinds</span>`}</td>
        <td class="wide">${hosts.length > 0 ? hosts.join(', ') : html`<span class="quiet">no host named</span>`}</td>
        <td class="n" data-label="sessions"><a href="${list}">${number(sessions)}</a></td>
      </tr>`,
  );
  return html`<dl class="tiles">
      ${tile('Sessions', number(all), list, 'that senders reported')}
      ${tile('With TLS', share(successful, all), list, `${number(successful)} sessions`)}
      ${tile('Failed', number(failed), list, failed === 0 ? 'none' : `${share(failed, all)} of all`)}
      ${tile('Reports', number(reports), list, rangeWords(view.range))}
    </dl>
    ${panel(
      'What failed',
      rows.length > 0
        ? html`<table class="cards figures">
            <thead>
              <tr>
                <th>Kind (RFC 8460, 4.3)</th>
                <th>Receiving hosts</th>
                <th class="n">Sessions</th>
              </tr>
            </thead>
            <tbody>
              ${rows}
            </tbody>
          </table>`
        : html`<div class="body empty"><p>Nothing: every session that was reported had TLS.</p></div>`,
    )}
    ${panel(
      'By day',
      html`<table class="cards figures">
        <thead>
          <tr>
            <th>Day</th>
            <th class="n">With TLS</th>
            <th class="n">Failed</th>
          </tr>
        </thead>
        <tbody>
          ${days.map(({ day, ...one }) => {
            const link = linkTo({ ...view, period: { from: day, to: day } }, 'reports', { kind: 'tls' });
            return html`<tr>
              <td class="first">${dayWords(day)}</td>
              <td class="n" data-label="with TLS"><a href="${link}">${number(one.successful)}</a></td>
              <td class="n" data-label="failed"><a href="${link}">${number(one.failed)}</a></td>
            </tr>`;
          })}
        </tbody>
      </table>`,
    )}`;
}
