/** Figures as people read them, the same on a page, in a mail and in a piece of advice. */

const WHOLE = new Intl.NumberFormat('en-GB');
const PERCENT = new Intl.NumberFormat('en-GB', { maximumFractionDigits: 1 });

/** `482,930` */
export const number = (value: number): string => WHOLE.format(value);
/** At most one digit after the point. */
export const decimal = (value: number): string => PERCENT.format(value);
/** `1 message`, `2 messages` */
export const plural = (count: number, one: string, many = `${one}s`): string =>
  `${number(count)} ${count === 1 ? one : many}`;

/**
 * `97.8 %`, or words when there is nothing to divide by. What is not all of it never reads as 100 %, and what is not
 * nothing never as 0 %.
 */
export function share(part: number, whole: number): string {
  if (whole === 0) return 'none yet';
  if (part > 0 && part / whole < 0.001) return 'under 0.1 %';
  if (part < whole && part / whole > 0.999) return 'over 99.9 %';
  return `${decimal((100 * part) / whole)} %`;
}
