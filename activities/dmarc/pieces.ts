/** Small turns of streams of bytes. */
type Bytes = AsyncIterable<Uint8Array>;

export async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  if (bytes.length > 0) yield bytes;
}

/** So many bytes of a stream, which is closed then. */
export async function* part(source: Bytes, size: number): AsyncGenerator<Uint8Array> {
  let left = size;
  if (left <= 0) return;
  for await (const chunk of source) {
    yield chunk.length > left ? chunk.subarray(0, left) : chunk;
    left -= chunk.length;
    if (left <= 0) return;
  }
}

/** Without so many of the first bytes. */
export async function* after(source: Bytes, skip: number): AsyncGenerator<Uint8Array> {
  let left = skip;
  for await (const chunk of source) {
    if (chunk.length > left) yield left > 0 ? chunk.subarray(left) : chunk;
    left = Math.max(left - chunk.length, 0);
  }
}

export async function collected(source: Bytes): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return Buffer.concat(chunks);
}
