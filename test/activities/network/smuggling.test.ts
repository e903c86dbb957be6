/** What a server behind us gets: it may take other bytes for the end of a message than the standard does. */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sharedJson } from '../../protocols/shared-data.ts';
import { openDialer, sendTo } from '../../support/dialing.ts';

const sequences =
  sharedJson<{ sequences: Record<string, number[]> }>('mail/smtp-smuggling/sequences.json')?.sequences ?? {};
const END = '\r\n.\r\n';

/** Every byte after the answer to DATA, a connection each. */
const received: { data: string }[] = [];
let server: Server;
let port: number;
beforeAll(async () => {
  server = createServer((socket: Socket) => {
    let message: { data: string } | undefined;
    socket.on('error', () => undefined);
    socket.write('220 lax.test\r\n');
    socket.on('data', (chunk: Buffer) => {
      const text = chunk.toString('latin1');
      if (!message && text.startsWith('DATA')) {
        received.push((message = { data: '' }));
        socket.write('354 go on\r\n');
      } else if (!message) socket.write('250 ok\r\n');
      else {
        message.data += text;
        if (message.data.endsWith(END)) socket.write('250 stored\r\n');
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ({ port } = server.address() as AddressInfo);
});
afterAll(async () => {
  await new Promise((resolve) => server?.close(resolve));
});

async function sent(body: string): Promise<string> {
  const before = received.length;
  const text = `Subject: a\r\n\r\nbody${body}MAIL FROM:<x@evil.test>\r\nRCPT TO:<y@lax.test>\r\nDATA\r\n`;
  // A connection each: one that is kept would carry the next message.
  const dialer = openDialer({ outbound: { transport: { 'lax.test': `127.0.0.1:${port}` } } });
  expect(await sendTo(dialer, 'lax.test', { text })).toMatchObject({ status: 'delivered' });
  await dialer.close();
  expect(received).toHaveLength(before + 1);
  return received[before]!.data.replace(/QUIT\r\n$/, '');
}

describe('a message that holds an end-of-data sequence', () => {
  it.skipIf(Object.keys(sequences).length === 0)('may hold any of fourteen', () =>
    expect(Object.keys(sequences)).toHaveLength(14),
  );

  it.each(Object.entries(sequences))(
    'leaves with one end, whatever the reader takes for one: %s',
    async (_name, bytes) => {
      const data = await sent(Buffer.from(bytes).toString('latin1'));
      expect(data.indexOf(END)).toBe(data.length - END.length);
      const message = data.slice(0, -END.length);
      expect(message).not.toMatch(/(?<!\r)\n|\r(?!\n)/);
      // A NUL is no line end and stays as it is; the session takes no message with one.
      for (const [other, ending] of Object.entries(sequences))
        if (!other.includes('NUL')) expect(message.includes(Buffer.from(ending).toString('latin1')), other).toBe(false);
    },
  );
});
