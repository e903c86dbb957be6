/** What every listening process of the house has in common. */
import type { Logger } from 'pino';
import type { Configuration } from '../stores/configuration/schema.ts';
import type { Addresses } from '../stores/configuration/addresses.ts';

export interface ServerOptions {
  configuration: Configuration;
  addresses: Addresses;
  log: Logger;
}

export interface RunningServer {
  /** Stops taking new work, finishes what runs, within the grace time of the process. */
  close(): Promise<void>;
}

/** Starts a server and resolves when it is ready for work. */
export type StartServer = (options: ServerOptions) => Promise<RunningServer>;
