/** DMARC, TLS and failure reports: whose they are, what they say, what was refused, and the sums that pages are made of. */
import { sql, type CreateTableBuilder, type Kysely } from 'kysely';
import type { Migration } from './index.ts';

export const dmarc: Migration = {
  name: 'dmarc',
  async up(database) {
    await createDomains(database);
    await createReports(database);
    await createSums(database);
    await createQuarantine(database);
  },
};

async function createDomains(database: Kysely<unknown>): Promise<void> {
  await table(database, 'dmarc_domains', { domain: 'text', address: 'text', created_at: 'text' }, ['domain']);
  await index(database, 'dmarc_domains', ['address'], 'unique');
  await table(
    database,
    'dmarc_hosts',
    { address: 'text', name: 'text?', country: 'text?', network: 'text?', looked_up_at: 'text' },
    ['address'],
  );
}

async function createReports(database: Kysely<unknown>): Promise<void> {
  await table(
    database,
    'dmarc_generations',
    { number: 'integer', state: 'text', parser: 'integer', started_at: 'text', switched_at: 'text?' },
    ['number'],
  );
  await sql`insert into dmarc_generations (number, state, parser, started_at) values (1, 'current', 1, ${new Date().toISOString()})`.execute(
    database,
  );
  await table(
    database,
    'dmarc_reports',
    {
      generation: 'integer',
      id: 'text',
      identity: 'text',
      kind: 'text',
      domain: 'text',
      policy_domain: 'text',
      organization: 'text?',
      email: 'text?',
      report_id: 'text?',
      period_begin: 'bigint',
      period_end: 'bigint',
      day: 'text',
      received_at: 'text',
      published_at: 'text',
      sha256: 'text',
      blob: 'text',
      file: 'text?',
      mail: 'text?',
      policy: 'text?',
      details: 'text',
      warnings: 'text',
      records: 'integer',
      messages: 'bigint',
      passed: 'bigint',
      parser: 'integer',
    },
    ['generation', 'id'],
  );
  await index(database, 'dmarc_reports', ['generation', 'identity'], 'unique');
  await index(database, 'dmarc_reports', ['generation', 'domain', 'kind', 'id']);
  await index(database, 'dmarc_reports', ['generation', 'domain', 'kind', 'day']);
  await index(database, 'dmarc_reports', ['generation', 'domain', 'received_at']);
  await table(
    database,
    'dmarc_records',
    {
      generation: 'integer',
      report: 'text',
      number: 'integer',
      domain: 'text',
      source: 'text',
      count: 'bigint',
      disposition: 'text',
      dkim: 'text',
      spf: 'text',
      exempt: 'integer',
      service: 'text',
      header_from: 'text?',
      envelope_from: 'text?',
      envelope_to: 'text?',
      results: 'text',
    },
    ['generation', 'report', 'number'],
  );
  await index(database, 'dmarc_records', ['generation', 'domain', 'source', 'report', 'number']);
  await table(database, 'dmarc_staging', { generation: 'integer', report: 'text', staged_at: 'text' }, [
    'generation',
    'report',
  ]);
  await table(
    database,
    'dmarc_tls_policies',
    {
      generation: 'integer',
      report: 'text',
      number: 'integer',
      domain: 'text',
      day: 'text',
      policy_domain: 'text',
      type: 'text',
      successful: 'bigint',
      failed: 'bigint',
      policy: 'text',
    },
    ['generation', 'report', 'number'],
  );
  await index(database, 'dmarc_tls_policies', ['generation', 'domain', 'day', 'successful', 'failed']);
  await table(
    database,
    'dmarc_tls_failures',
    {
      generation: 'integer',
      report: 'text',
      policy: 'integer',
      number: 'integer',
      domain: 'text',
      day: 'text',
      result: 'text',
      sessions: 'bigint',
      sending_ip: 'text?',
      receiving_host: 'text?',
      receiving_ip: 'text?',
      details: 'text',
    },
    ['generation', 'report', 'policy', 'number'],
  );
  await index(database, 'dmarc_tls_failures', ['generation', 'domain', 'day', 'result', 'sessions']);
  await table(
    database,
    'dmarc_failures',
    {
      generation: 'integer',
      report: 'text',
      domain: 'text',
      source: 'text?',
      arrived_at: 'bigint?',
      incidents: 'bigint',
      details: 'text',
    },
    ['generation', 'report'],
  );
  await index(database, 'dmarc_failures', ['generation', 'domain', 'report']);
}

/** A dashboard reads these and no records: some thousand rows a domain and year, whatever was reported. */
async function createSums(database: Kysely<unknown>): Promise<void> {
  await table(
    database,
    'dmarc_days',
    {
      generation: 'integer',
      domain: 'text',
      day: 'text',
      service: 'text',
      disposition: 'text',
      dkim: 'text',
      spf: 'text',
      messages: 'bigint',
      exempt: 'bigint',
      records: 'bigint',
    },
    ['generation', 'domain', 'day', 'service', 'disposition', 'dkim', 'spf'],
  );
  const counters = {
    messages: 'bigint',
    passed: 'bigint',
    dkim: 'bigint',
    spf: 'bigint',
    quarantined: 'bigint',
    rejected: 'bigint',
  } as const;
  await table(
    database,
    'dmarc_source_days',
    { generation: 'integer', domain: 'text', service: 'text', day: 'text', source: 'text', ...counters },
    ['generation', 'domain', 'service', 'day', 'source'],
  );
  await index(database, 'dmarc_source_days', ['generation', 'domain', 'day', 'source']);
  await table(
    database,
    'dmarc_sources',
    {
      generation: 'integer',
      domain: 'text',
      source: 'text',
      service: 'text',
      first_day: 'text',
      last_day: 'text',
      messages: 'bigint',
      passed: 'bigint',
    },
    ['generation', 'domain', 'source'],
  );
  await index(database, 'dmarc_sources', ['generation', 'domain', 'first_day']);
}

async function createQuarantine(database: Kysely<unknown>): Promise<void> {
  await table(
    database,
    'dmarc_quarantine',
    {
      id: 'text',
      act: 'text',
      domain: 'text?',
      address: 'text?',
      sender: 'text?',
      received_at: 'text',
      code: 'text',
      message: 'text',
      blob: 'text',
      file: 'text?',
      mail: 'text?',
      expires_at: 'text',
    },
    ['id'],
  );
  await index(database, 'dmarc_quarantine', ['act'], 'unique');
  await index(database, 'dmarc_quarantine', ['domain', 'id']);
  await index(database, 'dmarc_quarantine', ['expires_at']);
}

type Column = 'text' | 'integer' | 'bigint';

/** @param columns with `?` where null may stand */
async function table(
  database: Kysely<unknown>,
  name: string,
  columns: Record<string, Column | `${Column}?`>,
  key: string[],
): Promise<void> {
  let builder = database.schema.createTable(name) as unknown as CreateTableBuilder<string, string>;
  for (const [column, type] of Object.entries(columns))
    builder = builder.addColumn(column, type.replace('?', '') as Column, (one) =>
      type.endsWith('?') ? one : one.notNull(),
    );
  await builder.addPrimaryKeyConstraint(`${name}_key`, key as never).execute();
}

async function index(database: Kysely<unknown>, on: string, columns: string[], unique?: 'unique'): Promise<void> {
  const builder = database.schema
    .createIndex([on, ...columns].join('_'))
    .on(on)
    .columns(columns);
  await (unique ? builder.unique() : builder).execute();
}
