/**
 * MTA Strict Transport Security (RFC 8461): the TXT record that announces a policy, the policy, and its match
 * against MX hosts. Fetching is elsewhere.
 */
import { PermanentError } from '../errors.ts';

export interface Policy {
  mode: 'enforce' | 'testing' | 'none';
  /** Host names, lower case, `*.` for exactly one label. Empty only for mode `none`. */
  mx: string[];
  /** Seconds the policy may be kept. */
  maxAge: number;
}

/** RFC 8461, 3.2: the most that max_age may say, seconds (one year). */
export const MAX_AGE = 31_557_600;

/** RFC 8461, 3.3 lets a client limit the size; a policy with hundreds of MX patterns fits. Bytes. */
export const MAX_POLICY_BYTES = 65_536;

/**
 * The announcement among the TXT records of `_mta-sts.<domain>` (RFC 8461, 3.1); null when there is none, or
 * more than one, which counts as none.
 */
export function parseMtaStsRecord(txtRecords: string[]): { id: string } | null {
  const announced = txtRecords.filter((record) => /^v=STSv1[ \t]*(?:;|$)/.test(record));
  if (announced.length !== 1) return null;
  const fields = announced[0]!.split(';').map((field) => field.trim());
  // Only a trailing `;` leaves an empty field.
  if (fields.at(-1) === '') fields.pop();
  for (const field of fields) if (!/^[A-Za-z0-9][\w.-]{0,31}=[\x21-\x3a\x3c\x3e-\x7e]+$/.test(field)) return null;
  const id = fields
    .slice(1)
    .find((field) => field.startsWith('id='))
    ?.slice(3);
  return id !== undefined && /^[A-Za-z0-9]{1,32}$/.test(id) ? { id } : null;
}

/**
 * Reads a policy (RFC 8461, 3.2). Unknown fields are ignored; of a repeated field other than `mx` the first counts.
 * @throws PermanentError `mtasts.invalid`
 */
export function parseMtaStsPolicy(text: string): Policy {
  if (text.length > MAX_POLICY_BYTES) throw invalid(`it is longer than ${MAX_POLICY_BYTES} bytes`);
  const single = new Map<string, string>();
  const mx: string[] = [];
  for (const line of text.split(/\r?\n/)) {
    if (line.trim() === '') continue;
    const field = /^([A-Za-z0-9][\w.-]{0,31})[ \t]*:[ \t]*(.*?)[ \t]*$/.exec(line);
    if (!field) throw invalid(`${JSON.stringify(line.slice(0, 60))} is not a field`);
    const [, name, value] = field as unknown as [string, string, string];
    if (name === 'mx') mx.push(mxPattern(value));
    else if (!single.has(name)) single.set(name, value);
  }
  if (single.get('version') !== 'STSv1') throw invalid('it has no "version: STSv1"');
  const mode = single.get('mode');
  if (mode !== 'enforce' && mode !== 'testing' && mode !== 'none')
    throw invalid('its mode is not enforce, testing or none');
  const age = single.get('max_age') ?? '';
  if (!/^[0-9]{1,10}$/.test(age) || Number(age) > MAX_AGE)
    throw invalid(`its max_age is not a number of seconds up to ${MAX_AGE}`);
  if (mode !== 'none' && mx.length === 0) throw invalid('it names no mx');
  return { mode, mx, maxAge: Number(age) };
}

/** Whether a policy's pattern covers an MX host (RFC 8461, 4.1): `*.` stands for exactly one label. */
export function matchesMx(pattern: string, host: string): boolean {
  const wanted = canonical(pattern);
  const given = canonical(host);
  if (!wanted.startsWith('*.')) return wanted === given;
  const dot = given.indexOf('.');
  return dot > 0 && given.slice(dot) === wanted.slice(1);
}

const LABEL = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?';
const MX_PATTERN = new RegExp(`^(?:\\*\\.)?${LABEL}(?:\\.${LABEL})*$`);

function mxPattern(value: string): string {
  const pattern = canonical(value);
  if (!MX_PATTERN.test(pattern) || pattern.length > 255)
    throw invalid(`its mx ${JSON.stringify(value.slice(0, 60))} is not a host name`);
  return pattern;
}

function canonical(name: string): string {
  return name.toLowerCase().replace(/\.$/, '');
}

function invalid(why: string): PermanentError {
  return new PermanentError({
    code: 'mtasts.invalid',
    message: `The MTA-STS policy cannot be used: ${why}.`,
    fix: 'The owner of the domain must mend the policy (RFC 8461, 3.2).',
  });
}
