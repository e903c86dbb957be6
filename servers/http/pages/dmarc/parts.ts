/** Parts of tables about senders: how much is aligned, how a sender stands, what is known of an address. */
import { html } from 'hono/html';
import { standingOf, type SenderCounts, type Standing } from '../../../../protocols/dmarc/advice.ts';
import type { Policy } from '../../../../protocols/dmarc/aggregate.ts';
import type { SourceCounts } from '../../../../stores/records/dmarc/queries-port.ts';
import type { Html } from '../layout.ts';
import { share, tag, type Tone } from '../words.ts';

/** Ends an empty place: what came elsewhere until now can be seen there too. */
export const PAST_REPORTS = html`<p>
    What came to another mailbox or tool until now counts here too, each report once. This takes it out of files,
    folders and mailboxes:
  </p>
  <p><code>switchyard dmarc import FILE</code></p>`;

/** What passed and what failed, as a bar that says its figure. */
export function alignedBar({ messages, passed }: SenderCounts): Html {
  const part = messages === 0 ? 0 : Math.round((1_000 * passed) / messages) / 10;
  // What is there is seen, however little of it.
  const width = passed > 0 && passed < messages ? Math.min(Math.max(part, 1), 99) : part;
  return html`<svg
    class="bar"
    viewBox="0 0 100 8"
    preserveAspectRatio="none"
    role="img"
    aria-label="${share(passed, messages)} aligned"
  >
    <rect class="c-pass" width="${width}" height="8" />
    <rect class="c-fail" x="${width}" width="${100 - width}" height="8" />
  </svg>`;
}

const STANDINGS: Record<Standing, { tone: Tone; word: string }> = {
  passes: { tone: 'pass', word: 'passes' },
  partly: { tone: 'warn', word: 'fails in part' },
  never: { tone: 'fail', word: 'never passes' },
};

export function standingTag(counts: SenderCounts): Html {
  const { tone, word } = STANDINGS[standingOf(counts)];
  return tag(tone, word);
}

/** `mail-1.example.net, AS64496 Example, DE`. */
export function hostWords({ name, network, country }: Pick<SourceCounts, 'name' | 'network' | 'country'>): string {
  return [name ?? 'no reverse name', network, country].filter((one) => one !== null).join(', ');
}

/** '' has no name to show. */
export const serviceName = (service: string): string => service || 'No known service';

export const POLICY_TONE: Record<Policy, Tone> = { none: 'warn', quarantine: 'warn', reject: 'pass' };
