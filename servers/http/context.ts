/** What every route gets: the stores, the Temporal client, the steps. Opened once, handed in, nothing global. */
import type { HttpBindings } from '@hono/node-server';
import type { Client } from '@temporalio/client';
import type { Logger } from 'pino';
import type { Dependencies } from '../../activities/dependencies.ts';
import type { Step } from '../../activities/step.ts';
import type { Addresses } from '../../stores/configuration/addresses.ts';
import type { Configuration } from '../../stores/configuration/schema.ts';
import type { TokenRecord } from '../../stores/records/port.ts';
import type { HttpMetrics } from './metrics.ts';
import type { TokenGate } from './token-gate.ts';

export interface HttpContext {
  configuration: Configuration;
  addresses: Addresses;
  log: Logger;
  dependencies: Dependencies;
  temporal: Client;
  /** Who presents a token is looked up here. */
  tokenGate: TokenGate;
  steps: readonly Step[];
  metrics: HttpMetrics;
  /** Version of this build. */
  version: string;
  /** Signs the cookie of the pages. */
  cookieSecret: Buffer;
  /** Aborts when the process was told to stop: long polls end at once. */
  closing: AbortSignal;
  /** Aborts when the grace time is over: steps end. */
  ended: AbortSignal;
}

/** Hono's environment: Node's request below, our request id above. */
export interface HttpEnv {
  Bindings: HttpBindings;
  Variables: { requestId: string; token: TokenRecord | null; route: string };
}
