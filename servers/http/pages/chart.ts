/** Messages an hour, stacked by what became of them: SVG drawn here, with the figures in a table behind it. */
import { html } from 'hono/html';
import type { Outcome, Records } from '../../../stores/records/port.ts';
import { panel, type Html } from './layout.ts';
import { moment, number, type Tone } from './words.ts';

const HOUR = 3_600_000;
export const HOURS = 24;

/** What the outcomes mean to who looks: delivered, under way, not delivered, turned away on purpose. */
export const BANDS: { name: string; tone: Tone; outcomes: Outcome[] }[] = [
  { name: 'delivered', tone: 'pass', outcomes: ['delivered'] },
  { name: 'on its way', tone: 'warn', outcomes: ['accepted'] },
  { name: 'not delivered', tone: 'fail', outcomes: ['refused', 'bounced', 'failed'] },
  { name: 'turned away or dropped', tone: 'none', outcomes: ['rejected', 'dropped'] },
];

export interface Hour {
  start: string;
  /** One count a band. */
  counts: number[];
}

/** The last 24 hours, oldest first. The store counts 'since'; an hour is the difference of two. */
export async function countHours(records: Records, now: number): Promise<Hour[]> {
  const first = Math.floor(now / HOUR) * HOUR - (HOURS - 1) * HOUR;
  const starts = Array.from({ length: HOURS }, (_, index) => new Date(first + index * HOUR).toISOString());
  const since = await Promise.all(starts.map((start) => records.activity.count(start)));
  return starts.map((start, index) => ({
    start,
    counts: BANDS.map(({ outcomes }) =>
      Math.max(0, total(since[index] ?? {}, outcomes) - total(since[index + 1] ?? {}, outcomes)),
    ),
  }));
}

export function total(counts: Partial<Record<Outcome, number>>, outcomes: readonly Outcome[]): number {
  return outcomes.reduce((sum, outcome) => sum + (counts[outcome] ?? 0), 0);
}

const WIDTH = 1040;
const HEIGHT = 190;
const LEFT = 44;

export function hoursPanel(hours: Hour[]): Html {
  const sums = hours.map(({ counts }) => counts.reduce((sum, count) => sum + count, 0));
  const whole = sums.reduce((sum, count) => sum + count, 0);
  const scale = niceScale(Math.max(...sums));
  const y = (value: number) => Math.round((HEIGHT - (value / scale.max) * (HEIGHT - 10)) * 10) / 10;
  const step = (WIDTH - LEFT) / hours.length;
  const grid = scale.ticks.map(
    (tick) =>
      html`<line class="grid" x1="${LEFT}" x2="${WIDTH}" y1="${y(tick)}" y2="${y(tick)}" /><text
          class="end"
          x="${LEFT - 8}"
          y="${y(tick) + 4}"
          >${number(tick)}</text
        >`,
  );
  const bars = hours.map(({ counts }, index) => {
    let below = 0;
    return counts.map((count, band) => {
      if (count === 0) return '';
      const bottom = y(below);
      below += count;
      return html`<rect
        class="c-${BANDS[band]?.tone}"
        x="${Math.round(LEFT + index * step + 3)}"
        y="${y(below)}"
        width="${Math.round(step - 6)}"
        height="${Math.max(1, bottom - y(below)).toFixed(1)}"
        rx="1"
      />`;
    });
  });
  const labels = hours.map(({ start }, index) =>
    index % 4 === 0
      ? html`<text
          class="middle"
          data-time="${start}"
          x="${Math.round(LEFT + index * step + step / 2)}"
          y="${HEIGHT + 20}"
          >${start.slice(11, 16)}</text
        >`
      : '',
  );
  const legend = BANDS.map(({ name, tone }) => html`<span class="key c-${tone}">${name}</span>`);
  const sentence = `Messages an hour over the last 24 hours: ${number(whole)} in all, at most ${number(Math.max(...sums))} in one hour.`;
  return panel(
    'Messages an hour',
    html`<div class="body chart" tabindex="0" role="group" aria-label="Chart, scrolls sideways on narrow screens">
        <svg viewBox="0 0 ${WIDTH} ${HEIGHT + 30}" role="img" aria-label="${sentence}">
          <title>${sentence}</title>
          ${grid}${bars}${labels}
        </svg>
      </div>
      <details>
        <summary>The figures as a table</summary>
        <div class="scroll">
          <table>
            <thead>
              <tr>
                <th>Hour</th>
                ${BANDS.map(({ name }) => html`<th class="n">${name}</th>`)}
                <th class="n">in all</th>
              </tr>
            </thead>
            <tbody>
              ${hours.map(
                ({ start, counts }, index) =>
                  html`<tr>
                    <td class="when">${moment(start)}</td>
                    ${counts.map((count) => html`<td class="n">${number(count)}</td>`)}
                    <td class="n">${number(sums[index] ?? 0)}</td>
                  </tr>`,
              )}
            </tbody>
          </table>
        </div>
      </details>`,
    html`<span class="legend">${legend}</span>`,
  );
}

/** A round upper end and at most five lines: 1, 2 or 5 times a power of ten apart. */
export function niceScale(largest: number): { max: number; ticks: number[] } {
  const rough = Math.max(largest, 1) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(1, [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough) ?? rough);
  const count = Math.max(1, Math.ceil(largest / step));
  return { max: count * step, ticks: Array.from({ length: count + 1 }, (_, index) => index * step) };
}
