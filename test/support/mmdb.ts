/**
 * Writes a MaxMind DB file (format 2.0, https://maxmind.github.io/MaxMind-DB/): networks and what is said of them. For
 * tests, in which the reader is another implementation; Python's maxminddb 3.2.0 reads the same out of it.
 */
import ipaddr from 'ipaddr.js';

export type Value = string | number | Value[] | { [name: string]: Value };

/** An empty branch, a node, or an entry by its place in the data section. */
type Branch = null | { node: number } | { data: number };

const SEPARATOR = Buffer.alloc(16);
const METADATA = Buffer.concat([Buffer.from('abcdef', 'hex'), Buffer.from('MaxMind.com')]);
const RECORD_BITS = 24;

/** @param networks such as `192.0.2.0/24` or `2001:db8::/32`; a narrower one holds inside of a wider one */
export function mmdbOf(networks: Record<string, Value>, type = 'Test'): Buffer {
  const nodes: [Branch, Branch][] = [[null, null]];
  const data: Buffer[] = [];
  let size = 0;
  const sorted = Object.entries(networks)
    .map(([network, value]) => ({ bits: bitsOf(network), value }))
    .sort((one, other) => one.bits.length - other.bits.length);
  for (const { bits, value } of sorted) {
    put(nodes, bits, { data: size });
    const bytes = encode(value);
    data.push(bytes);
    size += bytes.length;
  }
  const tree = Buffer.alloc((nodes.length * 2 * RECORD_BITS) / 8);
  nodes
    .flat()
    .forEach((branch, index) => tree.writeUIntBE(recordOf(branch, nodes.length), (index * RECORD_BITS) / 8, 3));
  const metadata = encode({
    node_count: nodes.length,
    record_size: RECORD_BITS,
    ip_version: 6,
    database_type: type,
    languages: ['en'],
    binary_format_major_version: 2,
    binary_format_minor_version: 0,
    build_epoch: 1_790_000_000,
    description: { en: 'made by a test' },
  });
  return Buffer.concat([tree, SEPARATOR, ...data, METADATA, metadata]);
}

/** An IPv4 network lies in ::/96. */
function bitsOf(network: string): number[] {
  const [address, length] = ipaddr.parseCIDR(network);
  const bytes = address.toByteArray();
  const whole = bytes.length === 4 ? [...Array<number>(12).fill(0), ...bytes] : bytes;
  const bits = whole.flatMap((byte) => Array.from({ length: 8 }, (_, at) => (byte >> (7 - at)) & 1));
  return bits.slice(0, length + (bytes.length === 4 ? 96 : 0));
}

function put(nodes: [Branch, Branch][], bits: number[], entry: Branch): void {
  let at = 0;
  for (const [depth, bit] of bits.entries()) {
    const node = nodes[at] as [Branch, Branch];
    if (depth === bits.length - 1) {
      node[bit] = entry;
      return;
    }
    const branch = node[bit] ?? null;
    if (branch && 'node' in branch) at = branch.node;
    else {
      // What is said of the wider network holds on both sides.
      nodes.push([branch, branch]);
      at = nodes.length - 1;
      node[bit] = { node: at };
    }
  }
}

function recordOf(branch: Branch, count: number): number {
  if (branch === null) return count;
  return 'node' in branch ? branch.node : count + SEPARATOR.length + branch.data;
}

/** Text, whole numbers (uint32), lists and maps, of fewer than 285 elements or bytes each. */
function encode(value: Value): Buffer {
  if (typeof value === 'string') {
    const bytes = Buffer.from(value);
    return Buffer.concat([control(2, bytes.length), bytes]);
  }
  if (typeof value === 'number') {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return Buffer.concat([control(6, 4), bytes]);
  }
  if (Array.isArray(value)) return Buffer.concat([control(11, value.length), ...value.map(encode)]);
  const pairs = Object.entries(value);
  return Buffer.concat([control(7, pairs.length), ...pairs.flatMap(([name, one]) => [encode(name), encode(one)])]);
}

/** Types after 7 are written in a byte of their own; so are sizes after 28. */
function control(type: number, size: number): Buffer {
  const first = ((type > 7 ? 0 : type) << 5) | Math.min(size, 29);
  return Buffer.from([first, ...(type > 7 ? [type - 7] : []), ...(size > 28 ? [size - 29] : [])]);
}
