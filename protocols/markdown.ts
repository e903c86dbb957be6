/** Words of strangers in the markdown that the Temporal UI shows: nothing of them may become markup. */
const CHARACTERS = 200;

/** Text for a sentence or a table cell. */
export const inline = (text: string): string =>
  text
    .slice(0, CHARACTERS)
    .replace(/[\\`*_{}[\]()<>#+!|~]/g, '\\$&')
    .replace(/[\r\n]+/g, ' ');

/** A link. The URL is one of http or https, checked where it came in; nothing of it may end the link. */
export function link(text: string, url: string): string {
  const target = url.replace(/[\s()<>\\|]/g, (one) => `%${one.charCodeAt(0).toString(16).padStart(2, '0')}`);
  return `[${inline(text)}](${target})`;
}
