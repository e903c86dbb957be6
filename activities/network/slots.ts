/** A cap on what runs at once for one key. */

export interface Slots {
  /**
   * Takes a slot, waiting for one at most `waitMs`.
   * @returns what gives it back, or null when none became free in time or the signal aborted
   */
  take(key: string, waitMs: number, signal: AbortSignal): Promise<(() => void) | null>;
}

export function createSlots(limit: number): Slots {
  const taken = new Map<string, number>();
  const waiting = new Map<string, Set<() => void>>();

  const give = (key: string): (() => void) => {
    taken.set(key, (taken.get(key) ?? 0) + 1);
    let given = true;
    return () => {
      if (!given) return;
      given = false;
      const left = (taken.get(key) ?? 1) - 1;
      if (left === 0) taken.delete(key);
      else taken.set(key, left);
      waiting.get(key)?.values().next().value?.();
    };
  };

  return {
    async take(key, waitMs, signal) {
      if (signal.aborted) return null;
      if ((taken.get(key) ?? 0) < limit) return give(key);
      return await new Promise((resolve) => {
        const queue = waiting.get(key) ?? new Set();
        waiting.set(key, queue);
        const end = (release: (() => void) | null) => {
          clearTimeout(timer);
          signal.removeEventListener('abort', giveUp);
          queue.delete(go);
          if (queue.size === 0 && waiting.get(key) === queue) waiting.delete(key);
          resolve(release);
        };
        const go = () => end(give(key));
        const giveUp = () => end(null);
        const timer = setTimeout(giveUp, waitMs);
        signal.addEventListener('abort', giveUp, { once: true });
        queue.add(go);
      });
    },
  };
}
