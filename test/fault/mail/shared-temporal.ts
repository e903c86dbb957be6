/** The Temporal server that the machines share, watched as a service manager does. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { PostgresServer } from '../../support/postgres.ts';
import { startTemporalServer } from '../../support/temporal-server.ts';
import { REVIVED_AFTER } from './machine.ts';

export interface SharedTemporal {
  address: string;
  pid(): number;
  /** @returns false where it does not run now */
  kill(): Promise<boolean>;
  /** As a service manager does: until it runs. Its database may be away just now. */
  startAgain(): Promise<void>;
  /** When it ended by itself. */
  deaths: string[];
  close(): Promise<void>;
}

export async function startSharedTemporal(folder: string, postgres: PostgresServer): Promise<SharedTemporal> {
  const deaths: string[] = [];
  let ending = false;
  let starting: Promise<void> | undefined;
  const untilItRuns = async (): Promise<void> => {
    while (!ending) {
      try {
        return await server.start();
      } catch {
        await server.kill();
        await sleep(REVIVED_AFTER);
      }
    }
  };
  const startAgain = (): Promise<void> => (starting ??= untilItRuns().finally(() => (starting = undefined)));
  const server = await startTemporalServer(folder, postgres, (how) => {
    if (ending || starting) return;
    deaths.push(`temporal ended (${how})`);
    void sleep(REVIVED_AFTER).then(startAgain);
  });
  return {
    address: server.address,
    pid: server.pid,
    deaths,
    async kill() {
      if (starting || server.pid() === 0) return false;
      await server.kill();
      return true;
    },
    startAgain,
    async close() {
      ending = true;
      await server.close();
      await starting;
    },
  };
}
