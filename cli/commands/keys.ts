/** `switchyard keys`: the key pairs that sign for our domains, and the DNS records to publish for them. */
import { parseArgs } from 'node:util';
import { PermanentError } from '../../protocols/errors.ts';
import { toAsciiDomain } from '../../protocols/mail/address.ts';
import { suggestRecords } from '../../protocols/mail/dns-record.ts';
import type { Configuration } from '../../stores/configuration/schema.ts';
import { openKeys } from '../../stores/keys/open.ts';
import type { KeyStore, PublicKeyRecord } from '../../stores/keys/port.ts';
import type { Records } from '../../stores/records/port.ts';
import { COMMON_OPTIONS, withRecords } from '../records-command.ts';
import { formatTable } from '../table.ts';
import { printHelp, typedWrong } from '../usage.ts';

export const summary = 'Make DKIM and ARC keys, and print the DNS records to publish';

const HELP = `switchyard keys [list] [--json]
switchyard keys create DOMAIN [--selector NAME]
switchyard keys records DOMAIN [--zone | --json]

  list      the keys of this installation; the newest of a domain signs
  create    makes an RSA key of 2048 bits, which signs from then on
  records   what to publish: the key (DKIM and ARC), SPF, DMARC, MX
            --zone prints the lines of a zone file alone
`;

/** A record to publish, in the forms that people paste. */
interface Publication {
  name: string;
  type: 'TXT' | 'MX';
  value: string;
  zoneFile: string;
  /** What it does, in a few words. */
  purpose: string;
}

/** Low numbers are tried first; one host needs one number. */
const MX_PREFERENCE = 10;

export async function run(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      selector: { type: 'string' },
      zone: { type: 'boolean', default: false },
      ...COMMON_OPTIONS,
    },
  });
  if (values.help) return printHelp(HELP);
  const [action = 'list', subject, ...rest] = positionals;
  if (
    rest.length > 0 ||
    !['list', 'create', 'records'].includes(action) ||
    (action === 'list') !== (subject === undefined)
  )
    throw typedWrong(HELP);

  return withRecords(values.config, async (records, configuration) => {
    const keys = await openKeys(records, configuration);
    if (subject === undefined) return list(await keys.list(), values.json);
    const domain = toAsciiDomain(subject);
    if (action === 'create') return await create(domain, values.selector, { keys, records, configuration });
    return print(publications(await newest(keys, domain), configuration), domain, values);
  });
}

function list(keys: PublicKeyRecord[], json: boolean): number {
  if (json) process.stdout.write(`${JSON.stringify(keys, null, 2)}\n`);
  else if (keys.length === 0) process.stdout.write('No key yet. Make one:  switchyard keys create DOMAIN\n');
  else {
    const signing = newestOfEach(keys);
    const rows = keys.map((key) => [
      key.domain,
      key.selector,
      key.algorithm,
      key.createdAt.slice(0, 16).replace('T', ' '),
      signing.has(key) ? 'signs' : 'replaced',
    ]);
    process.stdout.write(
      formatTable(
        ['domain', 'selector', 'algorithm', 'made (UTC)', ''].map((title) => ({ title })),
        rows,
      ),
    );
    process.stdout.write(`\nTo publish:  switchyard keys records ${keys[0]?.domain}\n`);
  }
  return 0;
}

interface Stores {
  keys: KeyStore;
  records: Records;
  configuration: Configuration;
}

async function create(domain: string, selector: string | undefined, stores: Stores): Promise<number> {
  const key = await stores.keys.create(domain, selector);
  await stores.records.audit.write({
    actor: 'command line',
    action: 'key.added',
    subject: domain,
    before: null,
    after: { selector: key.selector, algorithm: key.algorithm },
  });
  const [dkim] = publications(key, stores.configuration);
  process.stdout.write(
    `Made ${key.selector}._domainkey.${domain}; it signs from now on. Publish it before you send more:\n\n`,
  );
  if (dkim) process.stdout.write(pasteable(dkim));
  process.stdout.write(`All records:  switchyard keys records ${domain}\n`);
  return 0;
}

/** @throws PermanentError `key.missing` */
async function newest(keys: KeyStore, domain: string): Promise<PublicKeyRecord> {
  const own = (await keys.list()).filter((key) => key.domain === domain);
  const [key] = newestOfEach(own);
  if (key) return key;
  throw new PermanentError({
    code: 'key.missing',
    message: `There is no key for ${domain}.`,
    fix: `switchyard keys create ${domain}`,
    details: { domain },
  });
}

function newestOfEach(keys: PublicKeyRecord[]): Set<PublicKeyRecord> {
  const byDomain = new Map<string, PublicKeyRecord>();
  for (const key of keys) {
    const other = byDomain.get(key.domain);
    if (!other || other.createdAt <= key.createdAt) byDomain.set(key.domain, key);
  }
  return new Set(byDomain.values());
}

function publications(key: PublicKeyRecord, { hostname }: Configuration): Publication[] {
  const { domain } = key;
  const purposes = ['the key for DKIM and ARC', 'who sends for the domain', 'what to do with mail that fails'];
  const texts = suggestRecords({ domain, hostname, selector: key.selector, publicKey: key.publicKey });
  return [
    ...texts.map(({ name, type, value, zoneFile }, index) => ({
      name,
      type,
      value,
      zoneFile,
      purpose: purposes[index] ?? '',
    })),
    {
      name: domain,
      type: 'MX',
      value: `${MX_PREFERENCE} ${hostname}`,
      zoneFile: `${domain}. IN MX ${MX_PREFERENCE} ${hostname}.`,
      purpose: 'where mail for the domain goes',
    },
  ];
}

function print(records: Publication[], domain: string, { zone, json }: { zone: boolean; json: boolean }): number {
  if (json) process.stdout.write(`${JSON.stringify(records, null, 2)}\n`);
  else if (zone) process.stdout.write(records.map(({ zoneFile }) => `${zoneFile}\n`).join(''));
  else {
    process.stdout.write(
      `Publish these for ${domain}. A domain has one SPF and one DMARC record:
add ours to your SPF record if there is one, and keep your DMARC record.\n\n`,
    );
    process.stdout.write(records.map(pasteable).join(''));
    process.stdout.write(
      'The same as lines of a zone file: --zone. Then see whether they are found:  switchyard doctor\n',
    );
  }
  return 0;
}

function pasteable({ name, type, value, purpose }: Publication): string {
  return `${purpose}\n  name   ${name}\n  type   ${type}\n  value  ${value}\n\n`;
}
