/** What to do next, in words: the policy first, then what else is not as it should be. */
import { html } from 'hono/html';
import type { Advice } from '../../../../protocols/dmarc/advice.ts';
import type { DmarcReport } from '../../../../stores/records/dmarc/port.ts';
import type { TlsTotals } from '../../../../stores/records/dmarc/queries-port.ts';
import { adviceRow, panel, type Html } from '../layout.ts';
import { ago, number, plural, share } from '../words.ts';
import { linkTo, sourceLink, type View } from './view.ts';

/** Receivers report daily: after two days without any, something is wrong with the record or the address. */
const SILENT = 2 * 86_400_000;

export interface Situation {
  advice: Advice;
  /** Days of reports that the advice is from. */
  days: number;
  last: DmarcReport;
  tls: TlsTotals;
  /** In quarantine. */
  refused: number;
}

export function advicePanel(view: View, { advice, days, last, tls, refused }: Situation): Html {
  const rows = [policyRow(view, advice)];
  if (Date.now() - Date.parse(last.receivedAt) > SILENT && view.address !== null)
    rows.push(
      adviceRow({
        what: 'Reports have stopped coming.',
        why: `The last one came ${ago(last.receivedAt)}, and receivers send them daily. Compare the published record with what this prints:`,
        command: `switchyard dmarc add ${view.domain}`,
      }),
    );
  if (tls.failed > 0)
    rows.push(
      adviceRow({
        what: 'Senders could not use TLS every time.',
        why: `TLS failed in ${number(tls.failed)} of ${plural(tls.failed + tls.successful, 'session')} (${share(tls.failed, tls.failed + tls.successful)}), so mail to the domain may have been held up.`,
        link: { href: linkTo(view, 'tls'), text: 'See which' },
      }),
    );
  if (refused > 0)
    rows.push(
      adviceRow({
        what: `${plural(refused, 'thing', 'things')} came as reports and ${refused === 1 ? 'was' : 'were'} not taken.`,
        why: 'Each is kept with its original and the reason, until its time is over or you remove it.',
        link: { href: linkTo(view, 'quarantine'), text: 'See the quarantine' },
      }),
    );
  return panel('What to do next', html`${rows}`, `policy: from ${days} days of reports`);
}

export function policyRow(view: View, advice: Advice): Html {
  const { title, reasons, senders } = advice;
  const [sender] = senders;
  const hit = sender && { ...sender, href: senderLink(view, sender) };
  return html`<div class="advice">
    <div>
      <strong>${title}</strong>
      ${reasons.map((reason) => html`<p>${reason}</p>`)}${howTo(view, advice)}
    </div>
    ${
      hit
        ? html`<a href="${hit.href}">See the failing mail of ${hit.name}</a>`
        : html`<a href="${linkTo(view, 'what-if')}">See who would be hit</a>`
    }
  </div>`;
}

export const senderLink = (view: View, { kind, name }: Advice['senders'][number]): string =>
  kind === 'service'
    ? linkTo(view, 'sources', { service: name, failing: '1' })
    : sourceLink(view, name, { failing: '1' });

/** Where the change is made, once it is to be made. */
function howTo({ domain }: View, { step, current, next }: Advice): Html | '' {
  if (step !== 'raise' || current === next) return '';
  return html`<p>
    In the TXT record at <code>_dmarc.${domain}</code> write <code>p=${next}</code>${
      current === null
        ? ''
        : html` instead of
            <code>p=${current}</code>`
    }.
  </p>`;
}
