/** The limits of reports as the configuration has them. */
import type { ReportLimits } from '../../protocols/dmarc/limits.ts';
import type { Configuration } from '../../stores/configuration/schema.ts';

export function reportLimits({ dmarc: { limits } }: Pick<Configuration, 'dmarc'>): ReportLimits {
  return {
    packedBytes: limits.packedSize,
    bytes: limits.unpackedSize,
    members: limits.members,
    records: limits.records,
  };
}
