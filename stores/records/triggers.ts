/**
 * Triggers and the rules that follow from them. Which registration an address belongs to is worked out anew from
 * those that are live whenever one comes, changes or goes, in the transaction of that change.
 */
import type { Selectable } from 'kysely';
import { PermanentError } from '../../protocols/errors.ts';
import { writeAudit } from './audit.ts';
import type { Trigger, TriggerRecords } from './port.ts';
import { holdRules, putRule, removeRule, ruleAt, splitAddress } from './rules.ts';
import { fromFlag, fromJson, timeNow, toFlag, toJson, type Database, type Tables } from './tables.ts';

export function triggerRecords(database: Database): TriggerRecords {
  return {
    put: (wanted, actor) =>
      database.transaction().execute(async (transaction) => {
        await holdRules(transaction);
        const before = await find(transaction, wanted.id, 'for change');
        const now = timeNow();
        const trigger: Trigger = {
          ...wanted,
          createdAt: before?.createdAt ?? now,
          seenUntil: before?.seenUntil ?? (wanted.kind === 'run' ? now : null),
          updatedAt: now,
        };
        for (const address of trigger.addresses) await refuseForeign(transaction, trigger, address);
        const { id, ...columns } = fromTrigger(trigger);
        await transaction
          .insertInto('triggers')
          .values({ id, ...columns })
          .onConflict((conflict) => conflict.column('id').doUpdateSet(columns))
          .execute();
        await settle(transaction, [...(before?.addresses ?? []), ...trigger.addresses], actor);
        if (isAudited(trigger) && !(before && sameTrigger(before, trigger)))
          await writeAudit(transaction, {
            actor,
            action: before ? 'trigger.changed' : 'trigger.added',
            subject: id,
            before: before ?? null,
            after: trigger,
          });
        return trigger;
      }),
    get: (id) => find(database, id),
    async list(kind) {
      let query = database.selectFrom('triggers').selectAll().orderBy('name').orderBy('id');
      if (kind !== undefined) query = query.where('kind', '=', kind);
      return (await query.execute()).map(toTrigger);
    },
    remove: (id, actor, only) =>
      database.transaction().execute(async (transaction) => {
        await holdRules(transaction);
        const trigger = await find(transaction, id, 'for change');
        if (!trigger || only?.(trigger) === false) return false;
        await transaction.deleteFrom('triggers').where('id', '=', id).execute();
        await settle(transaction, trigger.addresses, actor);
        if (isAudited(trigger))
          await writeAudit(transaction, {
            actor,
            action: 'trigger.removed',
            subject: id,
            before: trigger,
            after: null,
          });
        return true;
      }),
    async renew(id, leaseUntil) {
      await database.updateTable('triggers').set({ lease_until: leaseUntil }).where('id', '=', id).execute();
    },
    async seen(id, until) {
      await database
        .updateTable('triggers')
        .set({ seen_until: until })
        .where('id', '=', id)
        .where('seen_until', '<', until)
        .execute();
    },
  };
}

/** One that listens for a try is gone with its lease; any other keeps its rules until it is removed. */
const isLive = (trigger: Trigger): boolean => !trigger.test || trigger.leaseUntil > timeNow();

/** An execution that waits changes nothing for others, and there is one every few seconds. */
const isAudited = ({ kind }: Trigger): boolean => kind !== 'resume';

/** Live triggers with the address: the try first, then the older registration. */
async function claimants(database: Database, address: string): Promise<Trigger[]> {
  const rows = await database.selectFrom('triggers').selectAll().where('kind', '=', 'mail').execute();
  return rows
    .map(toTrigger)
    .filter((one) => isLive(one) && one.addresses.includes(address))
    .toSorted((a, b) => Number(b.test) - Number(a.test) || (a.createdAt < b.createdAt ? -1 : 1));
}

/** Makes the rules of these addresses what the live triggers say; rules of the file and of the API stay. */
async function settle(transaction: Database, addresses: string[], actor: string): Promise<void> {
  for (const address of new Set(addresses)) {
    const rule = await ruleAt(transaction, splitAddress(address));
    if (rule && rule.source !== 'trigger') continue;
    const [owner] = await claimants(transaction, address);
    if (owner)
      await putRule(
        transaction,
        {
          ...splitAddress(address),
          action: { type: 'trigger', trigger: owner.id, name: owner.name },
          source: 'trigger',
        },
        actor,
      );
    else if (rule) await removeRule(transaction, rule, actor);
  }
}

