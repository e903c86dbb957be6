/**
 * The destination as a process of its own, so that it can be killed. Arguments: port, DNS `host:port`, log file, ms to
 * think before an answer. What it took is in the log before it answers.
 */
import { appendFileSync } from 'node:fs';
import { startDestination } from '../../cli/demo/destination.ts';

const [, , port, dns, log, thinking] = process.argv;
const pause = new Int32Array(new SharedArrayBuffer(4));

await startDestination({
  port: Number(port),
  dns,
  onArrival(arrival) {
    const subject = /^Subject: (.*)$/im.exec(arrival.raw.toString('utf8'))?.[1]?.trim();
    appendFileSync(
      log ?? '',
      `${JSON.stringify({ subject, sender: arrival.sender, recipients: arrival.recipients })}\n`,
    );
    // The time in which a kill of somebody else falls between 'stored' and 'answered'.
    Atomics.wait(pause, 0, 0, Number(thinking));
  },
});
process.send?.('ready');
process.on('disconnect', () => process.exit(0));
