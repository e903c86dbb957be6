/** What the Temporal UI shows of a run: the verdict first, one sentence, a small table. */
import type { RouteMailInput } from './contract.ts';
import { inline, link } from '../../protocols/markdown.ts';
import { nameOf, replyLine, type Delivery } from './delivery.ts';

/** Markdown for the current details; Temporal keeps 20,000 bytes, a person reads far fewer. */
export function describeRun(input: RouteMailInput, phase: string, deliveries: readonly Delivery[]): string {
  const { authentication: found } = input;
  const rows = deliveries.map(
    (one) =>
      `| ${inline(one.kind === 'bounce' ? `bounce to ${one.destination}` : nameOf(one, input))} | ${one.state} | ${one.attempts} | ${inline(one.attempts ? replyLine(one) : '')} |`,
  );
  const next = deliveries.map((one) => one.nextAttemptAt).filter((at) => at !== null);
  const waiting = next.length > 0 ? ` Next attempt at ${new Date(Math.min(...next)).toISOString()}.` : '';
  const started = input.origin ? ` Started from ${link(input.origin.name, input.origin.url)}.` : '';
  return [
    `**${phase}.** Mail from ${inline(input.sender || 'the null sender')} for ${inline(input.recipient)}, ${input.message.size.toLocaleString('en')} bytes.${waiting}${started}`,
    '',
    `SPF ${found.spf.result}, DKIM ${found.dkim.map((one) => one.result).join(' ') || 'none'}, DMARC ${found.dmarc.result}, ARC ${found.arc.result} (i=${found.arc.instance})`,
    '',
    '| destination | state | attempts | last reply |',
    '|---|---|---|---|',
    ...rows,
  ].join('\n');
}
