/** Domains that reports are taken about: adding one finds its address, and says what to publish. For the API and the command line. */
import type { Resolver } from '../../activities/network/resolver.ts';
import { PermanentError, SwitchyardError } from '../../protocols/errors.ts';
import { discoverPolicy } from '../../protocols/dmarc/discovery.ts';
import { reportingRecords, type ReportingRecord } from '../../protocols/dmarc/reporting-records.ts';
import { normalizeAddress } from '../../protocols/mail/address.ts';
import type { DmarcDomain, DmarcRecords } from '../../stores/records/dmarc/port.ts';
import type { Records } from '../../stores/records/port.ts';
import { ruleDomain } from '../http/rules.ts';

/** Local part of the address where the domain takes mail here itself. */
const OWN_LOCAL_PART = 'dmarc-reports';

/** A domain with what is to be published for it. */
export interface AddedDomain extends DmarcDomain {
  /** Where reporters POST reports on TLS to; null where others do not reach us by https. */
  post: string | null;
  records: ReportingRecord[];
}

/** What the records to publish depend on, beside the domain. */
interface Surroundings {
  resolver: Pick<Resolver, 'txt' | 'addresses' | 'mx'>;
  /** `tlsPostUrl` of this installation. */
  postUrl(domain: string): Promise<string | null>;
}

/**
 * @param wanted.address at a mail domain of ours; without it one is chosen where that is clear
 * @throws PermanentError `dmarc.address_needed`, `dmarc.address_taken`, `dmarc.mail_domain_unknown`, `address.invalid`; those
 * of `postUrl`. Then the domain is not added.
 */
export async function addDmarcDomain(
  wanted: { domain: string; address?: string },
  records: Pick<Records, 'dmarc' | 'rules'>,
  { resolver, postUrl }: Surroundings,
  actor: string,
): Promise<AddedDomain> {
  const domain = ruleDomain(wanted.domain);
  const known = await records.dmarc.domains.get(domain);
  const address =
    wanted.address !== undefined
      ? normalizeAddress(wanted.address)
      : (known?.address ?? (await chooseAddress(domain, records)));
  // First: where the master key is away, nothing is changed.
  const post = await postUrl(domain);
  const added = await records.dmarc.domains.put(domain, address, actor);
  return { ...added, post, records: await recordsToPublish(added, { resolver, postUrl: async () => post }) };
}

/** What to publish for a domain that has an address, beside what it publishes already. */
export async function recordsToPublish(
  { domain, address }: DmarcDomain,
  { resolver, postUrl }: Surroundings,
): Promise<ReportingRecord[]> {
  const exists = async (name: string) =>
    (await resolver.addresses(name)).length > 0 || (await resolver.mx(name)).length > 0;
  const [dmarc, tls, post] = await Promise.all([
    orUnknown(discoverPolicy(domain, { txt: (name) => resolver.txt(name), exists })),
    orUnknown(resolver.txt(`_smtp._tls.${domain}`)),
    postUrl(domain),
  ]);
  return reportingRecords({ domain, dmarc, tls }, address, { post });
}

async function orUnknown<Answer>(asked: Promise<Answer>): Promise<Answer | 'unknown'> {
  try {
    return await asked;
  } catch (thrown) {
    if (thrown instanceof SwitchyardError) return 'unknown';
    throw thrown;
  }
}

/** @throws PermanentError `dmarc.address_needed` */
async function chooseAddress(domain: string, { rules }: Pick<Records, 'rules'>): Promise<string> {
  if (await rules.isLocalDomain(domain)) return `${OWN_LOCAL_PART}@${domain}`;
  const [only, ...others] = await rules.domains();
  const localPart = `dmarc-${domain}`;
  if (only !== undefined && others.length === 0 && localPart.length <= MAX_LOCAL_PART) return `${localPart}@${only}`;
  throw new PermanentError({
    code: 'dmarc.address_needed',
    message:
      only === undefined
        ? 'There is no mail domain here yet that a report address could be made at.'
        : `It is not clear at which mail domain reports about ${domain} are to come.`,
    fix:
      only === undefined
        ? 'Declare one under mail.domains in switchyard.yaml and start again.'
        : `Name the address:  switchyard dmarc add ${domain} --address reports@${only}`,
    details: { domain },
  });
}

/** RFC 5321, 4.5.3.1.1. */
const MAX_LOCAL_PART = 64;

/** @throws PermanentError `dmarc.domain_missing` */
export async function removeDmarcDomain(given: string, dmarc: DmarcRecords, actor: string): Promise<void> {
  const domain = ruleDomain(given);
  if (await dmarc.domains.remove(domain, actor)) return;
  throw new PermanentError({
    code: 'dmarc.domain_missing',
    message: `${domain} has no report address here.`,
    fix: 'switchyard dmarc list shows those that have one.',
    details: { domain },
  });
}
