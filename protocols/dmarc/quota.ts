/** How much may come to a report address in a day: anyone can write to it, and what is published stays. */
import type { Authentication } from '../mail/authentication.ts';
import { ownDomain } from './services.ts';

/** ms that a quota looks back. */
export const QUOTA_WINDOW = 86_400_000;

/** How much came, or may come. */
export interface Amount {
  mails: number;
  /** Of the mails. */
  bytes: number;
  /** Of what was published. */
  records: number;
}

export interface Quota {
  /** Of one sender, as `quotaSender` says, to one address. */
  sender: Amount;
  /** Of all senders to one address. */
  address: Amount;
}

export interface OverQuota {
  scope: keyof Quota;
  what: keyof Amount;
  limit: number;
}

/** Who all that comes by HTTPS is counted for: nobody vouches for any of it. No domain is called so. */
export const HTTPS_SENDER = 'HTTPS';

/**
 * Who a mail is counted for: a domain that vouches for it, so that nobody uses up what is another's. What none vouches for
 * is counted together, as ''.
 */
export function quotaSender(authentication: Authentication | null): string {
  if (!authentication) return '';
  const { spf, dkim, dmarc } = authentication;
  if (dmarc.result === 'pass') return ownDomain(dmarc.domain);
  if (spf.result === 'pass') return ownDomain(spf.domain);
  const signature = dkim.find(({ result, underSized }) => result === 'pass' && underSized === 0);
  return signature ? ownDomain(signature.domain) : '';
}

/**
 * @param before what came within the window
 * @param more what comes now; of a mail it is not known yet how many records are in it, and one has to have room
 */
export function overQuota(before: Record<keyof Quota, Amount>, more: Amount, quota: Quota): OverQuota | undefined {
  const wanted = more.mails > 0 ? { ...more, records: Math.max(more.records, 1) } : more;
  for (const scope of ['sender', 'address'] as const)
    for (const what of ['mails', 'bytes', 'records'] as const) {
      const limit = quota[scope][what];
      if (wanted[what] > 0 && before[scope][what] + wanted[what] > limit) return { scope, what, limit };
    }
  return undefined;
}

/** For the sender of the mail and for whoever looks into the quarantine. */
export function quotaWords({ scope, what, limit }: OverQuota, sender: string, domain: string): string {
  const from =
    scope === 'address' ? 'all senders together' : sender === '' ? 'mail that no domain vouches for' : sender;
  const most = limit.toLocaleString('en');
  return `Reports about ${domain} from ${from} have reached the limit of a day: ${most} ${what}.`;
}