/** @throws PermanentError `trigger.address_taken`, `trigger.domain_unknown` */
async function refuseForeign(transaction: Database, trigger: Trigger, address: string): Promise<void> {
  const { domain } = splitAddress(address);
  const rule = await ruleAt(transaction, splitAddress(address));
  if (rule && rule.source !== 'trigger') {
    const file = rule.source === 'file';
    if (rule.action.type === 'dmarc')
      throw taken(
        address,
        `reports about ${rule.action.domain}`,
        `Remove them: switchyard dmarc remove ${rule.action.domain}`,
      );
    throw taken(
      address,
      file ? 'a rule in switchyard.yaml' : 'a rule made through the API',
      file ? 'Remove the rule from switchyard.yaml' : `Remove the rule: switchyard rules remove '${address}'`,
    );
  }
  const other = (await claimants(transaction, address)).find(
    (one) => one.id !== trigger.id && one.test === trigger.test,
  );
  if (other)
    throw taken(
      address,
      `the n8n workflow ${JSON.stringify(other.name)}`,
      'Deactivate that workflow (switchyard triggers lists what is registered)',
    );
  const declared = await transaction
    .selectFrom('domains')
    .select('domain')
    .where('domain', '=', domain)
    .executeTakeFirst();
  const named = await transaction
    .selectFrom('rules')
    .select('id')
    .where('domain', '=', domain)
    .where('source', '!=', 'trigger')
    .limit(1)
    .executeTakeFirst();
  if (!declared && !named)
    throw new PermanentError({
      code: 'trigger.domain_unknown',
      message: `${domain} is no domain of this Switchyard, so no mail for ${address} is taken.`,
      fix: `Declare the domain under mail.domains in switchyard.yaml ("${domain}: {}") and start again, or use an address of a domain that is there.`,
      details: { address, domain },
    });
}

function taken(address: string, holder: string, fix: string): PermanentError {
  return new PermanentError({
    code: 'trigger.address_taken',
    message: `Mail for ${address} goes to ${holder} already.`,
    fix: `${fix}, or choose another address.`,
    details: { address, holder },
  });
}

/** `for change`: its lease and its cursor move only after the transaction. */
async function find(database: Database, id: string, why?: 'for change'): Promise<Trigger | undefined> {
  const query = database.selectFrom('triggers').selectAll().where('id', '=', id);
  const row = await (why === undefined ? query : query.forUpdate()).executeTakeFirst();
  return row && toTrigger(row);
}

/** A renewed lease alone is no change that anybody would look for. */
function sameTrigger(one: Trigger, other: Trigger): boolean {
  const settings = (trigger: Trigger) => JSON.stringify({ ...fromTrigger(trigger), lease_until: '', updated_at: '' });
  return settings(one) === settings(other);
}

function toTrigger(row: Selectable<Tables['triggers']>): Trigger {
  return {
    id: row.id,
    kind: row.kind as Trigger['kind'],
    name: row.name,
    callbackUrl: row.callback_url,
    link: row.link,
    tokenId: row.token_id,
    test: fromFlag(row.test),
    addresses: JSON.parse(row.addresses) as string[],
    mode: row.mode as Trigger['mode'],
    timeoutMs: row.timeout_ms,
    troubleReply: fromJson(row.trouble_reply),
    workflows: JSON.parse(row.workflows) as string[],
    outcomes: JSON.parse(row.outcomes) as string[],
    runs: JSON.parse(row.runs) as string[],
    leaseUntil: row.lease_until,
    seenUntil: row.seen_until,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

function fromTrigger(trigger: Trigger): Tables['triggers'] {
  return {
    id: trigger.id,
    kind: trigger.kind,
    name: trigger.name,
    callback_url: trigger.callbackUrl,
    link: trigger.link,
    token_id: trigger.tokenId,
    test: toFlag(trigger.test),
    addresses: JSON.stringify(trigger.addresses),
    mode: trigger.mode,
    timeout_ms: trigger.timeoutMs,
    trouble_reply: toJson(trigger.troubleReply),
    workflows: JSON.stringify(trigger.workflows),
    outcomes: JSON.stringify(trigger.outcomes),
    runs: JSON.stringify(trigger.runs),
    lease_until: trigger.leaseUntil,
    seen_until: trigger.seenUntil,
    created_at: trigger.createdAt,
    updated_at: trigger.updatedAt,
  };
}
