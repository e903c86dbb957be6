/** What a graph answered about a message, read from the answer of its webhook. */
import { z } from 'zod';
import { parseAddress } from '../../protocols/mail/address.ts';
import { safeText } from '../../protocols/mail/header.ts';
import { enhancedFor } from '../../protocols/mail/reply.ts';
import type { Verdict } from '../../stores/records/port.ts';
import type { CallbackAnswer } from './callbacks.ts';

/** Tells the answer of the Mail Verdict node from every other 200 that a graph may give. */
export const VERDICT_HEADER = 'x-switchyard-verdict';

const Answer = z.object({
  verdict: z.enum(['accept', 'reject', 'forward', 'drop']),
  code: z.number().int().min(400).max(599).default(550),
  /** RFC 3463. */
  enhanced: z
    .string()
    .regex(/^[45]\.\d{1,3}\.\d{1,3}$/)
    .optional(),
  text: z.string().optional(),
  destinations: z.array(z.string().refine(isAddress, 'a destination is no mail address')).min(1).max(20).optional(),
});

/** RFC 3463, X.7.1: the recipient's side has decided so. */
const REFUSED = { code: 550, enhanced: '5.7.1' };
const REFUSED_TEXT = 'The recipient does not take this message';
/** A reply is one line of 512 octets (RFC 5321, 4.5.3.1.5). */
const MAX_TEXT = 300;

/**
 * @returns the verdict, or in words why there is none
 */
export function readVerdict({ status, headers, body }: CallbackAnswer): Verdict | { none: string } {
  if (status !== 200 || headers[VERDICT_HEADER] !== '1') return { none: otherAnswer(status, headers) };
  const answer = Answer.safeParse(parseJson(body));
  if (!answer.success) {
    const issue = answer.error.issues[0];
    return { none: `the verdict of the workflow is not valid: ${issue?.path.join('.')}: ${issue?.message}` };
  }
  const { verdict, code, enhanced, text, destinations } = answer.data;
  if (verdict === 'forward')
    return destinations ? { verdict, destinations } : { none: 'the verdict says forward and names no destination' };
  if (verdict !== 'reject') return { verdict };
  const fitting = enhanced !== undefined && enhanced.startsWith(String(code).slice(0, 1));
  return {
    verdict,
    reply: {
      code,
      enhanced: fitting ? enhanced : code === REFUSED.code ? REFUSED.enhanced : enhancedFor(code),
      text: ascii(safeText(text ?? '', MAX_TEXT)) || REFUSED_TEXT,
    },
  };
}

function otherAnswer(status: number, headers: CallbackAnswer['headers']): string {
  if (status === 404) return 'n8n knows no such webhook: the workflow is not active, or n8n is starting';
  if (status >= 500) return `the workflow failed (HTTP ${status})`;
  if (status === 204 || (status === 200 && headers[VERDICT_HEADER] === undefined))
    return 'the workflow ended without a Mail Verdict node';
  return `n8n answered HTTP ${status}`;
}

/** Replies are ASCII unless the client asked for more (RFC 6531, 3.7.4.2). */
const ascii = (text: string): string =>
  text
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .replace(/[^\x20-\x7e]/g, '?');

function isAddress(text: string): boolean {
  try {
    parseAddress(text);
    return true;
  } catch {
    return false;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
