/**
 * Where hosts are, of reports that were published before `dmarc.geo` named a file, or before a file was replaced. A new
 * report brings the places of its own hosts (`dmarc.enrich`); those of all others are looked up here.
 */
import type { Logger } from 'pino';
import { locateHosts } from '../../activities/dmarc/enrich.ts';
import type { OpenDependencies } from '../../activities/open.ts';
import { messageOf } from '../../protocols/errors.ts';

/** ms between two looks at the files: two questions to the file system. */
const LOOK_EVERY = 60_000;

export interface PlacesOptions {
  dependencies: Pick<OpenDependencies, 'geo' | 'records'>;
  log: Logger;
}

/** Looks at start, and then every minute. */
export function startPlaces({ dependencies, log }: PlacesOptions): { stop(): Promise<void> } {
  if (!dependencies.geo.enabled) return { stop: async () => undefined };
  const end = new AbortController();
  const look = watchPlaces({ dependencies, log });
  let underWay: Promise<void> | undefined;
  const lookOnce = (): void => {
    underWay ??= look(end.signal)
      .then(() => undefined)
      .catch((thrown: unknown) => {
        if (!end.signal.aborted) log.warn({ error: messageOf(thrown) }, 'places of hosts will be looked up again');
      })
      .finally(() => (underWay = undefined));
  };
  const timer = setInterval(lookOnce, LOOK_EVERY);
  lookOnce();
  return {
    async stop() {
      clearInterval(timer);
      end.abort();
      await underWay;
    },
  };
}

/**
 * @returns a look at the files: where they are others than at the look before, every host gets its place. It says how
 * many have another one than before.
 */
export function watchPlaces({ dependencies, log }: PlacesOptions): (signal: AbortSignal) => Promise<number> {
  let done: string | undefined;
  return async (signal) => {
    const version = await dependencies.geo.version();
    if (version === done) return 0;
    let moved = 0;
    for await (const addresses of dependencies.records.dmarc.hosts.everySource()) {
      signal.throwIfAborted();
      moved += (await locateHosts(addresses, dependencies)).moved;
    }
    done = version;
    if (moved > 0) log.info({ hosts: moved }, 'hosts have their places');
    return moved;
  };
}
