/** The limits of reports as the configuration has them. */
import type { ReportLimits } from '../../protocols/dmarc/limits.ts';
import type { Quota } from '../../protocols/dmarc/quota.ts';
import type { Configuration } from '../../stores/configuration/schema.ts';

export function reportLimits({ dmarc: { limits } }: Pick<Configuration, 'dmarc'>): ReportLimits {
  return {
    packedBytes: limits.packedSize,
    bytes: limits.unpackedSize,
    members: limits.members,
    records: limits.records,
  };
}

export function reportQuota({ dmarc: { quota } }: Pick<Configuration, 'dmarc'>): Quota {
  const { sender, address } = quota;
  const amount = ({ mails, size, records }: typeof sender) => ({ mails, bytes: size, records });
  return { sender: amount(sender), address: amount(address) };
}
