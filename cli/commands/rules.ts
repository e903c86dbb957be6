/** `switchyard rules`: which addresses are known, and where their mail goes. */
import { parseArgs } from 'node:util';
import {
  actionWords,
  checkAction,
  putRule,
  refuseDeclared,
  ruleAddress,
  ruleDomain,
} from '../../servers/http/rules.ts';
import type { Records, RuleAction } from '../../stores/records/port.ts';
import { PermanentError } from '../../protocols/errors.ts';
import { COMMON_OPTIONS, withRecords } from '../records-command.ts';
import { formatTable } from '../table.ts';
import { printHelp, typedWrong, UsageError } from '../usage.ts';

export const summary = 'List, add and remove the rules for mail';

const HELP = `switchyard rules [list] [DOMAIN] [--json]
switchyard rules add ADDRESS --forward DESTINATION [--forward DESTINATION]
switchyard rules add ADDRESS --drop
switchyard rules remove ADDRESS

  *@example.com stands for every other address of example.com. Quote it in a shell.
`;
const ACTOR = 'command line';

export async function run(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      forward: { type: 'string', multiple: true },
      drop: { type: 'boolean' },
      ...COMMON_OPTIONS,
    },
  });
  if (values.help) return printHelp(HELP);
  const [action = 'list', subject] = positionals;
  return withRecords(values.config, async (records) => {
    if (action === 'list') return await list(records, subject, values.json);
    if (action === 'add' && subject)
      return await add(records, subject, actionOf(values.forward ?? [], values.drop ?? false));
    if (action === 'remove' && subject) return await remove(records, subject);
    throw typedWrong(HELP);
  });
}

async function list(records: Records, domain: string | undefined, json: boolean): Promise<number> {
  const rules = await records.rules.list(domain === undefined ? undefined : ruleDomain(domain));
  if (json) process.stdout.write(`${JSON.stringify(rules, null, 2)}\n`);
  else if (rules.length === 0)
    process.stdout.write(
      'No rule yet: every recipient is refused. Make one:  switchyard rules add alice@example.com --forward alice@example.net\n',
    );
  else {
    const columns = [
      { title: 'address' },
      { title: 'what happens' },
      { title: 'from', fixed: true as const },
      { title: '', fixed: true as const },
    ];
    process.stdout.write(
      formatTable(
        columns,
        rules.map((rule) => [
          `${rule.localPart}@${rule.domain}`,
          actionWords(rule.action),
          SOURCES[rule.source],
          rule.enabled ? '' : 'off',
        ]),
      ),
    );
  }
  return 0;
}

const SOURCES = { file: 'switchyard.yaml', api: 'API', trigger: 'n8n', dmarc: 'switchyard dmarc' } as const;

async function add(records: Records, address: string, action: RuleAction): Promise<number> {
  const { localPart, domain } = split(address);
  const rule = await putRule(records, { ...ruleAddress(localPart, domain), action: checkAction(action) }, ACTOR);
  process.stdout.write(`${rule.localPart}@${rule.domain}: ${actionWords(rule.action)}\n`);
  return 0;
}

async function remove(records: Records, address: string): Promise<number> {
  const wanted = split(address);
  const { localPart, domain } = ruleAddress(wanted.localPart, wanted.domain);
  const rule = (await records.rules.list(domain)).find((one) => one.localPart === localPart);
  if (!rule)
    throw new PermanentError({
      code: 'rule.missing',
      message: `There is no rule for ${address}.`,
      fix: 'switchyard rules lists them.',
    });
  refuseDeclared(rule);
  await records.rules.remove(rule.id, ACTOR);
  process.stdout.write(`Removed the rule for ${localPart}@${domain}.\n`);
  return 0;
}

function actionOf(forward: string[], drop: boolean): RuleAction {
  if (drop === forward.length > 0)
    throw new UsageError('A rule either forwards or drops: give --forward DESTINATION, once or more, or --drop.');
  return drop ? { type: 'drop' } : { type: 'forward', destinations: forward };
}

function split(address: string): { localPart: string; domain: string } {
  const at = address.lastIndexOf('@');
  if (at < 1)
    throw new UsageError(`${JSON.stringify(address)} is no address; write alice@example.com or "*@example.com".`);
  return { localPart: address.slice(0, at), domain: address.slice(at + 1) };
}
