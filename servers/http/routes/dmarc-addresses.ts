/** Report addresses: which domains are reported about, where the reports come to, and what to publish for it. */
import { z } from 'zod';
import { addDmarcDomain, recordsToPublish, removeDmarcDomain } from '../../dmarc/domains.ts';
import { tlsPostUrl } from '../../dmarc/tls-post.ts';
import type { HttpContext } from '../context.ts';
import { findDomain } from '../dmarc/find.ts';
import { defineRoute, type Route } from '../route.ts';

const DOMAIN = { domain: 'The domain that is reported about.' };

const DnsRecord = z.object({
  name: z.string(),
  type: z.literal('TXT'),
  value: z
    .string()
    .nullable()
    .describe('The whole record; null where it depends on one that could not be read, or that is there several times.'),
  zoneFile: z.string().nullable().describe('The same as a line of a zone file.'),
  add: z.string().nullable().describe('Where value is null: the tag to add to the record that is there.'),
  note: z.string().nullable().describe('What to know before it is published.'),
  zone: z.string().describe('The domain whose DNS it belongs into.'),
  purpose: z.string(),
});

const Added = z.object({
  domain: z.string(),
  address: z.string().describe('Where the reports come to.'),
  createdAt: z.string(),
  post: z.string().nullable().describe('Where reporters POST reports on TLS to; none without an https URL of ours.'),
  records: z.array(DnsRecord).describe('What to publish. What is there is added to, and no policy changes.'),
});

const surroundings = ({ configuration, keys, resolver }: HttpContext['dependencies']) => ({
  resolver,
  postUrl: (domain: string) => tlsPostUrl(domain, configuration, async () => keys),
});

export const dmarcAddressRoutes: readonly Route[] = [
  defineRoute({
    method: 'post',
    path: '/v1/dmarc/domains',
    group: 'DMARC',
    summary: 'Take reports about a domain: gives it a report address and says what to publish.',
    description: 'Of a domain that has an address, that one is answered; another one takes its place.',
    scope: 'dmarc:write',
    body: z.strictObject({
      domain: z.string().min(1).max(253).describe('The domain that the reports are about.'),
      address: z
        .string()
        .min(3)
        .max(320)
        .optional()
        .describe('Address at a mail domain of this installation; without it one is chosen.'),
    }),
    answers: { 200: { description: 'The domain as it is now.', body: Added } },
    errors: [
      'input.invalid',
      'address.invalid',
      'dmarc.address_needed',
      'dmarc.address_taken',
      'dmarc.mail_domain_unknown',
    ],
    async handle({ http, context: { dependencies }, token, body }) {
      const actor = `token:${token.name}`;
      return http.json(await addDmarcDomain(body, dependencies.records, surroundings(dependencies), actor));
    },
  }),
  defineRoute({
    method: 'get',
    path: '/v1/dmarc/domains/{domain}/dns',
    group: 'DMARC',
    summary: 'What to publish so that reports about the domain come.',
    parameters: DOMAIN,
    scope: 'dmarc:read',
    answers: { 200: { description: 'The records.', body: z.object({ items: z.array(DnsRecord) }) } },
    errors: ['dmarc.domain_missing'],
    async handle({ http, context: { dependencies }, path }) {
      const { domain, address } = await findDomain(dependencies.records.dmarc, path.domain ?? '');
      const known = await dependencies.records.dmarc.domains.get(domain);
      return http.json({
        items: known && address !== null ? await recordsToPublish(known, surroundings(dependencies)) : [],
      });
    },
  }),
  defineRoute({
    method: 'delete',
    path: '/v1/dmarc/domains/{domain}',
    group: 'DMARC',
    summary: 'Take no more reports about a domain.',
    description: 'Mail to its address is refused from then on. What was reported stays.',
    parameters: DOMAIN,
    scope: 'dmarc:write',
    answers: { 204: { description: 'Its address is gone.' } },
    errors: ['dmarc.domain_missing'],
    async handle({ http, context: { dependencies }, token, path }) {
      await removeDmarcDomain(path.domain ?? '', dependencies.records.dmarc, `token:${token.name}`);
      return http.body(null, 204);
    },
  }),
];
