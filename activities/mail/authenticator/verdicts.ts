/** From mailauth's result to the house's verdicts. What mailauth is lenient about even in strict mode is decided here. */
import type { AuthenticateResult } from 'mailauth';
import { decodeWords } from 'postal-mime';
import type {
  ArcVerdict,
  Authentication,
  DkimVerdict,
  DmarcVerdict,
  SpfVerdict,
} from '../../../protocols/mail/authentication.ts';
import { fieldBody } from '../../../protocols/mail/header.ts';
import { takenBefore } from '../../../protocols/mail/loop.ts';
import type { Verified } from './port.ts';

/** Longest shown form of a header field in records and summaries. */
const SHOWN_CHARACTERS = 200;
/** Authentication-Results travels in workflow inputs; ten signatures stay well below this. */
const RESULTS_CHARACTERS = 4_096;

/** @param authservId our host name, which opens the Authentication-Results payload */
export function readVerdicts(result: AuthenticateResult, authservId: string): Verified {
  const spf = readSpf(result);
  const dkim = readDkim(result);
  const dmarc = readDmarc(result, dkim);
  const arc = readArc(result);
  const authentication: Authentication = {
    spf,
    dkim,
    dmarc,
    arc,
    authenticationResults: readResults(result, dmarc, authservId),
  };
  const fields = result.dkim.headers?.parsed ?? [];
  const field = (name: string) => {
    const line = fields.find((one) => one.key === name)?.line;
    return line === undefined ? null : shown(line.toString('utf8'));
  };
  return {
    authentication,
    headerFrom: field('from'),
    headerMessageId: field('message-id'),
    subject: field('subject'),
    temporary: [spf.result, dmarc.result, arc.result, ...dkim.map((one) => one.result)].includes('temperror'),
    authorProblem: result.dmarc
      ? null
      : (result.dmarcSkipReason ?? (fields.some((one) => one.key === 'from') ? null : 'no From field')),
    takenBefore: takenBefore(
      fields
        .filter((one) => one.key === 'received' || one.key === 'delivered-to')
        .map((one) => ({ name: one.key, body: fieldBody(one.line) })),
      authservId,
    ),
  };
}

function readSpf({ spf }: AuthenticateResult): SpfVerdict {
  if (!spf) return { result: 'none', domain: '', scope: 'mfrom' };
  return {
    result: spf.status.result as SpfVerdict['result'],
    domain: spf.domain ?? '',
    scope: spf.status.smtp?.mailfrom ? 'mfrom' : 'helo',
  };
}

function readDkim({ dkim }: AuthenticateResult): DkimVerdict[] {
  return dkim.results
    .filter((one) => one.signingDomain)
    .map((one) => {
      const underSized = Number(one.status.underSized ?? 0) || 0;
      return {
        result: one.status.result as DkimVerdict['result'],
        domain: one.signingDomain ?? '',
        selector: one.selector ?? '',
        algorithm: (one.algo ?? '').slice(0, 20),
        // RFC 6376, section 8.2: with `l=` anyone may append a body; such a signature vouches for no author.
        aligned: Boolean(one.status.aligned) && underSized === 0,
        underSized,
      };
    });
}

function readDmarc({ dmarc, dkim }: AuthenticateResult, signatures: DkimVerdict[]): DmarcVerdict {
  if (!dmarc)
    return { result: 'none', domain: dkim.headerFrom?.[0]?.split('@').pop() ?? '', policy: null, disposition: 'none' };
  const aligned =
    Boolean(dmarc.alignment?.spf?.result) || signatures.some((one) => one.result === 'pass' && one.aligned);
  const result = dmarc.status.result === 'pass' && !aligned ? 'fail' : (dmarc.status.result as DmarcVerdict['result']);
  // The one that applies: sp, np and t (RFC 9989, section 4.7) are reckoned in already.
  const policy = (dmarc.policy ?? null) as DmarcVerdict['policy'];
  return {
    result,
    domain: dmarc.domain ?? '',
    policy,
    disposition: result === 'fail' && policy ? policy : 'none',
  };
}

function readArc({ arc }: AuthenticateResult): ArcVerdict {
  if (!arc) return { result: 'none', instance: 0 };
  return { result: arc.status.result as ArcVerdict['result'], instance: arc.i || 0 };
}

/** Payload of Authentication-Results and ARC-Authentication-Results, authserv-id first (RFC 8601, section 2.2). */
function readResults({ arc, headers }: AuthenticateResult, dmarc: DmarcVerdict, authservId: string): string {
  const payload =
    (arc && arc.authResults) ||
    (/^Authentication-Results: ([\s\S]*?)\r\n(?! )/.exec(headers)?.[1] ?? `${authservId}; none`);
  const corrected = dmarc.result === 'fail' ? payload.replace(/(;\s*)dmarc=pass\b/, '$1dmarc=fail') : payload;
  if (corrected.length <= RESULTS_CHARACTERS) return corrected;
  const clauses = corrected.split(/;\r\n /);
  while (clauses.length > 1 && clauses.join(';\r\n ').length > RESULTS_CHARACTERS) clauses.splice(1, 1);
  return clauses.join(';\r\n ');
}

/** A header field as people read it: unfolded, decoded, without control characters, cut. */
function shown(line: string): string {
  const body = line.slice(line.indexOf(':') + 1).replace(/\r?\n[ \t]+/g, ' ');
  return decodeWords(body)
    .replace(/[\u0000-\u001f\u007f-\u009f]/g, ' ')
    .trim()
    .slice(0, SHOWN_CHARACTERS);
}
