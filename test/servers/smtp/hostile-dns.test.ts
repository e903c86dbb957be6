/** Senders whose name servers are silent, lie, go in circles or never end: the answer comes, and others do not wait. */
import { randomBytes } from 'node:crypto';
import type { Answer } from 'dns-packet';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { alias, liar, many, reply, type Lie } from '../../support/lying-dns.ts';
import { besides, GOOD, OWN_DOMAIN, startReceiver, type Receiver } from '../../support/receiver.ts';

const CEILING_MS = 10_000;
/** What the name server of `<key>.liar.test` says about its records. */
const LIES: Record<string, Lie> = {
  garbage: () => randomBytes(200),
  'other-id': (question, query) => reply({ ...query, id: ((query.id ?? 0) + 1) % 65_536 }, [pass(question.name)]),
  'other-name': (_question, query) => reply(query, [pass('plain.test')]),
  'other-question': (_question, query) =>
    reply({ ...query, questions: [{ type: 'TXT', name: 'plain.test' }] }, [pass('plain.test')]),
  'no-end': (question, query) => reply(query, [txt(question.name, 'v=spf1 '.padEnd(60_000, 'ip4:192.0.2.1 '))]),
  many: (question, query) =>
    reply(
      query,
      many(1_000, (i) => txt(question.name, `v=spf1 ip4:192.0.2.${i % 256}`)),
    ),
  circle: (question, query) => reply(query, [alias(question.name, 'b.liar.test'), alias('b.liar.test', question.name)]),
  cut: (question, query) => reply(query, [pass(question.name)]).subarray(0, 40),
  lines: (question, query) => reply(query, [txt(question.name, 'v=spf1 \r\nX-Injected: yes\r\n -all')]),
  nul: (question, query) => reply(query, [txt(question.name, 'v=spf1 \0 -all')]),
  'includes-itself': (question, query) => reply(query, [txt(question.name, `v=spf1 include:${question.name} -all`)]),
  'includes-many': (question, query) =>
    reply(query, [
      txt(question.name, `v=spf1 ${many(9, (i) => `include:${i}.${question.name}`).join(' ')} -all`.slice(0, 4_000)),
    ]),
};

const txt = (name: string, text: string): Answer => ({
  type: 'TXT',
  name,
  ttl: 1,
  data: text.match(/.{1,255}/gs) ?? [],
});
const pass = (name: string): Answer => txt(name, 'v=spf1 +all');

let receiver: Receiver;
beforeAll(async () => {
  receiver = await startReceiver({
    mail: { limits: { verification: '3s' } },
    lie: liar('liar.test', LIES),
  });
  await receiver.send({});
});
afterAll(() => receiver?.close());
afterEach(async () => {
  const began = performance.now();
  expect((await receiver.send({})).data).toMatch(/^250 2\.6\.0 /);
  expect(performance.now() - began).toBeLessThan(CEILING_MS);
});

/** A message whose envelope sender, author, HELO name and signature lead to the liar. */
const from = (domain: string) => ({
  from: `mallory@${domain}`,
  helo: `mail.${domain}`,
  to: [`liar@${OWN_DOMAIN}`],
  message:
    `DKIM-Signature: v=1; a=rsa-sha256; d=${domain}; s=s; h=from; bh=AAAA; b=AAAA\r\n` +
    `ARC-Seal: i=1; a=rsa-sha256; cv=none; d=${domain}; s=s; b=AAAA\r\n` +
    `ARC-Message-Signature: i=1; a=rsa-sha256; d=${domain}; s=s; h=from; bh=AAAA; b=AAAA\r\n` +
    `ARC-Authentication-Results: i=1; ${domain}; none\r\n` +
    GOOD.replaceAll('plain.test', domain),
});

describe('a name server', () => {
  it.each([
    // What cannot be read is not known: the sender comes again.
    ['answers with noise', 'garbage', /^451 4\.[47]\./],
    ['answers under another id', 'other-id', /^451 4\.[47]\./],
    ['answers another question', 'other-question', /^451 4\.[47]\./],
    ['answers with half a packet', 'cut', /^451 4\.[47]\./],
    ['answers with an alias that leads to itself', 'circle', /^(?:451 4\.[47]\.|550 5\.7\.)/],
    // RFC 7208, 4.5 and 4.6.4: two records, too many lookups, a term that is none: permerror, which is no pass.
    ['answers with 60 KB', 'no-end', /^550 5\.7\./],
    ['answers with 1,000 records', 'many', /^550 5\.7\./],
    ['answers with line ends and a field of its own', 'lines', /^550 5\.7\./],
    ['answers with a NUL', 'nul', /^550 5\.7\./],
    ['includes itself', 'includes-itself', /^550 5\.7\./],
    ['includes nine others, each of which includes nine', 'includes-many', /^550 5\.7\./],
  ])('that %s gets no mail accepted, and nobody waits for it', async (_what, name, expected) => {
    const before = receiver.dns.queries.length;
    const began = performance.now();
    const { result, bystander } = await besides(receiver, () => receiver.send(from(`${name}.liar.test`)));
    expect(performance.now() - began).toBeLessThan(CEILING_MS);
    expect(result.data).toMatch(expected);
    expect(result.data).not.toContain('\n');
    expect(bystander.worst).toBeLessThan(CEILING_MS);
    expect(bystander.replies.every((one) => one.startsWith('250 '))).toBe(true);
    // RFC 7208, 4.6.4 and RFC 9989, 4.10: lookups are counted, whatever the answers ask for.
    const asked = receiver.dns.queries.slice(before).filter((query) => query.name.endsWith('liar.test'));
    expect(asked.length).toBeLessThan(100);
    const [record] = await receiver.records.activity.list({ recipient: `liar@${OWN_DOMAIN}`, limit: 1 });
    if (result.data?.startsWith('550')) {
      expect(record).toMatchObject({ outcome: 'rejected', blob: null });
      expect(record?.authentication?.authenticationResults).not.toMatch(/\r\n(?![ \t])|\0/);
    }
  });

  it('that answers for another name speaks for its own alone', async () => {
    const { data } = await receiver.send(from('other-name.liar.test'));
    expect(data).toMatch(/^250 /);
    const [record] = await receiver.records.activity.list({ recipient: `liar@${OWN_DOMAIN}`, limit: 1 });
    expect(record?.authentication?.spf).toEqual({ result: 'pass', domain: 'other-name.liar.test', scope: 'mfrom' });
    expect(record?.authentication?.dmarc).toMatchObject({ domain: 'other-name.liar.test', result: 'none' });
  });

  it('that is silent delays its own senders and nobody else', async () => {
    receiver.dns.fail('liar.test', 'silent');
    const began = performance.now();
    const { result, bystander } = await besides(receiver, () =>
      Promise.all(many(8, () => receiver.send({ ...from('liar.test'), helo: 'client.test' }))),
    );
    for (const { data } of result) expect(data).toMatch(/^451 4\.[47]\./);
    expect(performance.now() - began).toBeLessThan(CEILING_MS);
    expect(bystander.replies.length).toBeGreaterThan(2);
    expect(bystander.replies.every((one) => one.startsWith('250 '))).toBe(true);
  });
});
