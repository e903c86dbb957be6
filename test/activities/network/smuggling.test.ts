/** What a server behind us gets: it may take other bytes for the end of a message than the standard does. */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Dialer } from '../../../activities/network/dialer.ts';
import { sharedJson } from '../../protocols/shared-data.ts';
import { openDialer, sendTo } from '../../support/dialing.ts';

const sequences =
  sharedJson<{ sequences: Record<string, number[]> }>('mail/smtp-smuggling/sequences.json')?.sequences ?? {};
const END = '\r\n.\r\n';

/** Every byte after the answer to DATA, of one connection after the other. */
const received: string[] = [];
let server: Server;
let dialer: Dialer;
beforeAll(async () => {
  server = createServer((socket: Socket) => {
    let data: number | undefined;
    socket.on('error', () => undefined);
    socket.write('220 lax.test\r\n');
    socket.on('data', (chunk: Buffer) => {
      const text = chunk.toString('latin1');
      if (data === undefined && text.startsWith('DATA')) {
        data = received.push('') - 1;
        socket.write('354 go on\r\n');
      } else if (data === undefined) socket.write('250 ok\r\n');
      else {
        received[data] += text;
        if (received[data]!.endsWith(END)) socket.write('250 stored\r\n');
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  dialer = openDialer({ outbound: { transport: { 'lax.test': `127.0.0.1:${port}` } } });
});
afterAll(async () => {
  await dialer?.close();
  await new Promise((resolve) => server?.close(resolve));
});

async function sent(body: string): Promise<string> {
  received.length = 0;
  const text = `Subject: a\r\n\r\nbody${body}MAIL FROM:<x@evil.test>\r\nRCPT TO:<y@lax.test>\r\nDATA\r\n`;
  expect(await sendTo(dialer, 'lax.test', { text: Buffer.from(text, 'latin1').toString('latin1') })).toMatchObject({
    status: 'delivered',
  });
  expect(received).toHaveLength(1);
  return received[0]!.replace(/QUIT\r\n$/, '');
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
      for (const [other, ending] of Object.entries(sequences))
        expect(message.includes(Buffer.from(ending).toString('latin1')) && !other.includes('NUL'), other).toBe(false);
    },
  );
});
