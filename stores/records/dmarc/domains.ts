/** Domains whose reports are taken. Their addresses are rules, so that RCPT knows them as it knows all others. */
import { PermanentError } from '../../../protocols/errors.ts';
import { writeAudit } from '../audit.ts';
import type { Rule } from '../port.ts';
import { holdRules, putRule, removeRule, ruleAt, splitAddress } from '../rules.ts';
import { timeNow, type Database } from '../tables.ts';
import type { DmarcDomain, DmarcDomainRecords } from './port.ts';

export function dmarcDomainRecords(database: Database): DmarcDomainRecords {
  return {
    put: (domain, address, actor) =>
      database.transaction().execute(async (transaction) => {
        await holdRules(transaction);
        const before = await find(transaction, 'domain', domain);
        await refuseTaken(transaction, domain, address);
        if (before && before.address !== address) await removeAddress(transaction, before, actor);
        const added: DmarcDomain = { domain, address, createdAt: before?.createdAt ?? timeNow() };
        await transaction
          .insertInto('dmarc_domains')
          .values({ domain, address, created_at: added.createdAt })
          .onConflict((conflict) => conflict.column('domain').doUpdateSet({ address }))
          .execute();
        await putRule(
          transaction,
          { ...splitAddress(address), action: { type: 'dmarc', domain }, source: 'dmarc' },
          actor,
        );
        if (before?.address !== address)
          await writeAudit(transaction, {
            actor,
            action: before ? 'dmarc.domain.changed' : 'dmarc.domain.added',
            subject: domain,
            before: before ?? null,
            after: added,
          });
        return added;
      }),
    get: (domain) => find(database, 'domain', domain),
    byAddress: (address) => find(database, 'address', address),
    async list() {
      const rows = await database.selectFrom('dmarc_domains').selectAll().orderBy('domain').execute();
      return rows.map(toDomain);
    },
    remove: (domain, actor) =>
      database.transaction().execute(async (transaction) => {
        await holdRules(transaction);
        const before = await find(transaction, 'domain', domain);
        if (!before) return false;
        await removeAddress(transaction, before, actor);
        await transaction.deleteFrom('dmarc_domains').where('domain', '=', domain).execute();
        await writeAudit(transaction, {
          actor,
          action: 'dmarc.domain.removed',
          subject: domain,
          before,
          after: null,
        });
        return true;
      }),
  };
}

/** @throws PermanentError `dmarc.address_taken`, `dmarc.mail_domain_unknown` */
async function refuseTaken(transaction: Database, domain: string, address: string): Promise<void> {
  const other = await find(transaction, 'address', address);
  if (other && other.domain !== domain) throw taken(address, `reports about ${other.domain}`);
  const rule = await ruleAt(transaction, splitAddress(address));
  if (rule && rule.source !== 'dmarc') throw taken(address, holderOf(rule));
  const mailDomain = splitAddress(address).domain;
  const ours = await transaction
    .selectFrom('domains')
    .select('domain')
    .where('domain', '=', mailDomain)
    .union(transaction.selectFrom('rules').select('domain').where('domain', '=', mailDomain))
    .executeTakeFirst();
  if (!ours)
    throw new PermanentError({
      code: 'dmarc.mail_domain_unknown',
      message: `${mailDomain} is no mail domain of this Switchyard, so no report for ${address} would arrive.`,
      fix: `Declare it under mail.domains in switchyard.yaml ("${mailDomain}: {}") and start again, or choose an address of a domain that is there.`,
      details: { address, domain: mailDomain },
    });
}

/** A rule as a person finds it. */
function holderOf({ source, action, localPart, domain }: Rule): string {
  if (action.type === 'trigger') return `the n8n workflow ${JSON.stringify(action.name)}`;
  const words = action.type === 'forward' ? `forwards to ${action.destinations.join(', ')}` : 'drops it';
  return source === 'file'
    ? `the rule for ${localPart} under mail.domains.${domain} in switchyard.yaml, which ${words},`
    : `a rule made through the API, which ${words},`;
}

function taken(address: string, holder: string): PermanentError {
  return new PermanentError({
    code: 'dmarc.address_taken',
    message: `Mail for ${address} goes to ${holder} already.`,
    fix: 'Choose another address: one address takes the reports about one domain, and nothing else.',
    details: { address },
  });
}

/** The rule may have been overruled by the file since: then it is not ours to remove. */
async function removeAddress(transaction: Database, { address }: DmarcDomain, actor: string): Promise<void> {
  const rule = await ruleAt(transaction, splitAddress(address));
  if (rule?.source === 'dmarc') await removeRule(transaction, rule, actor);
}

async function find(database: Database, by: 'domain' | 'address', value: string): Promise<DmarcDomain | undefined> {
  const row = await database.selectFrom('dmarc_domains').selectAll().where(by, '=', value).executeTakeFirst();
  return row && toDomain(row);
}

const toDomain = (row: { domain: string; address: string; created_at: string }): DmarcDomain => ({
  domain: row.domain,
  address: row.address,
  createdAt: row.created_at,
});
