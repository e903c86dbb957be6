/** `switchyard send-test`: one small real mail over SMTP to the running installation, and where to see what became of it. */
import { parseArgs } from 'node:util';
import { PermanentError, messageOf } from '../../protocols/errors.ts';
import { parseAddress } from '../../protocols/mail/address.ts';
import { runUrl } from '../../servers/temporal.ts';
import { localUrl, resolveAddresses, type Endpoint } from '../../stores/configuration/addresses.ts';
import { loadConfiguration } from '../../stores/configuration/load.ts';
import type { Configuration } from '../../stores/configuration/schema.ts';
import { openRecords } from '../../stores/records/open.ts';
import { compose } from '../demo/messages.ts';
import { submit, type Told } from '../demo/send.ts';
import { printHelp, UsageError } from '../usage.ts';

export const summary = 'Send a small mail to the running installation';

const HELP = `switchyard send-test [options]

  --to ADDRESS     default: hello@ the first domain of the configuration
  --from ADDRESS   default: you@sender.test, for which SPF passes in the demo configuration
  --subject TEXT
  --json           print the answer as JSON
`;

const SENDER = 'you@sender.test';

export async function run(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      to: { type: 'string' },
      from: { type: 'string', default: SENDER },
      subject: { type: 'string', default: 'Hello from switchyard send-test' },
      json: { type: 'boolean', default: false },
      config: { type: 'string' },
      verbose: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) return printHelp(HELP);
  const configuration = await loadConfiguration({ file: values.config });
  const addresses = resolveAddresses(configuration);
  const to = values.to ?? defaultRecipient(configuration);
  const { domain } = parseAddress(values.from);
  parseAddress(to);
  // A line end would begin a header field of its own.
  if (/[\r\n]/.test(values.subject)) throw new UsageError('The subject is one line.');

  const since = new Date();
  const told = await send(addresses.smtp, {
    sender: { address: addresses.smtp.host.includes(':') ? '::1' : '127.0.0.1', helo: domain },
    from: values.from,
    to: [to],
    message: compose({ from: values.from, to, subject: values.subject, body: `Sent at ${since.toISOString()}.\r\n` }),
  });

  const records = await openRecords(configuration);
  const [record] = await records.activity
    .list({ recipient: to, since: since.toISOString(), limit: 1 })
    .finally(() => records.close());
  const run = record?.workflowId ? runUrl(addresses, configuration.temporal.namespace, record.workflowId) : null;
  const accepted = told.code < 300;
  if (values.json) {
    process.stdout.write(`${JSON.stringify({ accepted, reply: told.reply, to, activity: record?.id ?? null, run })}\n`);
    return accepted ? 0 : 1;
  }
  const api = configuration.http.publicUrl ?? localUrl(addresses.http);
  const places: [string, string | null][] = [
    ['the server said', told.reply],
    ['arrived', accepted && addresses.inbox && goesToInbox(configuration, to) ? `${api}/inbox` : null],
    ['run', run],
    ['activity', record ? `switchyard activity --recipient ${to}` : null],
  ];
  process.stdout.write(`\n  ${values.from} -> ${to}\n\n`);
  for (const [name, place] of places) if (place !== null) process.stdout.write(`  ${name.padEnd(17)}${place}\n`);
  if (!record)
    process.stdout.write(`\n  No record of it in ${configuration.state}: another installation listens there.\n`);
  process.stdout.write('\n');
  return accepted ? 0 : 1;
}

function defaultRecipient({ mail }: Configuration): string {
  const [domain] = Object.keys(mail.domains);
  if (domain !== undefined) return `hello@${domain}`;
  throw new UsageError('The configuration names no domain yet: say who it is for with --to ADDRESS.');
}

/** The local inbox is where the transport map says so. */
function goesToInbox({ mail, outbound }: Configuration, to: string): boolean {
  const { localPart, domain } = parseAddress(to);
  const rules = mail.domains[domain]?.rules ?? [];
  const rule = rules.find((one) => one.address === localPart.toLowerCase()) ?? rules.find((one) => one.address === '*');
  return (rule?.forward ?? []).some((destination) => outbound.transport[parseAddress(destination).domain] === 'inbox');
}

async function send(server: Endpoint, submission: Parameters<typeof submit>[1]): Promise<Told> {
  try {
    return await submit(server, submission);
  } catch (error) {
    throw new PermanentError({
      code: 'send-test.no_answer',
      message: `No mail could be handed to ${server.host}:${server.port}: ${messageOf(error)}.`,
      fix: 'Start Switchyard in this folder with: switchyard up. If it runs, switchyard doctor says what is wrong.',
      cause: error,
    });
  }
}
