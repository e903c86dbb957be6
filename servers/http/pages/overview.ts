/** The first page: is anything wrong, and what to do about it. */
import { html } from 'hono/html';
import type { MailActivity } from '../../../stores/records/port.ts';
import type { HttpContext } from '../context.ts';
import { activityPage } from '../activity.ts';
import { countHours, hoursPanel, total } from './chart.ts';
import { adviceRow, empty, head, page, panel, tile, type Advice, type Html } from './layout.ts';
import { activityTable } from './mail.ts';
import type { KeyState, KeyWatch } from './published-keys.ts';
import { ago, number, plural, share } from './words.ts';

const DAY = 86_400_000;
/** Retries come after 1, 5, 15 and 30 minutes: what is older has met a lasting obstacle. */
const OLD = 3_600_000;
const RECENT = 10;
const UNDELIVERED = ['refused', 'bounced', 'failed'] as const;

export async function overviewPage(context: HttpContext, keys: KeyWatch): Promise<Html> {
  const { records } = context.dependencies;
  const now = Date.now();
  const [counts, hours, recent, old, rules, keyStates] = await Promise.all([
    records.activity.count(new Date(now - DAY).toISOString()),
    countHours(records, now),
    activityPage(records, { limit: RECENT }),
    records.activity.openBefore(new Date(now - OLD).toISOString()),
    records.rules.list(),
    keys.look(),
  ]);
  const received = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const delivered = counts.delivered ?? 0;
  const turnedAway = total(counts, ['rejected', 'dropped']);
  const undelivered = total(counts, UNDELIVERED);
  const [last] = recent.items;
  const sub = last ? `The last 24 hours. Last message ${ago(last.receivedAt, now)}.` : 'No message has come yet.';
  const advice = adviceFor({
    failed: counts.failed ?? 0,
    undelivered,
    old,
    keys: keyStates,
    hasRules: rules.some((rule) => rule.enabled),
  });
  const body = html`${head(`Mail at ${context.configuration.hostname}`, sub)}
    <dl class="tiles">
      ${tile('Received', number(received), '/mail?since=24h', turnedAway === 0 ? 'none turned away' : `${number(turnedAway)} turned away or dropped`)}
      ${tile('Delivered', number(delivered), '/mail?since=24h&outcome=delivered', received > turnedAway ? `${share(delivered, received - turnedAway)} of what was let in` : 'nothing let in yet')}
      ${tile('On its way', number(counts.accepted ?? 0), '/mail?since=24h&outcome=accepted', old.length === 0 ? 'none older than an hour' : `${plural(old.length, 'message')} older than an hour`)}
      ${tile('Not delivered', number(undelivered), `/mail?since=24h&outcome=${UNDELIVERED.join(',')}`, undelivered === 0 ? 'none refused or bounced' : `${number(counts.refused ?? 0)} refused, ${number(counts.bounced ?? 0)} bounced, ${number(counts.failed ?? 0)} failed`)}
    </dl>
    ${received > 0 ? hoursPanel(hours) : ''}
    ${panel('What to do next', advice.length > 0 ? html`${advice.map(adviceRow)}` : html`<div class="body empty"><p>Nothing. ${allWell(received, keyStates)}</p></div>`, 'from the records and the DNS')}
    ${panel(
      'Recent messages',
      recent.items.length > 0
        ? activityTable(recent.items)
        : empty(
            'Every message that reaches the SMTP port appears here within a second, with what was verified and what became of it.',
            'switchyard send-test',
          ),
      recent.items.length > 0 ? html`<a href="/mail">All messages</a>` : '',
    )}`;
  return page({ title: 'Overview', body, current: 'overview', runs: context.addresses.temporalUi });
}

function allWell(received: number, keys: KeyState[]): string {
  const mail =
    received === 0
      ? 'There is a rule, and mail may come.'
      : 'Every message that was let in is delivered or on its way.';
  return keys.length > 0 && keys.every(({ state }) => state === 'published') ? `${mail} The keys are published.` : mail;
}

interface Situation {
  failed: number;
  undelivered: number;
  old: MailActivity[];
  keys: KeyState[];
  hasRules: boolean;
}

/** In the order of how much it hurts. */
function adviceFor({ failed, undelivered, old, keys, hasRules }: Situation): Advice[] {
  const advice: Advice[] = [];
  if (failed > 0) {
    advice.push({
      what: `${plural(failed, 'message was', 'messages were')} lost for the sender.`,
      why: 'They could not be delivered and no bounce could be sent. The stored message and the last reply are on its page.',
      link: {
        href: '/mail?since=24h&outcome=failed',
        text: failed === 1 ? 'See the message' : `See the ${number(failed)} messages`,
      },
    });
  }
  const [oldest] = old;
  if (oldest) {
    advice.push({
      what: `${plural(old.length, 'message waits', 'messages wait')} for over an hour.`,
      why: `The oldest came ${ago(oldest.receivedAt)} for ${oldest.recipient}. Attempts go on for five days; the run says what the destination answered.`,
      link: { href: `/mail/${oldest.id}`, text: 'See the oldest' },
    });
  }
  if (undelivered - failed > 0) {
    advice.push({
      what: `${plural(undelivered - failed, 'message was', 'messages were')} refused by the destination.`,
      why: 'The senders were told. If the addresses are right, the reply of the destination says what it dislikes.',
      link: { href: '/mail?since=24h&outcome=refused,bounced', text: 'See the replies' },
    });
  }
  for (const { domain, selector, state } of keys) {
    if (state === 'missing')
      advice.push({
        what: `Make a key for ${domain}.`,
        why: 'Without it nothing that is forwarded for this domain can be signed or sealed.',
        command: `switchyard keys create ${domain}`,
      });
    if (state === 'unpublished')
      advice.push({
        what: `Publish the key of ${domain}.`,
        why: `There is no record at ${selector}._domainkey.${domain}, so receivers cannot check the seals.`,
        command: `switchyard keys records ${domain}`,
      });
    if (state === 'different')
      advice.push({
        what: `The published key of ${domain} is another one.`,
        why: `The record at ${selector}._domainkey.${domain} does not hold the key that signs: every signature fails.`,
        command: `switchyard keys records ${domain}`,
      });
  }
  if (!hasRules) {
    advice.push({
      what: 'Add a rule.',
      why: 'No address is known yet, so every recipient is refused.',
      command: 'switchyard rules add alice@example.com --forward alice@example.net',
    });
  }
  return advice;
}
