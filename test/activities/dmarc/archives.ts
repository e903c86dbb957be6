/** Archives for tests, made on the fly: what a reporter packs, and what an attacker does. */
import { buffer } from 'node:stream/consumers';
import { createGzip } from 'node:zlib';
import { Readable } from 'node:stream';
import yazl from 'yazl';

/** A zip of the files by name. */
export async function zipOf(files: Record<string, Buffer | string>): Promise<Buffer> {
  const zip = new yazl.ZipFile();
  for (const [name, bytes] of Object.entries(files)) zip.addBuffer(Buffer.from(bytes), name);
  zip.end();
  return buffer(zip.outputStream);
}

/** What comes out of gzip for so many bytes, without ever holding them. */
export async function gzipBomb(size: number, { before = '', byte = 'a' } = {}): Promise<Buffer> {
  return buffer(many(size, before, byte).pipe(createGzip({ level: 9 })));
}

/** A zip with one file of so many bytes. */
export async function zipBomb(size: number): Promise<Buffer> {
  const zip = new yazl.ZipFile();
  zip.addReadStream(many(size, '<feedback><version>', 'a'), 'report.xml');
  zip.end();
  return buffer(zip.outputStream);
}

function many(size: number, before: string, byte: string): Readable {
  const block = Buffer.alloc(1_048_576, byte);
  function* blocks() {
    yield Buffer.from(before);
    for (let left = size; left > 0; left -= block.length) yield block.subarray(0, Math.min(left, block.length));
  }
  return Readable.from(blocks());
}
