/** What a command needs to ask for jobs, see them and cancel them. */
import { lazyTemporal } from '../../servers/temporal.ts';
import type { JobDesk } from '../../servers/jobs/request.ts';
import { resolveAddresses } from '../../stores/configuration/addresses.ts';
import type { Configuration } from '../../stores/configuration/schema.ts';
import type { Records } from '../../stores/records/port.ts';
import { taskQueues } from '../../workflows/mail/contract.ts';

/** Who asks, in the records. */
export const ACTOR = 'command line';

export interface OpenDesk extends JobDesk {
  close(): Promise<void>;
}

/** Connects when something is asked of Temporal, so that lists are shown while it is away. */
export function openDesk(configuration: Configuration, records: Records): OpenDesk {
  const client = lazyTemporal(configuration, resolveAddresses(configuration));
  return {
    records,
    client,
    taskQueue: taskQueues(configuration.temporal.taskQueue).main,
    close: () => client.connection.close(),
  };
}

/** Says so where the request waits for Temporal. */
export function sayIfUnheard({ isHeard }: { isHeard: boolean }): void {
  if (isHeard) return;
  process.stderr.write('  The Temporal server does not answer. It is kept, and done once server and worker run:\n');
  process.stderr.write('  switchyard up\n');
}
