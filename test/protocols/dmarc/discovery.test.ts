/** RFC 9989, 4.7, 4.10 and the examples of its appendix B.4; expectations worked out by hand from its text. */
import { describe, expect, it } from 'vitest';
import { discoverPolicy } from '../../../protocols/dmarc/discovery.ts';

async function discover(domain: string, zone: Record<string, string | string[]>, existing: string[] = [domain]) {
  const names: string[] = [];
  const txt = async (name: string) => {
    names.push(name);
    return [zone[name.replace('_dmarc.', '')] ?? []].flat();
  };
  const found = await discoverPolicy(domain, { txt, exists: async (name) => existing.includes(name) });
  return { found, names };
}
const inherited = (from: string, policy: string) => ({ kind: 'inherited', from, policy });

describe('the record that holds', () => {
  it('is the own one, and nothing else is asked', async () => {
    const { found, names } = await discover('news.example.com', {
      'news.example.com': ['v=spf1 -all', 'v=DMARC1; p=none'],
      'example.com': 'v=DMARC1; p=reject',
    });
    expect(found).toEqual({ kind: 'own', record: 'v=DMARC1; p=none' });
    expect(names).toEqual(['_dmarc.news.example.com']);
  });

  it.each([
    ['p, where sp is not said', 'v=DMARC1; p=reject', 'reject'],
    ['sp', 'v=DMARC1; p=reject; sp=quarantine; np=none', 'quarantine'],
    ['with spaces and capitals', 'v = DMARC1 ; p = Reject', 'reject'],
    ['none, where p is no policy', 'v=DMARC1; p=foo; rua=mailto:a@example.com', 'none'],
  ])('of a subdomain without one is that above it: %s', async (_what, record, policy) => {
    const { found } = await discover('news.example.com', { 'example.com': record });
    expect(found).toMatchObject({ ...inherited('example.com', policy), record });
  });

  it('has np for a name that does not exist', async () => {
    const zone = { 'example.com': 'v=DMARC1; p=none; sp=quarantine; np=reject' };
    expect((await discover('no.example.com', zone, [])).found).toMatchObject(inherited('example.com', 'reject'));
    expect((await discover('no.example.com', zone)).found).toMatchObject(inherited('example.com', 'quarantine'));
  });

  it('is that of the organisation and not of what lies between, unless psd=n says that this is one', async () => {
    const zone = { 'b.example.com': 'v=DMARC1; p=none', 'example.com': 'v=DMARC1; p=reject' };
    expect((await discover('a.b.example.com', zone)).found).toMatchObject(inherited('example.com', 'reject'));
    const apart = { ...zone, 'b.example.com': 'v=DMARC1; p=quarantine; psd=n' };
    expect((await discover('a.b.example.com', apart)).found).toMatchObject(inherited('b.example.com', 'quarantine'));
  });

  it('below a public suffix is that of the organisation, else that of the suffix', async () => {
    const zone = { 'bank.example': 'v=DMARC1; p=reject; psd=y', 'giant.bank.example': 'v=DMARC1; p=quarantine' };
    expect((await discover('mail.giant.bank.example', zone)).found).toMatchObject(
      inherited('giant.bank.example', 'quarantine'),
    );
    expect((await discover('mega.bank.example', zone)).found).toMatchObject(inherited('bank.example', 'reject'));
    expect((await discover('mail.mega.bank.example', zone)).found).toMatchObject(inherited('bank.example', 'reject'));
  });

  it('is looked for with eight questions at most', async () => {
    const { found, names } = await discover('a.b.c.d.e.f.g.h.i.j.k.example.com', {
      'example.com': 'v=DMARC1; p=reject',
    });
    expect(found).toMatchObject(inherited('example.com', 'reject'));
    expect(names).toHaveLength(8);
    expect(names[1]).toBe('_dmarc.g.h.i.j.k.example.com');
  });

  it('is none of several, nor one of another version', async () => {
    const twice = ['v=DMARC1; p=reject', 'v=DMARC1; p=none'];
    expect((await discover('example.com', { 'example.com': twice })).found).toEqual({ kind: 'several', count: 2 });
    expect((await discover('news.example.com', { 'example.com': twice })).found).toEqual({ kind: 'none' });
    expect((await discover('example.com', { 'example.com': ['v=dmarc1; p=reject', 'v=DMARC12'] })).found).toEqual({
      kind: 'none',
    });
  });
});
