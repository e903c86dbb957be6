/** One message for one recipient: envelope, verdicts, deliveries, the run. */
import { html } from 'hono/html';
import { triggerOf } from '../../../activities/triggers/mail-message.ts';
import type { Delivery, MailActivity, Records } from '../../../stores/records/port.ts';
import { PermanentError } from '../../../protocols/errors.ts';
import { runUrl } from '../../temporal.ts';
import type { HttpContext } from '../context.ts';
import { actionWords } from '../rules.ts';
import { empty, factList, head, page, panel, type Html } from './layout.ts';
import { verdictsTable } from './verdicts.ts';
import { bytes, isSent, meaningOf, moment, outcomeTag, plural, reason, senderName, tag, type Tone } from './words.ts';

export async function messagePage(context: HttpContext, id: string): Promise<Html> {
  const { records } = context.dependencies;
  const record = await records.activity.get(id);
  if (!record)
    throw new PermanentError({
      code: 'activity.missing',
      message: 'There is no message with this id.',
      fix: 'Records are kept for a month. The list is at /mail.',
    });
  const deliveries = await named(await records.deliveries.list(record.id), records);
  const run = record.workflowId
    ? runUrl(context.addresses, context.configuration.temporal.namespace, record.workflowId)
    : null;
  const aside = run ? html`<a class="button" href="${run}">Open the run in Temporal</a>` : '';
  const body = html`${head(record.subject || '(no subject)', html`${outcomeTag(record.outcome)} ${meaningOf(record)} ${isSent(record) ? 'Sent' : 'Received'} ${moment(record.receivedAt, 'full')}.`, aside)}
  ${
    record.errorCode || record.reply
      ? panel(
          record.outcome === 'delivered' ? 'Last reply' : 'Why',
          html`<div class="body">
            <p>${reason(record) || record.errorText}</p>
            ${record.errorText && !reason(record).includes(record.errorText) ? html`<p>${record.errorText}</p>` : ''}${record.errorCode ? html`<p class="quiet">Code <code>${record.errorCode}</code></p>` : ''}
          </div>`,
        )
      : ''
  }
  ${panel('Deliveries', deliveries.length > 0 ? deliveriesTable(deliveries) : noDelivery(record), deliveries.length > 0 ? `${plural(record.attempts, 'attempt')}${record.resent ? ', sent again after an unknown outcome' : ''}` : '')}
  ${panel(isSent(record) ? 'Signed' : 'Verified', record.authentication ? verdictsTable(record.authentication) : notVerified(record))}
  ${panel('Envelope', html`<div class="body">${envelope(record)}</div>`)}`;
  return page({ title: record.subject || 'Message', body, current: 'mail', runs: context.addresses.temporalUi });
}

/** A workflow stands among the deliveries under its id, which nobody knows it by. */
async function named(deliveries: Delivery[], { triggers }: Pick<Records, 'triggers'>): Promise<Delivery[]> {
  return Promise.all(
    deliveries.map(async (one) => {
      const id = triggerOf(one.destination);
      if (id === undefined) return one;
      const trigger = await triggers.get(id);
      return { ...one, destination: trigger ? `n8n workflow ${trigger.name}` : 'an n8n workflow' };
    }),
  );
}

function noDelivery(record: MailActivity): Html {
  if (record.outcome === 'accepted' && (record.workflowId || !isSent(record)))
    return empty('The first attempt appears here as soon as the run has begun it.', 'switchyard worker');
  return html`<div class="body empty">
    <p>Nothing was delivered. ${meaningOf(record)}</p>
  </div>`;
}

const STATES: Record<Delivery['state'], { tone: Tone; word: string }> = {
  pending: { tone: 'warn', word: 'to do' },
  committing: { tone: 'warn', word: 'being sent' },
  delivered: { tone: 'pass', word: 'delivered' },
  deferred: { tone: 'warn', word: 'deferred' },
  refused: { tone: 'fail', word: 'refused' },
};

function deliveriesTable(deliveries: Delivery[]): Html {
  return html`<table class="cards">
    <thead>
      <tr>
        <th>Destination</th>
        <th>Host and reply</th>
        <th class="n">Tried</th>
        <th>Last change</th>
        <th>State</th>
      </tr>
    </thead>
    <tbody>
      ${deliveries.map(
        (one) =>
          html`<tr>
            <td class="first">${one.destination}</td>
            <td class="wide">
              ${one.host ?? 'no host reached'}${one.reply ? html`<br /><span class="quiet">${reason({ reply: one.reply, errorText: null })}</span>` : ''}
            </td>
            <td class="n wide">
              ${plural(one.attempts, 'attempt')}${one.resent ? html`<br /><span class="quiet">resent</span>` : ''}
            </td>
            <td class="quiet when wide">${moment(one.updatedAt)}</td>
            <td class="state">${tag(STATES[one.state].tone, STATES[one.state].word)}</td>
          </tr>`,
      )}
    </tbody>
  </table>`;
}

function notVerified(record: MailActivity): Html {
  const words = isSent(record)
    ? html`It was written here, so there was nothing to verify. It leaves with the DKIM signature of
      ${record.sender.slice(record.sender.lastIndexOf('@') + 1)}.`
    : 'It was refused before its content was verified.';
  return html`<div class="body empty"><p>${words}</p></div>`;
}

function origin(record: MailActivity): [string, string | Html][] {
  if (isSent(record)) return [['Came from', html`here, the step <code>mail.send</code>`]];
  return [
    ['Came from', html`<span class="mono">${record.sourceAddress}</span>, HELO ${record.helo}`],
    ['TLS', record.tls ?? 'none, plain text'],
  ];
}

function envelope(record: MailActivity): Html {
  const facts: [string, string | Html][] = [
    ['Sender', html`<a href="/mail?sender=${encodeURIComponent(record.sender)}">${senderName(record.sender)}</a>`],
    ['Recipient', html`<a href="/mail?recipient=${encodeURIComponent(record.recipient)}">${record.recipient}</a>`],
    ['From', record.headerFrom ?? 'no From field read'],
    ['Message-ID', html`<span class="mono">${record.headerMessageId ?? 'none'}</span>`],
    ...origin(record),
    ['What was to happen', record.action === null ? 'nothing, no rule was reached' : actionWords(record.action)],
    [
      'Stored',
      record.blob ? html`${bytes(record.blob.size)}, <span class="mono">${record.blob.key}</span>` : 'not stored',
    ],
    ['Transaction', html`<span class="mono">${record.messageId}</span>`],
    ['Run', record.workflowId ? html`<span class="mono">${record.workflowId}</span>` : 'none was needed'],
    ['Closed', record.closedAt ? moment(record.closedAt, 'full') : 'still open'],
  ];
  return factList(facts);
}
