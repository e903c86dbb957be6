/** The end of a message in the plainest way, to hold the fast one against. */

/**
 * RFC 5321, 4.1.1.4 and 4.5.2. The CRLF of the DATA command is that of the first line.
 * @param text bytes after the answer to DATA, one a character
 * @returns the message, and what follows its end: null while there is none
 */
export function byTheBook(text: string): { data: string; rest: string | null } {
  const whole = `\r\n${text}`;
  const end = whole.indexOf('\r\n.\r\n');
  const message = end < 0 ? whole : whole.slice(0, end + 2);
  return { data: message.slice(2).replace(/(?<=^|\r\n)\./g, ''), rest: end < 0 ? null : whole.slice(end + 5) };
}
