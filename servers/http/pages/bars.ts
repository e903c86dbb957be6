/** Counts over time as stacked bars: SVG drawn here, with the figures in a table behind it. */
import { html } from 'hono/html';
import { panel, type Html } from './layout.ts';
import { number, type Tone } from './words.ts';

/** A part of each bar, from below. */
export interface Band {
  name: string;
  tone: Tone;
}

export interface Bar {
  /** The first cell of its row. */
  name: Html | string;
  /** One count a band. */
  counts: number[];
  /** What stands under it; null for nothing. */
  label: string | null;
  /** The label is this time, which the script shows in the reader's zone. */
  time?: string;
  /** The rows that it counts. */
  href?: string;
  /** What it says when the pointer rests on it. */
  hint?: string;
}

const WIDTH = 1040;
const HEIGHT = 190;
const LEFT = 44;
/** Between two bars, at most. */
const GAP = 6;

export interface Bars {
  title: string;
  /** The chart in one sentence, for who does not see it. */
  sentence: string;
  /** What a bar is: `Hour`. */
  unit: string;
  bands: readonly Band[];
  bars: Bar[];
}

export function barsPanel({ title, sentence, unit, bands, bars }: Bars): Html {
  const sums = bars.map(({ counts }) => counts.reduce((sum, count) => sum + count, 0));
  const scale = niceScale(Math.max(0, ...sums));
  const y = (value: number) => Math.round((HEIGHT - (value / scale.max) * (HEIGHT - 10)) * 10) / 10;
  const legend = bands.map(({ name, tone }) => html`<span class="key c-${tone}">${name}</span>`);
  return panel(
    title,
    html`<div class="body chart" tabindex="0" role="group" aria-label="Chart, scrolls sideways on narrow screens">
        <svg viewBox="0 0 ${WIDTH} ${HEIGHT + 30}" role="img" aria-label="${sentence}">
          <title>${sentence}</title>
          ${grid(scale.ticks, y)}${drawn(bars, bands, y)}
        </svg>
      </div>
      <details>
        <summary>The figures as a table</summary>
        <div class="scroll">${table(unit, bands, bars, sums)}</div>
      </details>`,
    html`<span class="legend">${legend}</span>`,
  );
}

const grid = (ticks: number[], y: (value: number) => number) =>
  ticks.map(
    (tick) =>
      html`<line class="grid" x1="${LEFT}" x2="${WIDTH}" y1="${y(tick)}" y2="${y(tick)}" /><text
          class="end"
          x="${LEFT - 8}"
          y="${y(tick) + 4}"
          >${short(tick, ticks.at(-1) ?? 0)}</text
        >`,
  );

/** The table has the same links, so these are for the pointer alone. */
function drawn(bars: Bar[], bands: readonly Band[], y: (value: number) => number) {
  const step = (WIDTH - LEFT) / Math.max(bars.length, 1);
  const gap = Math.min(GAP, step / 4);
  const round = (value: number) => Math.round(value * 10) / 10;
  return bars.map(({ counts, label, time, href, hint }, index) => {
    const left = LEFT + index * step;
    let below = 0;
    const parts = counts.map((count, band) => {
      if (count === 0) return '';
      const bottom = y(below);
      below += count;
      const height = Math.max(1, bottom - y(below));
      return html`<rect
        class="c-${bands[band]?.tone}"
        x="${round(left + gap / 2)}"
        y="${round(bottom - height)}"
        width="${round(step - gap)}"
        height="${round(height)}"
        rx="1"
      />`;
    });
    const place = { x: round(left + step / 2), y: HEIGHT + 20 };
    const under =
      label === null
        ? ''
        : time === undefined
          ? html`<text class="middle" x="${place.x}" y="${place.y}">${label}</text>`
          : html`<text class="middle" data-time="${time}" x="${place.x}" y="${place.y}">${label}</text>`;
    if (href === undefined) return html`${parts}${under}`;
    const area = html`<rect class="area" x="${round(left)}" y="0" width="${round(step)}" height="${HEIGHT}" />`;
    return html`<a href="${href}" tabindex="-1"><title>${hint ?? label}</title>${area}${parts}</a>${under}`;
  });
}

function table(unit: string, bands: readonly Band[], bars: Bar[], sums: number[]): Html {
  return html`<table>
    <thead>
      <tr>
        <th>${unit}</th>
        ${bands.map(({ name }) => html`<th class="n">${name}</th>`)}
        <th class="n">in all</th>
      </tr>
    </thead>
    <tbody>
      ${bars.map(
        ({ name, counts, href }, index) =>
          html`<tr>
            <td class="when">${href === undefined ? name : html`<a href="${href}">${name}</a>`}</td>
            ${counts.map((count) => html`<td class="n">${number(count)}</td>`)}
            <td class="n">${number(sums[index] ?? 0)}</td>
          </tr>`,
      )}
    </tbody>
  </table>`;
}

/** `20k`, `1.5M`, all in the unit of the largest: the axis has no room for more. */
function short(value: number, largest: number): string {
  if (value === 0) return '0';
  if (largest >= 1_000_000) return `${number(value / 1_000_000)}M`;
  return largest >= 10_000 ? `${number(value / 1_000)}k` : number(value);
}

/** A round upper end and at most five lines: 1, 2 or 5 times a power of ten apart. */
export function niceScale(largest: number): { max: number; ticks: number[] } {
  const rough = Math.max(largest, 1) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(1, [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough) ?? rough);
  const count = Math.max(1, Math.ceil(largest / step));
  return { max: count * step, ticks: Array.from({ length: count + 1 }, (_, index) => index * step) };
}
