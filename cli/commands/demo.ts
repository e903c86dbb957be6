/** `switchyard demo`, or `npm start -- --demo`: the main job on real mail, offline, and whether it is right. */
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { ONE_SIGNAL_MS } from '../../servers/process.ts';
import { printHelp } from '../usage.ts';

export const summary = 'Send real mail through an installation of its own and check what arrives';

const HELP = `switchyard demo [options]

  Starts a whole installation in a temporary folder, a DNS server, destinations
  that verify, and sends it the mail of the world: signed, forged, sealed,
  internationalised, large, bounced. Everything stays on loopback. Exit status 1
  when anything is not as it must be.

  --stores FILE use the database and the bucket that this configuration names, in
                a schema and under a prefix of their own, removed afterwards
  --keep        leave it running afterwards, with links to every run
  --save DIR    write what arrived to DIR, with the zones to verify it by
  --json        print the result as JSON
`;

const INTERRUPTED = 130;

export async function run(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      keep: { type: 'boolean', default: false },
      save: { type: 'string' },
      stores: { type: 'string' },
      json: { type: 'boolean', default: false },
      // `npm start -- --demo --no-editor` hands this on; the demo has no editor.
      'no-editor': { type: 'boolean', default: false },
      verbose: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return printHelp(HELP);

  const stop = new AbortController();
  const stopped = new Promise<void>((resolve) =>
    stop.signal.addEventListener('abort', () => resolve(), { once: true }),
  );
  let first = 0;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      // A second one leaves no time for grace: what was started ends by itself when this process is gone.
      if (first && Date.now() - first > ONE_SIGNAL_MS) process.exit(INTERRUPTED);
      first ||= Date.now();
      stop.abort();
    });
  }

  const { runDemo, saveArrivals } = await import('../demo/run.ts');
  const { demoJson, demoTable } = await import('../demo/report.ts');
  let demo;
  try {
    demo = await runDemo({ stores: values.stores, quiet: values.json, signal: stop.signal });
  } catch (error) {
    if (stop.signal.aborted) return INTERRUPTED;
    throw error;
  }
  try {
    if (values.save !== undefined) saveArrivals(demo, values.save);
    if (values.json) process.stdout.write(`${JSON.stringify(demoJson(demo), null, 2)}\n`);
    else process.stdout.write(demoTable(demo, values.keep));
    if (values.keep && !stop.signal.aborted) {
      const { addresses, configuration } = demo.installation;
      const lines = [
        ['runs', addresses.temporalUi ?? addresses.temporal],
        ['api', `http://${addresses.http.host}:${addresses.http.port}`],
        ['folder', dirname(configuration.state)],
      ];
      process.stderr.write(lines.map(([name = '', place]) => `  ${name.padEnd(8)}${place}\n`).join(''));
      process.stderr.write('\n  It goes on running. Stop: Ctrl-C\n');
      await stopped;
    }
  } finally {
    await demo.close();
  }
  return demo.rows.every((row) => row.differences.length === 0) ? 0 : 1;
}
