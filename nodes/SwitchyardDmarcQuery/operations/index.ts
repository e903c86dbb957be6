/** Every question, by resource and operation. */
import type { Ask } from './ask.ts';
import { domain } from './domain.ts';
import { failure, quarantine, report } from './report.ts';
import { record, source } from './source.ts';

export const operations: Record<string, Record<string, Ask>> = {
  domain,
  failure,
  quarantine,
  record,
  report,
  source,
};
