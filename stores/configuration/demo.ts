/**
 * The configuration of a start without a file: a demo domain, whose mail goes to the local inbox, and the DNS
 * that it needs. Names under `.test` are nobody's (RFC 6761), so nothing of it reaches the network.
 */
import type { ConfigurationInput } from './schema.ts';

const DESTINATION = 'inbox@inbox.test';

export function demoConfiguration(): ConfigurationInput {
  return {
    hostname: 'mx.demo.test',
    mail: {
      domains: {
        'demo.test': {
          rules: [
            { address: 'hello', forward: [DESTINATION] },
            { address: '*', forward: [DESTINATION] },
          ],
        },
      },
    },
    outbound: { transport: { 'inbox.test': 'inbox' } },
    dns: {
      zones: {
        'demo.test': ['MX 10 mx.demo.test', 'TXT v=spf1 ip4:127.0.0.1 ip6:::1 -all'],
        'mx.demo.test': ['A 127.0.0.1', 'TXT v=spf1 ip4:127.0.0.1 ip6:::1 -all'],
        '_dmarc.demo.test': ['TXT v=DMARC1; p=reject'],
        'sender.test': ['A 127.0.0.1', 'TXT v=spf1 ip4:127.0.0.0/8 ip6:::1 -all'],
        '_dmarc.sender.test': ['TXT v=DMARC1; p=none'],
        'inbox.test': ['MX 10 mx.inbox.test'],
        'mx.inbox.test': ['A 127.0.0.1'],
      },
    },
  };
}
