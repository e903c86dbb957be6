/**
 * Whom a message of our own may come from and go to. A workflow with a mistake in it, or a form that strangers fill
 * in, must be able to write only to people whom the operator has named.
 */
import type { Dependencies } from '../dependencies.ts';
import { routeRecipient } from './decide.ts';
import type { RuleAction } from '../../stores/records/port.ts';
import { normalizeAddress, parseAddress } from '../../protocols/mail/address.ts';
import { PermanentError } from '../../protocols/errors.ts';

type Part = Pick<Dependencies, 'configuration' | 'records' | 'keys'>;

/** Where a recipient's mail goes, in the words of the rules. */
export interface Addressee {
  recipient: string;
  ruleId: string | null;
  action: Extract<RuleAction, { type: 'forward' | 'drop' }>;
}

/** How many undeclared recipients an error names. */
const NAMED = 3;

/**
 * The domain of the sender, which must be one of this installation.
 * @throws PermanentError `mail.sender_not_own`
 */
export async function ownDomain(sender: string, { records }: Pick<Dependencies, 'records'>): Promise<string> {
  const { domain } = parseAddress(sender);
  if (await records.rules.isLocalDomain(domain)) return domain;
  throw new PermanentError({
    code: 'mail.sender_not_own',
    message: `${sender} is no address of this installation, so nothing may be sent from it.`,
    fix: `Send from an address of a domain under mail.domains, or declare ${domain} there if it is yours.`,
    details: { sender },
  });
}

/**
 * Recipients of our own domains by their rules, others as they are: destinations of rules, and what `mail.send.to` names.
 * @throws PermanentError `mail.recipient_not_declared`, naming them; `mail.recipient_is_trigger`
 */
export async function resolveRecipients(recipients: string[], dependencies: Part): Promise<Addressee[]> {
  const isDeclared = await declaredOutside(dependencies);
  const addressees: Addressee[] = [];
  const undeclared: string[] = [];
  for (const recipient of recipients) {
    const route = await routeRecipient(recipient, dependencies);
    if (route.kind === 'forward') {
      const action = { type: 'forward' as const, destinations: route.destinations };
      addressees.push({ recipient, ruleId: route.ruleId, action });
    } else if (route.kind === 'drop') addressees.push({ recipient, ruleId: route.ruleId, action: { type: 'drop' } });
    else if (route.kind === 'trigger') throw isTrigger(recipient, route.name);
    // An SRS address stands for anybody at all: it is for bounces, not for us to write to.
    else if (route.kind === 'unknown' && route.code === 'mail.relay_denied' && isDeclared(recipient))
      addressees.push({ recipient, ruleId: null, action: { type: 'forward', destinations: [recipient] } });
    else undeclared.push(recipient);
  }
  if (undeclared.length > 0) throw notDeclared(undeclared);
  return addressees;
}

async function declaredOutside({ configuration, records }: Part): Promise<(recipient: string) => boolean> {
  const declared = new Set(configuration.mail.send.to);
  for (const { enabled, action } of await records.rules.list()) {
    if (!enabled || action.type !== 'forward') continue;
    for (const destination of action.destinations) declared.add(normalizeAddress(destination));
  }
  return (recipient) =>
    declared.has(normalizeAddress(recipient)) || declared.has(`*@${parseAddress(recipient).domain}`);
}

function notDeclared(recipients: string[]): PermanentError {
  const more = recipients.length > NAMED ? ` and ${recipients.length - NAMED} more` : '';
  return new PermanentError({
    code: 'mail.recipient_not_declared',
    message: `Nothing may be sent to ${recipients.slice(0, NAMED).join(', ')}${more}: not an address with a rule here, nor a destination of a rule, nor declared.`,
    fix: 'Add the address, or *@ and its domain, to mail.send.to in switchyard.yaml; for an own domain add a rule.',
    details: { recipient: recipients[0] ?? '', count: recipients.length },
  });
}

function isTrigger(recipient: string, name: string): PermanentError {
  return new PermanentError({
    code: 'mail.recipient_is_trigger',
    message: `Mail for ${recipient} is taken by the n8n workflow ${JSON.stringify(name)}, which a message made here does not reach.`,
    fix: 'Call that workflow directly, or send to an address whose rule forwards.',
    details: { recipient },
  });
}
