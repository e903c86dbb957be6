/** Numbers, times and states as people read them. */
import { html } from 'hono/html';
import { decimal, number, plural, share } from '../../../protocols/figures.ts';
import { LOCAL_SOURCE, type Authentication, type MailActivity, type Outcome } from '../../../stores/records/port.ts';
import type { Html } from './layout.ts';

export { number, plural, share };

/** Colour of a state; a word always stands beside it. */
export type Tone = 'pass' | 'warn' | 'fail' | 'none';

const SHORT: Intl.DateTimeFormatOptions = {
  day: 'numeric',
  month: 'short',
  hour: '2-digit',
  minute: '2-digit',
  timeZone: 'UTC',
};
const timeFormat = (options: Intl.DateTimeFormatOptions) => ({
  thisYear: new Intl.DateTimeFormat('en-GB', options),
  other: new Intl.DateTimeFormat('en-GB', { ...options, year: 'numeric' }),
});
const FORMATS = { short: timeFormat(SHORT), full: timeFormat({ ...SHORT, second: '2-digit' }) };

/** `4.2 KB`; units of 1,000 as disks and networks count. */
export function bytes(size: number): string {
  if (size < 1_000) return plural(size, 'byte');
  const power = Math.min(Math.floor(Math.log10(size) / 3), 3);
  return `${decimal(size / 1_000 ** power)} ${['', 'KB', 'MB', 'GB'][power]}`;
}

/** `2 h ago`. */
export function ago(time: string, now = Date.now()): string {
  const seconds = Math.max(0, (now - Date.parse(time)) / 1_000);
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h ago`;
  return `${plural(Math.floor(seconds / 86_400), 'day')} ago`;
}

/** A time in UTC, with the year where it is another one; the script turns it into the reader's zone. */
export function moment(time: string, format: 'full' | 'short' = 'short'): Html {
  const date = new Date(time);
  const isThisYear = date.getUTCFullYear() === new Date().getUTCFullYear();
  const text = FORMATS[format][isThisYear ? 'thisYear' : 'other'].format(date);
  return html`<time datetime="${time}" data-format="${format}">${text} UTC</time>`;
}

export interface OutcomeWords {
  tone: Tone;
  word: string;
  /** What it means for the message. */
  meaning: string;
}

export const OUTCOME_WORDS: Record<Outcome, OutcomeWords> = {
  accepted: { tone: 'warn', word: 'on its way', meaning: 'Accepted; its run is still delivering it.' },
  delivered: { tone: 'pass', word: 'delivered', meaning: 'Every destination took it.' },
  dropped: { tone: 'none', word: 'dropped', meaning: 'A rule says to drop it.' },
  rejected: {
    tone: 'none',
    word: 'turned away',
    meaning: 'Refused here, in the session: by policy, or by an n8n workflow.',
  },
  refused: {
    tone: 'fail',
    word: 'refused',
    meaning: 'The destination refused it; the sender was told in the session.',
  },
  bounced: { tone: 'fail', word: 'bounced', meaning: 'It could not be delivered; the sender got a bounce.' },
  failed: { tone: 'fail', word: 'failed', meaning: 'It could not be delivered and no bounce was owed or possible.' },
};

/** Whether the message was written here, by `mail.send`. */
export const isSent = ({ sourceAddress }: Pick<MailActivity, 'sourceAddress'>): boolean =>
  sourceAddress === LOCAL_SOURCE;

/** What the outcome means for this message: one that was sent from here has nobody in a session to answer. */
export function meaningOf(record: MailActivity): string {
  if (!isSent(record)) return judgedMeaning(record) ?? OUTCOME_WORDS[record.outcome].meaning;
  if (record.outcome === 'accepted')
    return record.workflowId
      ? 'Its run is still sending it.'
      : 'Not delivered yet: whoever sent it has to try again with the same key.';
  if (record.outcome === 'refused') return 'The destination refused it.';
  return record.outcome === 'failed' ? 'It could not be delivered in time.' : OUTCOME_WORDS[record.outcome].meaning;
}

/** A full report address keeps nothing. Where an n8n workflow decides, a message may be open without a run, and end without a word to anybody. */
function judgedMeaning({ outcome, action, workflowId, errorCode, reply }: MailActivity): string | undefined {
  if (outcome === 'accepted' && action?.type === 'trigger' && workflowId === null)
    return 'An n8n workflow decides now.';
  if (outcome === 'failed' && errorCode === 'dmarc.over_quota' && reply)
    return 'The report address had taken what it takes in a day; the sender was asked to come again.';
  if (outcome !== 'failed' || !errorCode?.startsWith('trigger.')) return undefined;
  if (reply && reply.code >= 500) return 'The n8n workflow gave no verdict; the sender was refused.';
  return errorCode === 'trigger.rejected'
    ? 'The n8n workflow asked the sender to come again.'
    : 'The n8n workflow gave no verdict; the sender was asked to come again.';
}

export function tag(tone: Tone, word: string): Html {
  return html`<span class="tag ${tone}">${word}</span>`;
}

export function outcomeTag(outcome: Outcome): Html {
  const { tone, word } = OUTCOME_WORDS[outcome];
  return tag(tone, word);
}

/** Tone of an SPF, DKIM, DMARC or ARC result. */
export function verdictTone(result: string): Tone {
  if (result === 'pass') return 'pass';
  if (result === 'fail' || result === 'permerror') return 'fail';
  if (result === 'none' || result === 'neutral') return 'none';
  return 'warn';
}

/** A forwarded message fails DMARC by its nature; under a whole ARC chain that is no alarm (RFC 8617, 1). */
export function dmarcTone({ dmarc, arc }: Pick<Authentication, 'dmarc' | 'arc'>): Tone {
  return dmarc.result === 'fail' && arc.result === 'pass' ? 'warn' : verdictTone(dmarc.result);
}

/** DMARC, and ARC where the message has been sealed. */
export function verdictTags(authentication: Pick<Authentication, 'dmarc' | 'arc'>): Html {
  const { dmarc, arc } = authentication;
  const seal = arc.result === 'none' ? '' : verdictTag('ARC', arc.result);
  return html`<span class="tags">${tag(dmarcTone(authentication), `DMARC ${dmarc.result}`)}${seal}</span>`;
}

function verdictTag(method: string, result: string): Html {
  return tag(verdictTone(result), `${method} ${result}`);
}

/** The null sender has a name that people know. */
export const senderName = (sender: string): string => sender || '<> (null sender)';

/** What went wrong with a message, or what the other side said. */
export function reason({ reply, errorText }: Pick<MailActivity, 'reply' | 'errorText'>): string {
  if (reply) return [reply.code, reply.enhanced, reply.text].filter(Boolean).join(' ');
  return errorText ?? '';
}
