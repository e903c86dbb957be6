/** `switchyard demo`, or `npm start -- --demo`: the main job on real mail, offline, and whether it is right. */
import { parseArgs } from 'node:util';

export const summary = 'Send real mail through an installation of its own and check what arrives';

const HELP = `switchyard demo [options]

  Starts a whole installation in a temporary folder, a DNS server, destinations
  that verify, and sends it the mail of the world: signed, forged, sealed,
  internationalised, large, bounced. Everything stays on loopback. Exit status 1
  when anything is not as it must be.

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
      json: { type: 'boolean', default: false },
      // `npm start -- --demo --no-editor` hands this on; the demo has no editor.
      'no-editor': { type: 'boolean', default: false },
      verbose: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }

  const stop = new AbortController();
  const stopped = new Promise<void>((resolve) =>
    stop.signal.addEventListener('abort', () => resolve(), { once: true }),
  );
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stop.abort());

  const { runDemo, saveArrivals } = await import('../demo/run.ts');
  const { demoJson, demoTable } = await import('../demo/report.ts');
  let demo;
  try {
    demo = await runDemo({ quiet: values.json, signal: stop.signal });
  } catch (error) {
    if (stop.signal.aborted) return INTERRUPTED;
    throw error;
  }
  try {
    if (values.save !== undefined) saveArrivals(demo, values.save);
    if (values.json) process.stdout.write(`${JSON.stringify(demoJson(demo), null, 2)}\n`);
    else process.stdout.write(demoTable(demo, values.keep));
    if (values.keep && !stop.signal.aborted) {
      const { temporalUi, http } = demo.installation.addresses;
      const pages = [temporalUi && `runs ${temporalUi}`, `api http://${http.host}:${http.port}`].filter(Boolean);
      process.stderr.write(`  It goes on running (${pages.join(', ')}). Stop: Ctrl-C\n`);
      await stopped;
    }
  } finally {
    await demo.close();
  }
  return demo.rows.every((row) => row.differences.length === 0) ? 0 : 1;
}
