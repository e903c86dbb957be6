/** Whether the DKIM keys are in the DNS, asked in the background so that no page waits for a resolver. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { HttpContext } from '../context.ts';

export interface KeyState {
  domain: string;
  selector: string | null;
  /** `unknown`: not asked yet, or the DNS did not answer. */
  state: 'missing' | 'published' | 'unpublished' | 'different' | 'unknown';
}

export interface KeyWatch {
  /** What is known now, asked anew when that is old; a slow resolver is waited for only a moment. */
  look(): Promise<KeyState[]>;
}

/** DNS changes are seen within this time. */
const FRESH = 60_000;
/** A page is on its way within 200 ms. */
const PATIENCE = 100;

export function createKeyWatch(context: HttpContext): KeyWatch {
  let known: KeyState[] = [];
  let askedAt = 0;
  const refresh = async () => {
    try {
      known = await checkKeys(context);
    } catch (thrown) {
      context.log.warn({ err: thrown }, 'the published keys could not be checked');
    }
  };
  return {
    async look() {
      if (Date.now() - askedAt > FRESH) {
        askedAt = Date.now();
        await Promise.race([refresh(), sleep(PATIENCE)]);
      }
      return known;
    },
  };
}

async function checkKeys({
  configuration,
  dependencies: { records, keys, resolver },
}: HttpContext): Promise<KeyState[]> {
  const forwarding = (await records.rules.list()).filter((rule) => rule.enabled && rule.action.type === 'forward');
  // A domain that lives in the configuration's own zones has nowhere to publish.
  const domains = [...new Set(forwarding.map((rule) => rule.domain))]
    .filter((domain) => !(domain in configuration.dns.zones))
    .sort();
  const made = await keys.list();
  return Promise.all(
    domains.map(async (domain): Promise<KeyState> => {
      const [newest] = made.filter((key) => key.domain === domain).sort((a, b) => (a.createdAt < b.createdAt ? 1 : -1));
      if (!newest) return { domain, selector: null, state: 'missing' };
      const { selector } = newest;
      try {
        const published = (await resolver.txt(`${selector}._domainkey.${domain}`)).map((record) =>
          record.replace(/\s/g, ''),
        );
        // RFC 6376, 3.6.1: p= is the key in base64.
        const state =
          published.length === 0
            ? 'unpublished'
            : published.some((record) => record.includes(`p=${newest.publicKey}`))
              ? 'published'
              : 'different';
        return { domain, selector, state };
      } catch {
        return { domain, selector, state: 'unknown' };
      }
    }),
  );
}
