/** The report for people. */
import type { FaultReport } from './fault.ts';

const IDS_SHOWN = 20;
const REASONS_SHOWN = 6;

export function reportText(report: FaultReport): string {
  const counts = (all: object) =>
    Object.entries(all)
      .map(([name, count]) => `${name} ${String(count)}`)
      .join(', ');
  const rows: [string, string | number][] = [
    ['seed', `${report.seed}, lane ${report.lane}, ${report.stores.records} and ${report.stores.blobs}`],
    [
      'machines',
      `${report.machines}, Temporal ${report.temporal === 'own' ? 'as `up` starts it' : 'a full server on PostgreSQL'}`,
    ],
    ['time', `${report.seconds.faults} s of faults, ${report.seconds.settling} s until all was settled`],
    ['kills', `${report.killsInAll}: ${counts(report.kills)}`],
    ['between stored and answered', report.betweenStoredAndAnswered],
    ['disk', report.disk],
    ['messages', `${report.messages}, for ${report.sent} recipients`],
    ['accepted, refused', `${report.accepted}, ${report.refused}`],
    ['kept by the sender', `${report.deferrals} times`],
    ...report.reasons.slice(0, REASONS_SHOWN).map(([text, count]): [string, string] => ['', `${count} x ${text}`]),
    ['arrived', report.arrived],
    ['bounced', report.bounced],
    ['twice', `${report.duplicates}, of them marked ${report.duplicatesMarked}`],
    ['marked, and here once', report.markedButOnce],
    ['refused, yet arrived', report.refusedYetArrived],
    ['refused, recorded as failed', report.refusedYetFailed.join('; ') || 'none'],
    ['records', counts(report.records)],
    ['blobs', counts(report.blobs)],
    ...Object.entries(report.shares).map(([what, shares]): [string, string] => [`${what} shared`, counts(shares)]),
    ['CPU seconds', cpuText(report)],
    ['ended by themselves', report.deaths.length === 0 ? 'none' : report.deaths.slice(0, IDS_SHOWN).join('; ')],
  ];
  const lines = rows.map(([name, value]) => `  ${name.padEnd(28)} ${value}`);
  if (report.betweenStoredAndAnswered === 0)
    lines.push('', '  No kill fell between stored and answered: this run proved little.');
  for (const { promise, ids } of report.broken) {
    lines.push('', `  BROKEN: ${promise} (${ids.length})`, ...ids.slice(0, IDS_SHOWN).map((id) => `    ${id}`));
    if (ids.length > IDS_SHOWN) lines.push(`    and ${ids.length - IDS_SHOWN} more: --json has all of them`);
  }
  if (report.kept !== null) lines.push('', `  Logs and records are kept in ${report.kept}`);
  if (report.broken.length === 0) lines.push('', '  Every promise held.');
  return `${lines.join('\n')}\n`;
}

function cpuText({ cpu, messages }: FaultReport): string {
  const parts = Object.entries(cpu).toSorted(([, one], [, other]) => other - one);
  const all = parts.reduce((sum, [, seconds]) => sum + seconds, 0);
  const perMessage = Math.round((all * 1_000) / messages);
  return `${Math.round(all)}, ${perMessage} ms a message: ${parts.map(([name, seconds]) => `${name} ${seconds}`).join(', ')}`;
}
