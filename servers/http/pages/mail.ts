/** The list of mail activity; the filters are the URL. */
import { html } from 'hono/html';
import { z } from 'zod';
import type { MailActivity } from '../../../stores/records/port.ts';
import { activityPage, Outcomes } from '../activity.ts';
import type { HttpContext } from '../context.ts';
import { OUTCOMES, TimeOrAge } from '../schemas.ts';
import { empty, head, page, pager, panel, type Html } from './layout.ts';
import { isSent, moment, OUTCOME_WORDS, outcomeTag, plural, reason, senderName, verdictTags } from './words.ts';

const PAGE = 50;
const PERIODS = [
  ['', 'any time'],
  ['1h', 'the last hour'],
  ['24h', 'the last 24 hours'],
  ['7d', 'the last 7 days'],
] as const;

/** A link may be old or mistyped: what is not valid is left out rather than refused. */
const Filters = z.object({
  outcome: Outcomes.optional().catch(undefined),
  since: TimeOrAge.optional().catch(undefined),
  sender: z.string().max(320).optional().catch(undefined),
  recipient: z.string().max(320).optional().catch(undefined),
  domain: z.string().max(255).optional().catch(undefined),
  before: z.string().max(64).optional().catch(undefined),
});

export async function mailPage(context: HttpContext, search: URLSearchParams): Promise<Html> {
  const given = new URLSearchParams([...search].filter(([, value]) => value.trim() !== ''));
  const { outcome, ...filter } = Filters.parse(Object.fromEntries(given));
  const { items, next } = await activityPage(context.dependencies.records, { ...filter, limit: PAGE }, outcome);
  const filtered = [...given.keys()].some((name) => name !== 'before');
  const sub =
    items.length === 0
      ? 'Nothing matches.'
      : `${plural(items.length, 'message')}${next ? ' on this page, newest first.' : ', newest first.'}`;
  const table =
    items.length > 0
      ? html`${activityTable(items)}${pagerOf(given, next)}`
      : filtered
        ? html`<div class="body empty">
            <p>No message matches these filters.</p>
            <p><a href="/mail">Show all messages</a></p>
          </div>`
        : empty(
            'Every message for every recipient appears here, with what was verified and what became of it. Records are kept for a month.',
            'switchyard send-test',
          );
  const body = html`${head('Messages', filtered || items.length > 0 ? sub : 'No message has come yet.')}
  ${panel('Filter', html`<div class="body">${filterForm(given)}</div>`)}
  ${panel('Messages', table, filtered ? html`<a href="/mail">Remove the filters</a>` : '')}`;
  return page({ title: 'Messages', body, current: 'mail', runs: context.addresses.temporalUi });
}

function filterForm(given: URLSearchParams): Html {
  const outcome = given.get('outcome') ?? '';
  const since = given.get('since') ?? '';
  const option = (value: string, text: string, chosen: string) =>
    value === chosen
      ? html`<option value="${value}" selected>${text}</option>`
      : html`<option value="${value}">${text}</option>`;
  const outcomes: [string, string][] = [
    ['', 'anything'],
    ...OUTCOMES.map((name): [string, string] => [name, OUTCOME_WORDS[name].word]),
    ['refused,bounced,failed', 'not delivered'],
  ];
  // What a link chose stays choosable.
  if (!outcomes.some(([value]) => value === outcome)) outcomes.push([outcome, outcome]);
  const periods: (readonly [string, string])[] = PERIODS.some(([value]) => value === since)
    ? [...PERIODS]
    : [...PERIODS, [since, `since ${since}`]];
  return html`<form class="filters" method="get" action="/mail">
    <label
      >Outcome<select name="outcome">
        ${outcomes.map(([value, text]) => option(value, text, outcome))}
      </select></label
    >
    <label
      >Received<select name="since">
        ${periods.map(([value, text]) => option(value, text, since))}
      </select></label
    >
    <label
      >Sender<input name="sender" value="${given.get('sender') ?? ''}" autocomplete="off" spellcheck="false"
    /></label>
    <label
      >Recipient<input name="recipient" value="${given.get('recipient') ?? ''}" autocomplete="off" spellcheck="false"
    /></label>
    <button>Show</button>
  </form>`;
}

function pagerOf(given: URLSearchParams, next: string | null): Html | '' {
  const link = (before: string | null) => {
    const target = new URLSearchParams(given);
    target.delete('before');
    if (before) target.set('before', before);
    return `/mail?${target.toString()}`;
  };
  return pager(given.has('before') ? link(null) : null, next ? link(next) : null);
}

/** One row a message and recipient. */
export function activityTable(items: MailActivity[]): Html {
  return html`<table class="cards">
    <thead>
      <tr>
        <th>Subject</th>
        <th>Received</th>
        <th>From and to</th>
        <th>Verified</th>
        <th>Outcome</th>
      </tr>
    </thead>
    <tbody>
      ${items.map(
        (one) =>
          html`<tr>
            <td class="first"><a class="row" href="/mail/${one.id}">${one.subject || '(no subject)'}</a></td>
            <td class="quiet when wide">${moment(one.receivedAt)}</td>
            <td class="who wide">
              ${senderName(one.sender)}<br /><span class="quiet">to ${one.recipient}</span>${why(one)}
            </td>
            <td class="wide">${verified(one)}</td>
            <td class="state">${outcomeTag(one.outcome)}</td>
          </tr>`,
      )}
    </tbody>
  </table>`;
}

function verified(one: MailActivity): Html {
  if (one.authentication) return verdictTags(one.authentication);
  return html`<span class="quiet">${isSent(one) ? 'sent from here' : 'not verified'}</span>`;
}

/** What the other side said, where the outcome is bad. */
function why(one: MailActivity): Html | '' {
  const text = reason(one);
  return OUTCOME_WORDS[one.outcome].tone === 'fail' && text ? html`<br /><span class="quiet">${cut(text)}</span>` : '';
}

const CELL = 80;
const cut = (text: string): string => (text.length > CELL ? `${text.slice(0, CELL - 1)}…` : text);
