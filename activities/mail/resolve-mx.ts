/** Where mail for a domain goes, for people and for the canvas; deliveries ask the dialer themselves. */
import { z } from 'zod';
import { defineStep } from '../step.ts';

export const resolveMx = defineStep({
  name: 'mail.resolveMx',
  summary: 'Find where mail for a domain goes: transport map, MX or address, with its MTA-STS policy.',
  input: z.object({
    domain: z.string().min(1).max(255).describe('The domain of the recipient, in any spelling.'),
  }),
  output: z.object({
    source: z.enum(['transport', 'mx', 'address']),
    /** In the order to try. */
    hosts: z.array(z.object({ host: z.string(), port: z.number().int(), addresses: z.array(z.string()) })),
    mtaSts: z.object({ mode: z.enum(['enforce', 'testing', 'none']), mx: z.array(z.string()) }).nullable(),
  }),
  needs: ['dialer'],
  takes: 'network',
  repeat: 'safe',
  scope: 'mail:read',
  errors: [
    'dns.unavailable',
    'address.invalid',
    'mail.no_host',
    'mail.null_mx',
    'mail.loop',
    'network.address_refused',
    'configuration.invalid',
  ],
  run: ({ domain }, { dialer }, { signal }) => dialer.route(domain, signal),
});
