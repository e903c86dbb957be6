/** Words of strangers in the markdown that the Temporal UI shows: nothing of them may become markup. */
import type { Origin } from './contract.ts';

const CHARACTERS = 200;

/** Text for a sentence or a table cell. */
export const inline = (text: string): string =>
  text
    .slice(0, CHARACTERS)
    .replace(/[\\`*_{}[\]()<>#+!|~]/g, '\\$&')
    .replace(/[\r\n]+/g, ' ');

/** `, from [Sales](http://...)`, or nothing where nobody is known. The URL is one of http or https, checked where it came in. */
export function fromLine(origin: Origin | undefined): string {
  if (!origin) return '';
  const url = origin.url
    .replace(/[()<>\s\\|]/g, encodeURIComponent)
    .replace(/[()]/g, (one) => (one === '(' ? '%28' : '%29'));
  return `, from [${inline(origin.name)}](${url})`;
}
