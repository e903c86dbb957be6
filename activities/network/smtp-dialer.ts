/** The dialer of the house: routes and delivers mail over SMTP. The port is `dialer.ts`. */
import type { Endpoint } from '../../stores/configuration/addresses.ts';
import type { Configuration } from '../../stores/configuration/schema.ts';
import type { Dialer } from './dialer.ts';
import { createPolicyFinder } from './mta-sts-fetch.ts';
import type { Resolver } from './resolver.ts';
import { findRoute, readTransport } from './route.ts';
import { createSlots } from './slots.ts';
import { createConnectionPool } from './smtp-pool.ts';
import { transmitOver } from './transmit.ts';

export interface DialerOptions {
  configuration: Configuration;
  resolver: Resolver;
  /** Our name for EHLO, and to see a loop. */
  hostname: string;
  /** The local inbox, for `inbox` in the transport map; null when it is off. */
  inbox: Endpoint | null;
  /** One more certificate authority (PEM), beside the usual ones, for MTA-STS. */
  ca?: string;
  /** Port of MTA-STS policy hosts. @default 443 */
  policyPort?: number;
}

export function createDialer({ configuration, resolver, hostname, inbox, ca, policyPort }: DialerOptions): Dialer {
  const { outbound } = configuration;
  const policies = createPolicyFinder({ resolver, allow: outbound.allow, ca, port: policyPort });
  const transport = readTransport(outbound.transport);
  const slots = createSlots(outbound.connectionsPerDestination);
  const pool = createConnectionPool();
  const closing = new AbortController();
  const underWay = new Set<Promise<unknown>>();

  const run = <Result>(work: (signal: AbortSignal) => Promise<Result>, signal: AbortSignal): Promise<Result> => {
    const running = work(AbortSignal.any([signal, closing.signal]));
    const settled = running.then(
      () => undefined,
      () => undefined,
    );
    underWay.add(settled);
    void settled.then(() => underWay.delete(settled));
    return running;
  };

  return {
    route: (domain, signal) =>
      run((either) => findRoute(domain, { outbound, transport, resolver, policies, hostname, inbox }, either), signal),
    transmit: (transmission, signal) =>
      run((either) => transmitOver(transmission, { outbound, hostname, slots, pool, ca }, either), signal),
    async close() {
      closing.abort();
      await Promise.all(underWay);
      await pool.close();
    },
  };
}
