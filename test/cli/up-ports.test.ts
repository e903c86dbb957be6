import { once } from 'node:events';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { choosePorts } from '../../cli/up/ports.ts';
import { DEFAULT_PORTS } from '../../stores/configuration/addresses.ts';
import { Configuration } from '../../stores/configuration/schema.ts';

const servers: Server[] = [];
afterEach(() => servers.splice(0).forEach((server) => server.close()));

/** Takes a port of this machine, the given one where it is free. */
async function take(port = 0): Promise<number> {
  const server = createServer();
  servers.push(server);
  server.listen(port, '127.0.0.1');
  await Promise.race([once(server, 'listening'), once(server, 'error')]).catch(() => undefined);
  return (server.address() as AddressInfo | null)?.port ?? port;
}

describe('ports of an installation', () => {
  it('moves a default port on to the next free one and says so', async () => {
    await take(DEFAULT_PORTS.http);
    const { addresses, moved } = await choosePorts(Configuration.parse({}));
    expect(addresses.http.port).toBeGreaterThan(DEFAULT_PORTS.http);
    expect(moved).toContain(`${DEFAULT_PORTS.http} is taken: http is on ${addresses.http.port}`);
  });

  it('gives the editor a port only where it is wanted, by the start and by the configuration', async () => {
    await take(DEFAULT_PORTS.editor);
    const wanted = await choosePorts(Configuration.parse({}), { editor: true });
    expect(wanted.addresses.editor?.port).toBeGreaterThan(DEFAULT_PORTS.editor);
    expect(wanted.moved).toContain(
      `${DEFAULT_PORTS.editor} is taken: the editor is on ${wanted.addresses.editor?.port}`,
    );
    const off = Configuration.parse({ editor: { enabled: false } });
    expect((await choosePorts(off, { editor: true })).addresses.editor).toBeNull();
    expect((await choosePorts(Configuration.parse({}))).addresses.editor).toBeNull();
  });

  it('never moves a configured port: it names the key and who has it', async () => {
    const port = await take();
    const error = await choosePorts(Configuration.parse({ mail: { listen: { port } } })).catch(
      (thrown: unknown) => thrown,
    );
    expect(error).toMatchObject({ code: 'port.taken', details: { key: 'mail.listen.port', port } });
    expect(String(error)).toContain(String(process.pid));
  });

  it('keeps a configured port even where it is the default of another process', async () => {
    await take(DEFAULT_PORTS.smtp);
    const { addresses } = await choosePorts(Configuration.parse({ inbox: { port: 28_080 }, http: { port: 28_081 } }));
    expect([addresses.inbox?.port, addresses.http.port]).toEqual([28_080, 28_081]);
    expect(addresses.smtp.port).not.toBe(DEFAULT_PORTS.smtp);
  });

  it('refuses two keys with one port', async () => {
    const port = await take();
    servers.splice(0).forEach((server) => server.close());
    await expect(choosePorts(Configuration.parse({ http: { port }, inbox: { port } }))).rejects.toMatchObject({
      code: 'port.taken',
    });
  });

  it('gives every process a port of its own', async () => {
    const { addresses } = await choosePorts(Configuration.parse({}), { anyPort: true });
    const ports = [addresses.smtp, addresses.http, addresses.inbox, addresses.workerMetrics, addresses.smtpMetrics].map(
      (one) => one?.port,
    );
    ports.push(Number(addresses.temporal.split(':')[1]), Number(new URL(addresses.temporalUi ?? '').port));
    expect(new Set(ports).size).toBe(7);
  });
});
