/** Debian's postfix as a plain relay: it verifies and signs nothing, and queues on disk. */
import type { Candidate } from './candidate.ts';
import { hasPostfix, NO_POSTFIX, startPostfix } from '../../test/support/postfix.ts';
import { FORWARD_DOMAIN, FORWARD_HOST, freePort, reachable } from './world.ts';

export const postfix: Candidate = {
  name: 'postfix, plain relay',
  does: 'queue on disk; no check, no signature',
  async start(world, folder) {
    if (!hasPostfix) throw new Error(NO_POSTFIX);
    const port = await freePort();
    const postfix = startPostfix(folder, port, {
      myhostname: FORWARD_HOST,
      mynetworks: '192.0.2.0/32',
      relay_domains: FORWARD_DOMAIN,
      smtpd_relay_restrictions: 'reject_unauth_destination',
      relayhost: `[${world.sink.host}]:${world.sink.port}`,
      relay_transport: 'relay',
      default_process_limit: '250',
      maillog_file: '',
    });
    await reachable('127.0.0.1', port);
    return { port, parts: { postfix: [postfix.pid] }, close: async () => postfix.stop() };
  },
};
