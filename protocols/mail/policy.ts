/**
 * What verification means for a message: the answer in the session (RFC 9989, 5.4; RFC 7372), and whether a bounce
 * may be sent to the envelope sender later.
 */
import { toAsciiDomain } from './address.ts';
import type { Authentication } from './authentication.ts';
import { safeText } from './header.ts';
import type { SmtpReply } from './reply.ts';

export interface Findings {
  authentication: Authentication;
  /** A DNS error hides a result that might have passed. */
  temporary: boolean;
  /** Why the author cannot be told: no From field, or several (RFC 9989, 5.3.1); null when there is one. */
  authorProblem: string | null;
  /** The recipient is an SRS address of ours whose MAC is right: that MAC is the message's authentication. */
  isSrsReturn: boolean;
}

export interface MailPolicy {
  /** Mail in which neither SPF nor DKIM passes. */
  unauthenticated: 'refuse' | 'accept';
  /** Mail that fails DMARC under p=reject. */
  dmarcReject: 'refuse' | 'accept';
}

export type Judgement =
  | { verdict: 'accept'; disposition: 'none' | 'quarantine' | 'reject' }
  | { verdict: 'reject'; reply: SmtpReply; code: string }
  | { verdict: 'defer'; reply: SmtpReply; code: string };

/**
 * The decision about a verified message. `disposition` of an accepted one is what its domain asked for and was not
 * done by refusing it. Codes: `mail.author`, `dmarc.rejected`, `mail.unauthenticated`, `dns.unavailable`.
 */
export function judge(findings: Findings, policy: MailPolicy): Judgement {
  const { authentication, authorProblem, isSrsReturn } = findings;
  const { dmarc } = authentication;
  if (authorProblem !== null)
    return reject('mail.author', 550, '5.6.0', `The author of the message cannot be told: ${authorProblem}`);

  const rejectedByDmarc = dmarc.result === 'fail' && dmarc.policy === 'reject' && policy.dmarcReject === 'refuse';
  const unauthenticated = !passes(authentication) && !isSrsReturn && policy.unauthenticated === 'refuse';
  // Whatever would be refused while an answer is missing may be in order once it is there.
  if ((rejectedByDmarc || unauthenticated) && mayStillPass(findings)) {
    return defer('4.7.24', 'SPF, DKIM or DMARC records of the sender cannot be read now, try again later');
  }
  // DMARC itself unknown: p=reject may be hidden behind the error. A pass is a pass whatever else went wrong.
  if (dmarc.result === 'temperror' && policy.dmarcReject === 'refuse') {
    return defer('4.4.3', `The DMARC policy of ${dmarc.domain} cannot be read now, try again later`);
  }
  if (rejectedByDmarc) {
    return reject(
      'dmarc.rejected',
      550,
      '5.7.1',
      `The message fails DMARC and ${dmarc.domain} asks that such mail is refused`,
    );
  }
  if (unauthenticated) {
    return reject('mail.unauthenticated', 550, '5.7.26', 'Neither SPF nor DKIM of the message passes (RFC 7372)');
  }
  return { verdict: 'accept', disposition: dmarc.result === 'fail' ? (dmarc.policy ?? 'none') : 'none' };
}

/**
 * Whether a non-delivery report may go to the envelope sender: only when it is shown that the mail came from there,
 * since a report to a forged address hits a bystander. The sender is not null, DMARC did not fail, and SPF passed
 * for it or a DKIM signature of its domain, or of a domain above it, passed.
 */
export function mayBounce(authentication: Authentication, sender: string): boolean {
  const domain = comparable(sender.slice(sender.lastIndexOf('@') + 1));
  if (sender === '' || domain === '' || authentication.dmarc.result === 'fail') return false;
  const { spf, dkim } = authentication;
  if (spf.result === 'pass' && spf.scope === 'mfrom' && comparable(spf.domain) === domain) return true;
  return dkim.some(
    (signature) => signature.result === 'pass' && signature.underSized === 0 && vouchesFor(signature.domain, domain),
  );
}

function passes({ spf, dkim }: Authentication): boolean {
  return spf.result === 'pass' || dkim.some((signature) => signature.result === 'pass');
}

function mayStillPass({ authentication: { spf, dkim, dmarc }, temporary }: Findings): boolean {
  return (
    temporary ||
    spf.result === 'temperror' ||
    dmarc.result === 'temperror' ||
    dkim.some((signature) => signature.result === 'temperror')
  );
}

/**
 * Equal, or above: who holds a domain holds the names below it. Not the other way round: a customer's name below
 * `github.io` says nothing for its owner. A single label (a top-level domain) vouches for nobody.
 */
function vouchesFor(signing: string, sender: string): boolean {
  const signer = comparable(signing);
  return signer === sender || (signer.includes('.') && sender.endsWith(`.${signer}`));
}

/** An envelope under SMTPUTF8 may hold U-labels where DNS and DKIM have A-labels. What is no domain matches nothing but itself. */
function comparable(domain: string): string {
  try {
    return toAsciiDomain(domain);
  } catch {
    return domain.toLowerCase();
  }
}

/** Domains and problems in the texts are a stranger's words. */
const MAX_TEXT = 300;
const answer = (code: number, enhanced: string, text: string): SmtpReply => ({
  code,
  enhanced,
  text: safeText(text, MAX_TEXT),
});
const reject = (code: string, reply: number, enhanced: string, text: string): Judgement => ({
  verdict: 'reject',
  code,
  reply: answer(reply, enhanced, text),
});
const defer = (enhanced: string, text: string): Judgement => ({
  verdict: 'defer',
  code: 'dns.unavailable',
  reply: answer(451, enhanced, text),
});
