/** Rules as people name them, in the form in which the records keep them. */
import type { Rule, RuleAction } from '../../stores/records/port.ts';
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

/**
 * A rule of the configuration file is applied at every start, so that removing it elsewhere would not last.
 * @throws PermanentError `rule.declared`
 */
export function refuseDeclared(rule: Rule): void {
  if (rule.source !== 'file') return;
  throw new PermanentError({
    code: 'rule.declared',
    message: `The rule for ${rule.localPart}@${rule.domain} stands in switchyard.yaml and would come back at the next start.`,
    fix: 'Remove it from switchyard.yaml.',
  });
}
