/** `switchyard doctor`: the usual causes of trouble, and the fix for each. */
import { parseArgs } from 'node:util';
import { examine } from '../doctor/examine.ts';
import type { Finding } from '../doctor/check.ts';
import { formatTable, paint, type State } from '../table.ts';
import { printHelp } from '../usage.ts';

export const summary = 'Look for the usual causes of trouble, and say the fix';

const HELP = `switchyard doctor [--json] [--config FILE]

  Looks at Node, the configuration, the state folder, disk, keys, records, clock,
  ports, Temporal, the worker, SMTP, TLS, DNS and what your domains publish. It
  changes nothing. Exit status 1 when something does not work.
`;

const STATES: Record<Finding['state'], State> = { ok: 'pass', warn: 'warn', fail: 'fail' };

export async function run(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      json: { type: 'boolean', default: false },
      config: { type: 'string' },
      verbose: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) return printHelp(HELP);
  const findings = await examine(values.config);
  const failing = findings.filter(({ state }) => state === 'fail');
  if (values.json) process.stdout.write(`${JSON.stringify({ ok: failing.length === 0, findings }, null, 2)}\n`);
  else process.stdout.write(report(findings));
  return failing.length === 0 ? 0 : 1;
}

function report(findings: Finding[]): string {
  const rows = findings.map(({ name, state, found }) => [{ text: state, state: STATES[state] }, name, found]);
  const columns = [{ title: '', fixed: true as const }, { title: 'checked', fixed: true as const }, { title: 'found' }];
  const toDo = findings.filter(({ state, fix }) => state !== 'ok' && fix !== null);
  const lines = toDo.map(
    ({ name, state, found, fix }) =>
      `${paint({ text: `${state}: ${name}`, state: STATES[state] })}\n  ${found}\n  ${fix}\n`,
  );
  const failing = findings.filter(({ state }) => state === 'fail').length;
  const verdict =
    failing === 0 ? 'Nothing stands in the way.' : `${failing} ${failing === 1 ? 'thing does' : 'things do'} not work.`;
  return [formatTable(columns, rows), ...lines, `${verdict}\n`].join('\n');
}
