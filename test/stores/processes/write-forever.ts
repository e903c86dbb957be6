/** Writes an endless blob until it is killed: `node write-forever.ts <configuration as JSON>`. */
import { openBlobs, type BlobsConfiguration } from '../../../stores/blobs/open.ts';

const blobs = await openBlobs(JSON.parse(process.argv[2] as string) as BlobsConfiguration);
async function* endless(): AsyncGenerator<Uint8Array> {
  for (let written = 0; ; written += 1) {
    yield Buffer.alloc(65_536, written);
    if (written === 20) process.stdout.write('writing\n');
    await new Promise((resolve) => setImmediate(resolve));
    if (written > 500) await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
await blobs.write(endless(), { prefix: 'mail', maxBytes: 1_000_000_000 });
