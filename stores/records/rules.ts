/** Rules and the domains of this installation, from the file and from the API. */
import type { Selectable } from 'kysely';
import { PermanentError } from '../../protocols/errors.ts';
import { writeAudit } from './audit.ts';
import { uuidv7 } from './ids.ts';
import { hold } from './locks.ts';
import type { Rule, RuleAction, RuleRecords } from './port.ts';
import { fromFlag, timeNow, toFlag, type Database, type Tables } from './tables.ts';

/** Local part of the rule for every address that has none of its own. */
const CATCH_ALL = '*';
/** Actor of what the configuration file declares. */
const FILE = 'file';

export function ruleRecords(database: Database): RuleRecords {
  return {
    async find(domain, localPart) {
      const rows = await database
        .selectFrom('rules')
        .selectAll()
        .where('domain', '=', domain)
        .where('local_part', 'in', [localPart, CATCH_ALL])
        .where('enabled', '=', 1)
        .execute();
      const row = rows.find((one) => one.local_part === localPart) ?? rows[0];
      return row && toRule(row);
    },
    async isLocalDomain(domain) {
      const declared = await database
        .selectFrom('domains')
        .select('domain')
        .where('domain', '=', domain)
        .executeTakeFirst();
      if (declared) return true;
      return (
        (await database.selectFrom('rules').select('id').where('domain', '=', domain).limit(1).executeTakeFirst()) !==
        undefined
      );
    },
    async domains() {
      const rows = await database
        .selectFrom('domains')
        .select('domain')
        .union(database.selectFrom('rules').select('domain'))
        .orderBy('domain')
        .execute();
      return rows.map(({ domain }) => domain);
    },
    async list(domain) {
      let query = database.selectFrom('rules').selectAll().orderBy('domain').orderBy('local_part');
      if (domain !== undefined) query = query.where('domain', '=', domain);
      return (await query.execute()).map(toRule);
    },
    async get(id) {
      const row = await database.selectFrom('rules').selectAll().where('id', '=', id).executeTakeFirst();
      return row && toRule(row);
    },
    put: (rule, actor) =>
      database.transaction().execute(async (transaction) => {
        await holdRules(transaction);
        return (await putRule(transaction, rule, actor)).rule;
      }),
    remove: (id, actor) =>
      database.transaction().execute(async (transaction) => {
        await holdRules(transaction);
        const row = await transaction.selectFrom('rules').selectAll().where('id', '=', id).executeTakeFirst();
        if (!row) return false;
        await removeRule(transaction, toRule(row), actor);
        return true;
      }),
    applyDeclared: (domains) =>
      database.transaction().execute(async (transaction) => {
        await holdRules(transaction);
        await refuseReportAddresses(transaction, domains);
        await declareDomains(
          transaction,
          domains.map((one) => one.domain),
        );
        return declareRules(
          transaction,
          domains.flatMap(({ domain, rules }) => rules.map((rule) => ({ domain, ...rule }))),
        );
      }),
  };
}

/** Rules change rarely and depend on each other and on the triggers: one change at a time. Reading them waits for none. */
export const holdRules = (transaction: Database): Promise<void> => hold(transaction, 'rules');

/** The rule of an address, or of the catch-all of a domain, whether or not it is on. */
export async function ruleAt(
  database: Database,
  { domain, localPart }: Pick<Rule, 'domain' | 'localPart'>,
): Promise<Rule | undefined> {
  const row = await database
    .selectFrom('rules')
    .selectAll()
    .where('domain', '=', domain)
    .where('local_part', '=', localPart)
    .executeTakeFirst();
  return row && toRule(row);
}

type Change = 'added' | 'changed' | 'same';

/** Inserts or replaces within a transaction that holds the rules; a rule that stays as it is is neither written nor audited. */
export async function putRule(
  transaction: Database,
  wanted: Parameters<RuleRecords['put']>[0],
  actor: string,
): Promise<{ rule: Rule; change: Change }> {
  const before = await ruleAt(transaction, wanted);
  const now = timeNow();
  const rule: Rule = {
    id: before?.id ?? uuidv7(),
    domain: wanted.domain,
    localPart: wanted.localPart,
    action: wanted.action,
    source: wanted.source,
    enabled: wanted.enabled ?? true,
    createdAt: before?.createdAt ?? now,
    updatedAt: now,
  };
  if (before && sameRule(before, rule)) return { rule: before, change: 'same' };
  const stored = fromRule(rule);
  const { id: _id, ...columns } = stored;
  if (before) await transaction.updateTable('rules').set(columns).where('id', '=', rule.id).execute();
  else await transaction.insertInto('rules').values(stored).execute();
  const change = before ? 'changed' : 'added';
  await writeAudit(transaction, {
    actor,
    action: `rule.${change}`,
    subject: addressOf(rule),
    before: before ?? null,
    after: rule,
  });
  return { rule, change };
}

