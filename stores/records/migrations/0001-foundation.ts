/** The tables of the first release: rules, mail activity, deliveries, blob owners, tokens, audit, inbox, keys. */
import type { CreateTableBuilder, Kysely } from 'kysely';
import type { Migration } from './index.ts';

export const foundation: Migration = {
  name: 'foundation',
  async up(database) {
    await createRules(database);
    await createActivity(database);
    await createRest(database);
  },
};

async function createRules(database: Kysely<unknown>): Promise<void> {
  await table(database, 'domains', ['source', 'created_at'], [], (builder) =>
    builder.addColumn('domain', 'text', (column) => column.primaryKey()),
  );
  await withId(
    database,
    'rules',
    ['domain', 'local_part', 'action', 'source', 'created_at', 'updated_at'],
    [],
    ['enabled'],
  );
  await database.schema.createIndex('rules_address').on('rules').columns(['domain', 'local_part']).unique().execute();
}

async function createActivity(database: Kysely<unknown>): Promise<void> {
  await withId(
    database,
    'activity',
    ['received_at', 'message_id', 'source_address', 'helo', 'sender', 'recipient', 'recipient_domain', 'outcome'],
    [
      'delivery_key',
      'tls',
      'header_from',
      'header_message_id',
      'subject',
      'blob',
      'authentication',
      'rule_id',
      'action',
      'error_code',
      'error_text',
      'reply',
      'workflow_id',
      'closed_at',
    ],
    ['attempts', 'resent'],
  );
  // A unique index takes any number of nulls, in SQLite as in PostgreSQL.
  await database.schema.createIndex('activity_delivery_key').on('activity').column('delivery_key').unique().execute();
  await index(database, 'activity', ['outcome', 'received_at']);
  await index(database, 'activity', ['outcome', 'id']);
  await index(database, 'activity', ['received_at']);
  // Each ends in the id: a page of a filtered list is one walk along the index.
  await index(database, 'activity', ['recipient', 'id']);
  await index(database, 'activity', ['recipient_domain', 'id']);
  await index(database, 'activity', ['sender', 'id']);
  await table(
    database,
    'deliveries',
    ['activity_id', 'destination', 'state', 'updated_at'],
    ['host', 'reply'],
    (builder) =>
      builder
        .addColumn('attempts', 'integer', (column) => column.notNull())
        .addColumn('resent', 'integer', (column) => column.notNull())
        .addPrimaryKeyConstraint('deliveries_key', ['activity_id', 'destination'] as never),
  );
}

async function createRest(database: Kysely<unknown>): Promise<void> {
  await table(database, 'blob_owners', ['key', 'owner', 'sha256'], ['expires_at'], (builder) =>
    builder
      .addColumn('size', 'bigint', (column) => column.notNull())
      .addPrimaryKeyConstraint('blob_owners_key', ['key', 'owner'] as never),
  );
  await index(database, 'blob_owners', ['owner']);
  await index(database, 'blob_owners', ['expires_at']);

  await withId(database, 'tokens', ['name', 'hash', 'scopes', 'created_at'], ['last_used_at']);
  await database.schema.createIndex('tokens_hash').on('tokens').column('hash').unique().execute();

  await withId(database, 'audit', ['at', 'actor', 'action', 'subject'], ['before', 'after']);

  await withId(
    database,
    'inbox',
    ['received_at', 'sender', 'recipients', 'blob'],
    ['header_from', 'subject', 'authentication'],
  );
  await table(database, 'inbox_recipients', ['message_id', 'recipient'], [], (builder) =>
    builder.addPrimaryKeyConstraint('inbox_recipients_key', ['recipient', 'message_id'] as never),
  );

  await withId(database, 'keys', ['domain', 'selector', 'public_key', 'sealed', 'created_at']);
  await database.schema.createIndex('keys_selector').on('keys').columns(['domain', 'selector']).unique().execute();
  await index(database, 'keys', ['domain', 'id']);

  await table(database, 'secrets', ['sealed'], [], (builder) =>
    builder.addColumn('name', 'text', (column) => column.primaryKey()),
  );
  await table(database, 'probe', ['value'], [], (builder) =>
    builder.addColumn('name', 'text', (column) => column.primaryKey()),
  );
}

type Builder = CreateTableBuilder<string, never>;

/** A table with text columns, required and optional, and what `more` adds. */
async function table(
  database: Kysely<unknown>,
  name: string,
  required: string[],
  optional: string[],
  more: (builder: Builder) => { execute(): Promise<void> },
): Promise<void> {
  let builder = database.schema.createTable(name) as unknown as CreateTableBuilder<string, string>;
  for (const column of required) builder = builder.addColumn(column, 'text', (one) => one.notNull());
  for (const column of optional) builder = builder.addColumn(column, 'text');
  await more(builder as unknown as Builder).execute();
}

async function withId(
  database: Kysely<unknown>,
  name: string,
  required: string[],
  optional: string[] = [],
  integers: string[] = [],
): Promise<void> {
  await table(database, name, required, optional, (builder) => {
    let whole = builder.addColumn('id', 'text', (column) => column.primaryKey()) as unknown as CreateTableBuilder<
      string,
      string
    >;
    for (const column of integers) whole = whole.addColumn(column, 'integer', (one) => one.notNull());
    return whole;
  });
}

async function index(database: Kysely<unknown>, on: string, columns: string[]): Promise<void> {
  await database.schema
    .createIndex([on, ...columns].join('_'))
    .on(on)
    .columns(columns)
    .execute();
}
