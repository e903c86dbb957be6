/** `switchyard dmarc`: domains that reports are taken about, and what to publish for them. */
import { parseArgs } from 'node:util';
import { createResolver } from '../../activities/network/dns.ts';
import type { ReportingRecord } from '../../protocols/dmarc/reporting-records.ts';
import { dayBefore } from '../../protocols/dmarc/identity.ts';
import { addDmarcDomain, removeDmarcDomain } from '../../servers/dmarc/domains.ts';
import { tlsPostUrl } from '../../servers/dmarc/tls-post.ts';
import { loadConfiguration } from '../../stores/configuration/load.ts';
import type { Configuration } from '../../stores/configuration/schema.ts';
import { openKeys } from '../../stores/keys/open.ts';
import type { Records } from '../../stores/records/port.ts';
import { reparse } from '../../servers/jobs/kinds.ts';
import { importPast } from '../dmarc/import.ts';
import { listQuarantine, reread } from '../dmarc/quarantine.ts';
import { askAndFollow } from '../jobs/ask.ts';
import { summary as summaryOf } from '../dmarc/summary.ts';
import { COMMON_OPTIONS, withRecords } from '../records-command.ts';
import { formatTable } from '../table.ts';
import { printHelp, typedWrong } from '../usage.ts';

export const summary = 'Take reports about domains: add one, list them';

const HELP = `switchyard dmarc [list] [--json]
switchyard dmarc add DOMAIN [--address LOCAL@OURDOMAIN] [--json]
switchyard dmarc remove DOMAIN
switchyard dmarc summary [DOMAIN] [--days 7] [--send TO[,TO] [--from ADDRESS]] [--json]
switchyard dmarc import FILE|FOLDER|MBOX [--detach]
switchyard dmarc reparse [--detach]
switchyard dmarc quarantine [DOMAIN] [--json]
switchyard dmarc reread ID [--domain DOMAIN] [--detach] [--json]

  add       gives the domain a report address and prints what to publish;
            again, it prints the same, or moves the reports to another address
  list      the domains, their addresses, and what was reported of late
  remove    mail to the address is refused; what was reported stays
  summary   what was reported up to yesterday beside as many days before, new
            senders that fail, advice; of one domain or of all
  --send    mails it, as text and HTML; who may get mail: mail.send.to
  import    publishes reports of the past, each once: report files (XML, gzip, zip,
            JSON), mails with reports, folders of them, Maildirs, mboxes, archives
            (zip, tar, tar.gz); what each is its bytes say. Add the domains first:
            reports about others are refused
  reparse   reads all stored reports anew, as after a change of the parser; the
            old figures hold until the new ones are complete (switchyard jobs)
  quarantine
            what came as a report and was not taken, newest first
  reread    reads one of these again, without the limits of dmarc.quota: what is
            published leaves quarantine, what is refused again is in it anew
  --domain  that it must be about, where it is not the one of its address
  --detach  does not wait for its end; Ctrl-C ends the waiting, not the job:
            switchyard jobs cancel ID does
`;
const ACTOR = 'command line';
/** Days that the list sums up, today included. */
const DAYS = 30;

export async function run(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      address: { type: 'string' },
      days: { type: 'string' },
      send: { type: 'string' },
      from: { type: 'string' },
      detach: { type: 'boolean', default: false },
      domain: { type: 'string' },
      ...COMMON_OPTIONS,
    },
  });
  if (values.help) return printHelp(HELP);
  const [action = 'list', domain, ...rest] = positionals;
  const isAlone = ['list', 'reparse'].includes(action);
  const isWhole = isAlone ? domain === undefined : ['add', 'remove', 'import', 'reread'].includes(action) && domain;
  if (rest.length > 0 || !(isWhole || ['summary', 'quarantine'].includes(action))) throw typedWrong(HELP);
  // It opens more than the records.
  if (action === 'summary') return summaryOf({ domain, ...values }, await loadConfiguration({ file: values.config }));
  return withRecords(values.config, async (records, configuration) => {
    if (action === 'add') return await add({ domain: domain ?? '', ...values }, records, configuration);
    if (action === 'import') return await importPast(domain ?? '', { configuration, records, detach: values.detach });
    if (action === 'reparse') return await askAndFollow(reparse, {}, { configuration, records, detach: values.detach });
    if (action === 'quarantine') return await listQuarantine({ domain, json: values.json }, records);
    if (action === 'reread')
      return await reread({ ...values, id: domain ?? '' }, { records, configuration, actor: ACTOR });
    if (action === 'remove') return await remove(domain ?? '', records);
    return await list(records, values.json);
  });
}

async function add(
  { domain, address, json }: { domain: string; address?: string; json: boolean },
  records: Records,
  configuration: Configuration,
): Promise<number> {
  const surroundings = {
    resolver: createResolver(configuration.dns),
    postUrl: (name: string) => tlsPostUrl(name, configuration, () => openKeys(records, configuration)),
  };
  const added = await addDmarcDomain({ domain, address }, records, surroundings, ACTOR);
  if (json) process.stdout.write(`${JSON.stringify(added, null, 2)}\n`);
  else {
    process.stdout.write(`Reports about ${added.domain} come to ${added.address}.\n\n`);
    for (const zone of new Set(added.records.map((one) => one.zone))) {
      process.stdout.write(`Publish in the DNS of ${zone}:\n\n`);
      process.stdout.write(
        added.records
          .filter((one) => one.zone === zone)
          .map(pasteable)
          .join(''),
      );
    }
    if (added.post === null)
      process.stdout.write('Reports on TLS come by HTTPS too where http.publicUrl is an https URL (docs/dmarc.md).\n');
    process.stdout.write('The first reports come within a day or two:  switchyard dmarc list\n');
  }
  return 0;
}

const pasteable = ({ name, type, value, add, note, purpose }: ReportingRecord): string =>
  [
    purpose,
    `  name   ${name}`,
    `  type   ${type}`,
    value === null ? `  add    ${add}` : `  value  ${value}`,
    ...(note === null ? [] : [`  note   ${note}`]),
    '\n',
  ].join('\n');

async function list(records: Records, json: boolean): Promise<number> {
  const today = new Date().toISOString().slice(0, 10);
  const domains = await records.dmarc.queries.domains(dayBefore(today, DAYS - 1));
  if (json) process.stdout.write(`${JSON.stringify(domains, null, 2)}\n`);
  else if (domains.length === 0)
    process.stdout.write('No domain yet. Take reports about one:  switchyard dmarc add example.com\n');
  else
    process.stdout.write(
      formatTable(
        [
          { title: 'domain' },
          { title: 'reports come to' },
          { title: 'last report (UTC)', fixed: true },
          { title: 'reports', align: 'right', fixed: true },
          { title: `messages, ${DAYS} days`, align: 'right', fixed: true },
          { title: 'passed', align: 'right', fixed: true },
        ],
        domains.map(({ domain, address, lastReportAt, reports, counts: { messages, passed } }) => [
          domain,
          address ?? 'nobody, any more',
          lastReportAt?.slice(0, 16).replace('T', ' ') ?? 'none yet',
          reports.toLocaleString('en'),
          messages.toLocaleString('en'),
          messages === 0 ? '' : `${((passed / messages) * 100).toFixed(1)} %`,
        ]),
      ),
    );
  return 0;
}

async function remove(domain: string, records: Records): Promise<number> {
  await removeDmarcDomain(domain, records.dmarc, ACTOR);
  process.stdout.write(`Reports about ${domain} are taken no more; those that came are still there.\n`);
  return 0;
}
