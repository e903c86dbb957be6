/**
 * Makes commits durable without stopping the event loop. SQLite with synchronous=FULL syncs the write-ahead log inside
 * each commit, which holds every session of the process for as long as the disk takes. Here a commit only writes
 * (synchronous=NORMAL), and the log is synced on the thread pool before the caller goes on: the same promise, and
 * commits that come while the disk is busy share the next sync.
 */
import { open, type FileHandle } from 'node:fs/promises';

export interface WalSync {
  /**
   * Resolves when everything that was committed before the call would survive a power cut.
   * @throws the file system's error, after which nobody knows
   */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** @param file the log of a database in WAL mode; it is there from the first commit on, as long as a connection is open */
export function createWalSync(file: string): WalSync {
  let handle: FileHandle | undefined;
  let running: Promise<void> | undefined;
  let next: Promise<void> | undefined;

  const start = (): Promise<void> => {
    const work = (async () => {
      handle ??= await open(file, 'r');
      await handle.datasync();
    })();
    const over = work
      .catch(() => undefined)
      .then(() => {
        if (running === over) running = undefined;
      });
    running = over;
    return work;
  };

  return {
    sync() {
      if (!running) return start();
      // The one under way may have begun before this commit.
      next ??= running.then(() => {
        next = undefined;
        return start();
      });
      return next;
    },
    async close() {
      await next?.catch(() => undefined);
      await running;
      await handle?.close();
    },
  };
}