/** Within a transaction that holds the rules. */
export async function removeRule(transaction: Database, rule: Rule, actor: string): Promise<void> {
  await transaction.deleteFrom('rules').where('id', '=', rule.id).execute();
  await writeAudit(transaction, { actor, action: 'rule.removed', subject: addressOf(rule), before: rule, after: null });
}

/**
 * A rule over a report address would take its reports away and nobody would be told.
 * @throws PermanentError `rule.report_address`
 */
async function refuseReportAddresses(
  transaction: Database,
  declared: Parameters<RuleRecords['applyDeclared']>[0],
): Promise<void> {
  const reported = await transaction.selectFrom('dmarc_domains').select(['domain', 'address']).execute();
  for (const { domain, rules } of declared)
    for (const { localPart } of rules) {
      const address = addressOf({ domain, localPart });
      const other = reported.find((one) => one.address === address);
      if (!other) continue;
      throw new PermanentError({
        code: 'rule.report_address',
        message: `switchyard.yaml has a rule for ${localPart} under mail.domains.${domain}, and ${address} takes the reports about ${other.domain}.`,
        fix: `Remove the rule from the file, or let the reports come elsewhere: switchyard dmarc add ${other.domain} --address OTHER@${domain}`,
        details: { address, domain: other.domain },
      });
    }
}

async function declareDomains(transaction: Database, wanted: string[]): Promise<void> {
  const rows = await transaction.selectFrom('domains').select('domain').where('source', '=', FILE).execute();
  const known = rows.map((row) => row.domain);
  for (const domain of wanted.filter((one) => !known.includes(one))) {
    await transaction.insertInto('domains').values({ domain, source: FILE, created_at: timeNow() }).execute();
    await writeAudit(transaction, { actor: FILE, action: 'domain.added', subject: domain, before: null, after: null });
  }
  for (const domain of known.filter((one) => !wanted.includes(one))) {
    await transaction.deleteFrom('domains').where('domain', '=', domain).execute();
    await writeAudit(transaction, {
      actor: FILE,
      action: 'domain.removed',
      subject: domain,
      before: null,
      after: null,
    });
  }
}

async function declareRules(
  transaction: Database,
  wanted: { domain: string; localPart: string; action: RuleAction }[],
): Promise<{ added: number; changed: number; removed: number }> {
  const counts = { added: 0, changed: 0, removed: 0 };
  for (const rule of wanted) {
    const { change } = await putRule(transaction, { ...rule, source: FILE }, FILE);
    if (change !== 'same') counts[change] += 1;
  }
  const declared = new Set(wanted.map(addressOf));
  const rows = await transaction.selectFrom('rules').selectAll().where('source', '=', FILE).execute();
  for (const rule of rows.map(toRule).filter((one) => !declared.has(addressOf(one)))) {
    await removeRule(transaction, rule, FILE);
    counts.removed += 1;
  }
  return counts;
}

/** An address that was checked before it was stored, as rules have it. */
export function splitAddress(address: string): Pick<Rule, 'domain' | 'localPart'> {
  const at = address.lastIndexOf('@');
  return { localPart: address.slice(0, at), domain: address.slice(at + 1) };
}

const addressOf = (rule: { domain: string; localPart: string }): string => `${rule.localPart}@${rule.domain}`;

const sameRule = (one: Rule, other: Rule): boolean =>
  one.source === other.source &&
  one.enabled === other.enabled &&
  JSON.stringify(one.action) === JSON.stringify(other.action);

function toRule(row: Selectable<Tables['rules']>): Rule {
  return {
    id: row.id,
    domain: row.domain,
    localPart: row.local_part,
    action: JSON.parse(row.action) as RuleAction,
    source: row.source as Rule['source'],
    enabled: fromFlag(row.enabled),
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

function fromRule(rule: Rule): Tables['rules'] {
  return {
    id: rule.id,
    domain: rule.domain,
    local_part: rule.localPart,
    action: JSON.stringify(rule.action),
    source: rule.source,
    enabled: toFlag(rule.enabled),
    created_at: rule.createdAt,
    updated_at: rule.updatedAt,
  };
}
