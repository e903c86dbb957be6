/** One connection to the Temporal server, and the search attributes that runs carry. */
import { Client, Connection } from '@temporalio/client';
import { loadClientConnectConfig, type ClientConnectConfig } from '@temporalio/envconfig';
import proto from '@temporalio/proto';
import type { Configuration } from '../stores/configuration/schema.ts';
import type { Addresses } from '../stores/configuration/addresses.ts';
import { SEARCH_ATTRIBUTES } from '../workflows/contract.ts';

/**
 * How to connect: the address, and for a server that is not ours what the Temporal SDKs read from TEMPORAL_* and the
 * TOML profile (TLS, API key, metadata). Ours speaks plain text on loopback, whatever the environment says.
 */
export function connectionOptions(
  configuration: Configuration,
  addresses: Addresses,
): ClientConnectConfig['connectionOptions'] {
  const external = process.env.TEMPORAL_ADDRESS !== undefined || configuration.temporal.address !== undefined;
  return { ...(external ? loadClientConnectConfig().connectionOptions : {}), address: addresses.temporal };
}

/** Connects lazily, so that a process starts, and answers 4xx or 503, while the server is away. */
export function lazyTemporal(configuration: Configuration, addresses: Addresses): Client {
  const connection = Connection.lazy(connectionOptions(configuration, addresses));
  return new Client({ connection, namespace: configuration.temporal.namespace });
}

const { IndexedValueType } = proto.temporal.api.enums.v1;

/** Registers the house's search attributes where they are missing; the server keeps them. */
export async function ensureSearchAttributes(client: Client): Promise<void> {
  const namespace = client.options.namespace;
  const operator = (client.connection as Connection).operatorService;
  const known = await operator.listSearchAttributes({ namespace });
  const missing = SEARCH_ATTRIBUTES.filter((name) => !(name in (known.customAttributes ?? {})));
  if (missing.length === 0) return;
  await operator.addSearchAttributes({
    namespace,
    searchAttributes: Object.fromEntries(missing.map((name) => [name, IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD])),
  });
}

/** Page of a run in the Temporal UI, or null where the UI's address is not known. */
export function runUrl(addresses: Addresses, namespace: string, workflowId: string): string | null {
  if (!addresses.temporalUi) return null;
  return `${addresses.temporalUi}/namespaces/${encodeURIComponent(namespace)}/workflows/${encodeURIComponent(workflowId)}`;
}
