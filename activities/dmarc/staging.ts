/** Records of a report on their way from the reader to the store: never more than a batch in memory. */
import type { StepContext } from '../step.ts';
import type { Dependencies } from '../dependencies.ts';
import type { AggregateRecord } from '../../protocols/dmarc/aggregate.ts';
import { serviceOf } from '../../protocols/dmarc/services.ts';
import type { NumberedRecord } from '../../stores/records/dmarc/port.ts';

/** Records that are written at once ahead of a large report: a transaction of some milliseconds. Most reports have fewer. */
const STAGED_AT_ONCE = 1_000;
/** Bytes that records are held of: 2,500 ordinary ones, or fewer with much in them. */
const HELD_BYTES = 1_048_576;

export interface Staging {
  generation: number;
  /** @param bytes that they were read from */
  take(records: AggregateRecord[], index: number, bytes: number): Promise<void>;
  /** Those that were not written ahead. */
  rest(index: number): Promise<NumberedRecord[]>;
  /** Nothing of the file that is being read will be published. */
  discard(): Promise<void>;
}

/**
 * @param idOf id that the report in a file will have
 * @param domain that it is probably about
 */
export function newStaging(
  idOf: (file: number) => string,
  domain: string,
  generation: number,
  { records }: Pick<Dependencies, 'records'>,
  step: Pick<StepContext, 'signal' | 'report'>,
): Staging {
  let held: AggregateRecord[] = [];
  let heldBytes = 0;
  let file = 0;
  let staged = 0;
  const numbered = async (some: AggregateRecord[]): Promise<NumberedRecord[]> => {
    const hosts = await records.dmarc.hosts.find([...new Set(some.map(({ sourceIp }) => sourceIp))]);
    return some.map((record, index) => ({
      record,
      number: staged + index + 1,
      service: serviceOf({
        host: hosts.get(record.sourceIp)?.name ?? null,
        signers: record.dkim.filter(({ result }) => result === 'pass').map(({ domain }) => domain),
      }),
    }));
  };
  const begin = (index: number): void => {
    if (index === file) return;
    file = index;
    held = [];
    heldBytes = 0;
    staged = 0;
  };
  return {
    generation,
    async take(some, index, bytes) {
      step.signal.throwIfAborted();
      begin(index);
      held.push(...some);
      heldBytes += bytes;
      const each = heldBytes / held.length;
      const isMuch = heldBytes >= HELD_BYTES;
      while (held.length >= STAGED_AT_ONCE || (isMuch && held.length > 0)) {
        const batch = await numbered(held.slice(0, STAGED_AT_ONCE));
        await records.dmarc.reports.stage({ id: idOf(file), domain }, batch, generation);
        held = held.slice(STAGED_AT_ONCE);
        heldBytes = each * held.length;
        staged += batch.length;
        step.report({ file, records: staged });
      }
    },
    async rest(index) {
      begin(index);
      return numbered(held);
    },
    async discard() {
      if (staged > 0) await records.dmarc.reports.discard(idOf(file), generation);
      held = [];
      heldBytes = 0;
      staged = 0;
    },
  };
}
