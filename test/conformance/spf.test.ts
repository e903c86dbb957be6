/**
 * SPF: the test suite of RFC 7208 (openspf, release 2014.04 with the fixes of pyspf), every case over DNS on the wire
 * and the verification of the session. The exceptions are named with the last test.
 */
import * as packet from 'dns-packet';
import type { Answer, Packet, Question } from 'dns-packet';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Verified } from '../../activities/mail/authenticator/port.ts';
import { verifyMessage } from '../../activities/mail/authenticator/verification.ts';
import { sharedYaml } from '../protocols/shared-data.ts';
import { openVerification, type Verification } from '../support/verification.ts';

type Entry = 'TIMEOUT' | Record<string, unknown>;
interface Scenario {
  description: string;
  tests: Record<string, { host: string; helo: string; mailfrom: string; result: string | string[] }>;
  zonedata: Record<string, Entry[]>;
}

const scenarios = sharedYaml('mail/openspf/rfc7208-tests.yml').map((document) => document.toJS() as Scenario);
let zone = new Map<string, Entry[]>();
let verification: Verification;
beforeAll(async () => {
  verification = await openVerification({ lie: answer });
});
afterAll(() => verification?.close());

interface Found {
  status: 'found' | 'nothing' | 'no name' | 'no answer';
  /** Aliases that led to the records, in order. */
  aliases: [name: string, target: string][];
  values: unknown[];
}

/** What the suite asks of a driver: SPF records stand for TXT where there is none, `TIMEOUT` is for what comes after it. */
function look(asked: string, type: string): Found {
  const aliases: Found['aliases'] = [];
  let name = asked.toLowerCase();
  for (let hops = 0; hops < 10; hops++) {
    const entries = zone.get(name);
    if (!entries) return { status: name.startsWith('error.') ? 'no answer' : 'no name', aliases, values: [] };
    const asText = type === 'TXT' && !entries.some((entry) => entry !== 'TIMEOUT' && 'TXT' in entry);
    const key = asText ? 'SPF' : type;
    const values: unknown[] = [];
    for (const entry of entries) {
      if (entry !== 'TIMEOUT' && key in entry && entry[key] !== 'NONE') values.push(entry[key]);
      else if (entry === 'TIMEOUT' && values.length === 0) return { status: 'no answer', aliases, values };
      else if (entry === 'TIMEOUT') break;
    }
    const alias = entries.find((entry) => entry !== 'TIMEOUT' && 'CNAME' in entry) as { CNAME: string } | undefined;
    if (values.length > 0 || !alias) return { status: values.length > 0 ? 'found' : 'nothing', aliases, values };
    aliases.push([name, alias.CNAME]);
    name = alias.CNAME.toLowerCase().replace(/\.$/, '');
  }
  return { status: 'nothing', aliases, values: [] };
}

/** Longer strings than 255 octets do not exist (RFC 1035, 3.3); the suite leaves the cut to its driver. */
const strings = (value: unknown): string[] => {
  const all = [value].flat().flatMap((text) => String(text).match(/.{1,255}/gs) ?? ['']);
  return all.length > 0 ? all : [''];
};

function answer(question: Question, query: Packet): Buffer {
  const { status, aliases, values } = look(question.name, question.type);
  const code = status === 'no answer' ? SERVFAIL : status === 'no name' && aliases.length === 0 ? NXDOMAIN : NOERROR;
  const head = { name: aliases.at(-1)?.[1] ?? question.name, ttl: 1 };
  const answers = values.map((value): Answer => {
    if (question.type === 'TXT') return { ...head, type: 'TXT', data: strings(value) };
    if (question.type !== 'MX') return { ...head, type: question.type as 'A' | 'AAAA' | 'PTR', data: String(value) };
    const [preference, exchange] = value as [number, string];
    return { ...head, type: 'MX', data: { preference, exchange: exchange || '.' } };
  });
  return packet.encode({
    type: 'response',
    id: query.id,
    flags: packet.AUTHORITATIVE_ANSWER | packet.RECURSION_AVAILABLE | code,
    questions: query.questions,
    answers: [...aliases.map(([name, data]): Answer => ({ type: 'CNAME', name, ttl: 1, data })), ...answers],
  });
}
const NOERROR = 0,
  SERVFAIL = 2,
  NXDOMAIN = 3;

/** The same answers without a wire, in the shape of node:dns. */
const handedIn = {
  async resolve(name: string, type: string) {
    const { status, values } = look(name, type);
    const codes = { nothing: 'ENODATA', 'no name': 'ENOTFOUND', 'no answer': 'ESERVFAIL' };
    if (status !== 'found') throw Object.assign(new Error(`${type} ${name}`), { code: codes[status] });
    if (type === 'TXT') return values.map(strings);
    if (type !== 'MX') return values as string[];
    return (values as [number, string][]).map(([priority, exchange]) => ({
      priority,
      exchange,
    })) as unknown as string[];
  },
};

/** @returns the cases that failed, and how many passed */
async function run(verify: (request: { sourceAddress: string; helo: string; sender: string }) => Promise<Verified>) {
  const failed: string[] = [];
  let passed = 0;
  for (const { tests, zonedata } of scenarios) {
    zone = new Map(Object.entries(zonedata).map(([name, entries]) => [name.toLowerCase(), entries]));
    for (const [name, { host, helo, mailfrom, result }] of Object.entries(tests)) {
      const { authentication } = await verify({ sourceAddress: host, helo, sender: mailfrom ?? '' });
      if ([result].flat().includes(authentication.spf.result)) passed++;
      else failed.push(`${name}: ${authentication.spf.result} for ${String(result)}`);
    }
  }
  return { failed, passed };
}
const message = Buffer.from('From: a@from.invalid\r\n\r\nHello.\r\n');

it.skipIf(scenarios.length === 0)('passes 203 of 203 cases', async () => {
  const ours = { hostname: 'mx.own.test', resolver: handedIn };
  expect(await run((request) => verifyMessage(message, request, ours))).toEqual({ failed: [], passed: 203 });
});

it.skipIf(scenarios.length === 0)(
  'passes 198 of them over DNS, where five ask for names that c-ares does not ask',
  async () => {
    // `foo:bar/baz.example.com` and names with blanks and percents are names to RFC 1035 and to no registry; c-ares,
    // which Node asks with, refuses to send them (EBADNAME), so that they have no records.
    expect(await run((request) => verification.verify({ message, ...request }))).toEqual({
      failed: [
        'a-colon-domain: neutral for pass',
        'a-colon-domain-ip4mapped: neutral for pass',
        'mx-colon-domain: neutral for pass',
        'mx-colon-domain-ip4mapped: neutral for pass',
        'macro-mania-in-domain: fail for pass',
      ],
      passed: 198,
    });
  },
);
