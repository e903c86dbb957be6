/** Who would have been hit by a stricter policy, over the mail that was reported. */
import { html } from 'hono/html';
import { adviseOn } from '../../../../activities/dmarc/advise.ts';
import { ADVICE_DAYS } from '../../../../protocols/dmarc/advice.ts';
import type { Counts, WhatIf } from '../../../../stores/records/dmarc/queries-port.ts';
import { csvResponse } from '../../csv.ts';
import { whatIfColumns, whatIfRows } from '../../dmarc/columns.ts';
import { today } from '../../dmarc/range.ts';
import { pager, panel, type Html } from '../layout.ts';
import { number, plural, share } from '../words.ts';
import { policyRow } from './advice.ts';
import { serviceName, standingTag } from './parts.ts';
import { domainPage, LARGEST_FIRST, linkTo, PAGE, rangeWords, skipOf, type View } from './view.ts';

export async function whatIfPage(view: View): Promise<Html | Response> {
  const { records, domain, range, search } = view;
  const { queries } = records;
  const figures = queries.inOneState(async (of) => ({
    whatIf: await of.whatIf(range),
    services: await of.countsByService(range),
    policy: await of.policy(domain),
  }));
  const [{ whatIf, services, policy }, { advice }] = await Promise.all([figures, adviseOn(queries, domain, today())]);
  if (search.get('format') === 'csv') return csvResponse(whatIfColumns, whatIfRows(whatIf), `${domain}-what-if`);
  const now = policy?.policy.p ?? null;
  const body = html`${panel('What to do next', policyRow(view, advice), `from ${ADVICE_DAYS} days of reports`)}
  ${policyPanel(view, 'quarantine', 'would have gone to spam', whatIf, services)}
  ${policyPanel(view, 'reject', 'would have been refused', whatIf, services)}`;
  return domainPage(view, {
    tab: 'what-if',
    title: `What if ${domain} were stricter`,
    sub: `${rangeWords(range)}: of ${plural(whatIf.messages, 'message')} ${number(whatIf.passed)} passed, and no policy touches those. ${apartWords(whatIf.apart, policy?.policy.sp ?? null)}${now === null ? 'No report names the present policy.' : `The policy now is p=${now}.`}`,
    body,
    csv: linkTo(view, 'what-if', { format: 'csv' }),
  });
}

function apartWords(apart: number, sp: string | null): string {
  if (apart === 0) return '';
  return `${plural(apart, 'message')} in the names of subdomains failed and ${apart === 1 ? 'is' : 'are'} not counted below: ${sp === null ? 'a record of their own' : `sp=${sp}, or a record of their own,`} rules them. `;
}

function policyPanel(
  view: View,
  policy: 'quarantine' | 'reject',
  words: string,
  whatIf: WhatIf,
  services: (Counts & { service: string })[],
): Html {
  const { hit, services: rows } = whatIf[policy];
  const failed = whatIf.messages - whatIf.passed;
  const skip = skipOf(view.search, policy);
  const at = (left: number) => linkTo(view, 'what-if', left > 0 ? { [policy]: String(left) } : {});
  const next = skip + PAGE < rows.length ? at(skip + PAGE) : null;
  const body =
    rows.length > 0
      ? html`<table class="cards figures">
            <thead>
              <tr>
                <th>Service</th>
                <th class="n">Hit</th>
                <th class="n">Of these excepted</th>
                <th class="n">Of its mail</th>
                <th>Verdict</th>
              </tr>
            </thead>
            <tbody>
              ${rows.slice(skip, skip + PAGE).map(({ service, hit: part, exempt }) => {
                const link = linkTo(view, 'sources', { service, failing: '1' });
                const counts = services.find((one) => one.service === service);
                return html`<tr>
                  <td class="first"><a class="row" href="${link}">${serviceName(service)}</a></td>
                  <td class="n" data-label="hit"><a href="${link}">${number(part)}</a></td>
                  <td class="n" data-label="excepted"><a href="${link}">${number(exempt)}</a></td>
                  <td class="n" data-label="of its mail">${share(part, counts?.messages ?? part)}</td>
                  <td class="state">${counts ? standingTag(counts) : ''}</td>
                </tr>`;
              })}
            </tbody>
          </table>
          ${pager(skip > 0 ? at(0) : null, next, LARGEST_FIRST)}`
      : html`<div class="body empty">
          <p>
            ${
              failed === 0
                ? 'Nothing failed, so nobody would have been hit.'
                : whatIf.failed.hit === 0
                  ? 'Nothing failed that p rules, so nobody would have been hit.'
                  : 'All that failed and that p rules was already treated like this.'
            }
          </p>
        </div>`;
  const note =
    rows.length === 0
      ? ''
      : html`<a href="${linkTo(view, 'sources', { failing: '1' })}">${plural(hit, 'message')}</a> ${words}`;
  return html`${panel(`Under p=${policy}`, body, note)}`;
}
