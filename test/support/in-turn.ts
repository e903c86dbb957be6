/** One port for several servers, as two MX records of one preference are: each connection goes to the next one. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import type { Endpoint } from '../../stores/configuration/addresses.ts';

export interface InTurn {
  host: string;
  port: number;
  /** Connections that each server took, in the order of the servers. */
  taken: number[];
  close(): void;
}

const HOST = '127.0.0.1';

/** A server that is away is passed over; when all are, the connection is closed. */
export async function openInTurn(servers: Endpoint[]): Promise<InTurn> {
  const taken = servers.map(() => 0);
  const open = new Set<Socket>();
  let count = 0;
  const listener = createServer((near) => {
    open.add(near);
    near.on('close', () => open.delete(near));
    near.on('error', () => undefined);
    const attempt = (tries: number): void => {
      const index = count++ % servers.length;
      const server = servers[index];
      if (tries === 0 || !server) return void near.destroy();
      // The address of the sender is what SPF is asked about.
      const far = connect({ ...server, localAddress: near.remoteAddress });
      const next = () => attempt(tries - 1);
      far.once('error', next);
      far.once('connect', () => {
        far.off('error', next);
        if (near.destroyed) return void far.destroy();
        taken[index] = (taken[index] ?? 0) + 1;
        far.on('error', () => near.destroy());
        near.on('close', () => far.destroy());
        near.pipe(far).pipe(near);
      });
    };
    attempt(servers.length);
  }).listen(0, HOST);
  await once(listener, 'listening');
  return {
    host: HOST,
    port: (listener.address() as AddressInfo).port,
    taken,
    close() {
      listener.close();
      for (const socket of open) socket.destroy();
    },
  };
}
