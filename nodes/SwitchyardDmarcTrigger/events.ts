/** From the end of an ingestion to the events that a workflow chose: a mail may have several reports of each state. */
import type { IDataObject } from 'n8n-workflow';
import type { ClosedRun } from '../shared/contract.ts';

export type Event = 'published' | 'refused' | 'repeated';

/** What came of a mail with reports. */
export interface Ingestion extends IDataObject {
  outcome: string;
  domain: string;
  published: number;
  repeated: number;
  refused: number;
  /** The first of them. */
  reports: (IDataObject & { state: Event })[];
}

/**
 * Outcomes of runs that may have the event. The outcome of a run is that of its worst report, so that one that has
 * published may also be called quarantined.
 */
const OUTCOMES: Record<Event, string[]> = {
  published: ['published', 'quarantined'],
  refused: ['quarantined'],
  repeated: ['published', 'repeated', 'quarantined'],
};

/** What to register for. */
export function outcomesOf(events: Event[]): string[] {
  return [...new Set(events.flatMap((event) => OUTCOMES[event]))];
}

/** The reports that are asked for, each with the mail that it came with; none where there are none. */
export function itemsOf(
  { id, runUrl }: Pick<ClosedRun, 'id' | 'runUrl'>,
  ingestion: Ingestion | null | undefined,
  { events, domains }: { events: Event[]; domains: string[] },
): IDataObject[] {
  if (!ingestion) return [];
  const { domain, reports, published, repeated, refused } = ingestion;
  const wanted = domains.map((one) => one.trim()).filter((one) => one !== '');
  if (wanted.length > 0 && !wanted.some((one) => asciiDomain(one) === domain)) return [];
  const mail = { published, repeated, refused };
  const found: IDataObject[] = reports
    .filter(({ state }) => events.includes(state))
    .map(({ state, ...report }) => ({ event: state, domain, ...report, mail, runId: id, runUrl }));
  const counted = events.filter((event) => ingestion[event] > 0);
  // A mail with so many reports that those of the event are not named: it is told all the same.
  if (found.length === 0 && counted.length > 0) return [{ event: counted[0], domain, mail, runId: id, runUrl }];
  return found;
}

/** As Switchyard writes domains: small letters, and A-labels for the others (RFC 5890). */
function asciiDomain(domain: string): string {
  const url = `http://${domain.replace(/\.$/, '')}`;
  return URL.canParse(url) ? new URL(url).hostname : domain;
}
