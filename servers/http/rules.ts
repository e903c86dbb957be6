/** Rules as people name them, in the form in which the records keep them. */
import type { Records, Rule, RuleAction } from '../../stores/records/port.ts';
import { PermanentError } from '../../protocols/errors.ts';
import { normalizeLocalPart, parseAddress } from '../../protocols/mail/address.ts';

/** The address of a rule: `*` stands for every other address of the domain. */
export function ruleAddress(localPart: string, domain: string): { domain: string; localPart: string } {
  const address = parseAddress(`${localPart === '*' ? 'postmaster' : localPart}@${domain}`);
  return { domain: address.domain, localPart: localPart === '*' ? '*' : normalizeLocalPart(address.localPart) };
}

/** A domain as the records keep it: A-label, lower case. */
export function ruleDomain(domain: string): string {
  return ruleAddress('*', domain).domain;
}

/** The action, with every destination checked to be an address. */
export function checkAction(action: RuleAction): RuleAction {
  if (action.type === 'forward') action.destinations.forEach(parseAddress);
  return action;
}

/** What happens to the mail of a rule, in words. */
export function actionWords(action: RuleAction): string {
  if (action.type === 'forward') return `forward to ${action.destinations.join(', ')}`;
  if (action.type === 'dmarc') return `reports about ${action.domain}`;
  return action.type === 'drop' ? 'drop' : `n8n workflow ${action.name}`;
}

/**
 * Makes a rule, or replaces the one of the same address unless an n8n workflow has registered it or reports come to it.
 * @throws PermanentError `rule.declared`
 */
export async function putRule(
  { rules }: Pick<Records, 'rules'>,
  rule: Pick<Rule, 'domain' | 'localPart' | 'action'> & { enabled?: boolean },
  actor: string,
): Promise<Rule> {
  const before = (await rules.list(rule.domain)).find((one) => one.localPart === rule.localPart);
  if (before?.source === 'trigger' || before?.source === 'dmarc') refuseDeclared(before);
  return rules.put({ ...rule, source: 'api' }, actor);
}

/**
 * A rule of the configuration file is applied at every start, and one of a trigger at every renewal: removing it
 * elsewhere would not last. One of a report address goes with its domain.
 * @throws PermanentError `rule.declared`
 */
export function refuseDeclared(rule: Rule): void {
  if (rule.source === 'api') return;
  const address = `${rule.localPart}@${rule.domain}`;
  throw new PermanentError({ code: 'rule.declared', ...holderOf(rule, address) });
}

function holderOf({ source, action }: Rule, address: string): { message: string; fix: string } {
  if (source === 'file')
    return {
      message: `The rule for ${address} stands in switchyard.yaml and would come back at the next start.`,
      fix: 'Remove it from switchyard.yaml.',
    };
  if (action.type === 'dmarc')
    return {
      message: `Reports about ${action.domain} come to ${address}.`,
      fix: `If they are to come no more: switchyard dmarc remove ${action.domain}`,
    };
  const name = action.type === 'trigger' ? action.name : '';
  return {
    message: `Mail for ${address} belongs to the n8n workflow ${JSON.stringify(name)} while that is active.`,
    fix: 'Deactivate the workflow in n8n. If n8n is gone for good: switchyard triggers remove ID',
  };
}
