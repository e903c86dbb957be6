/** Messages over time: a bar a day, or a week where days would be too thin to see. */
import { dayBefore } from '../../../../protocols/dmarc/identity.ts';
import type { DayCounts } from '../../../../stores/records/dmarc/queries-port.ts';
import { daysIn } from '../../dmarc/range.ts';
import { barsPanel, type Band } from '../bars.ts';
import type { Html } from '../layout.ts';
import { number, plural } from '../words.ts';
import { dayWords, linkTo, rangeWords, type View } from './view.ts';

const BANDS: Band[] = [
  { name: 'pass', tone: 'pass' },
  { name: 'fail', tone: 'fail' },
];
/** As many bars as can be told apart. */
const MOST_BARS = 92;
const WEEK = 7;
/** Bars with a label, about: each has room for `26 Oct`. */
const LABELS = 9;

export function daysPanel(view: View, days: DayCounts[]): Html {
  const { range } = view;
  const length = daysIn(range) > MOST_BARS ? WEEK : 1;
  const spans: { from: string; to: string; passed: number; failed: number }[] = [];
  for (let to = range.to; to >= range.from; to = dayBefore(to, length)) {
    const first = dayBefore(to, length - 1);
    spans.unshift({ from: first < range.from ? range.from : first, to, passed: 0, failed: 0 });
  }
  for (const { day, messages, passed } of days) {
    const span = spans.find(({ from, to }) => day >= from && day <= to);
    if (!span) continue;
    span.passed += passed;
    span.failed += messages - passed;
  }
  const every = Math.max(1, Math.ceil(spans.length / LABELS));
  const whole = spans.reduce((sum, { passed, failed }) => sum + passed + failed, 0);
  const failed = spans.reduce((sum, span) => sum + span.failed, 0);
  const unit = length === 1 ? 'day' : 'week';
  return barsPanel({
    title: `Messages a ${unit}`,
    sentence: `Messages a ${unit}, ${rangeWords(range)}: ${number(whole)} in all, ${number(failed)} of them failed DMARC.`,
    unit: length === 1 ? 'Day' : 'Week',
    bands: BANDS,
    bars: spans.map((span, index) => ({
      name: rangeWords(span),
      counts: [span.passed, span.failed],
      label: index % every === 0 ? dayWords(span.from) : null,
      href: linkTo({ ...view, period: { from: span.from, to: span.to } }, 'sources'),
      hint: `${rangeWords(span)}: ${plural(span.passed, 'message')} passed, ${number(span.failed)} failed`,
    })),
  });
}
