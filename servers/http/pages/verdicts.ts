/** What verification found, in words: one row a method. */
import { html } from 'hono/html';
import type { Authentication } from '../../../stores/records/port.ts';
import type { Html } from './layout.ts';
import { dmarcTone, plural, tag, verdictTone, type Tone } from './words.ts';

interface Row {
  method: string;
  result: string;
  tone: Tone;
  words: string;
}

export function verdictsTable(authentication: Authentication): Html {
  return html`<table class="cards">
    <thead>
      <tr>
        <th>Method</th>
        <th>Result</th>
        <th>What it says</th>
      </tr>
    </thead>
    <tbody>
      ${rows(authentication).map(
        ({ method, result, tone, words }) =>
          html`<tr>
            <td class="first">${method}</td>
            <td class="state">${tag(tone, result)}</td>
            <td class="wide">${words}</td>
          </tr>`,
      )}
    </tbody>
  </table>`;
}

function rows({ spf, dkim, dmarc, arc }: Authentication): Row[] {
  const found: Row[] = [
    {
      method: 'SPF',
      result: spf.result,
      tone: verdictTone(spf.result),
      words: `${SPF[spf.result]} ${spf.scope === 'helo' ? 'HELO name' : 'Envelope sender'}: ${spf.domain || 'none'}.`,
    },
  ];
  if (dkim.length === 0)
    found.push({ method: 'DKIM', result: 'none', tone: 'none', words: 'The message carries no signature.' });
  for (const one of dkim) {
    const aligned =
      one.underSized > 0
        ? `It leaves ${plural(one.underSized, 'byte')} of the body unsigned, so it does not count.`
        : one.aligned
          ? 'It belongs to the author domain.'
          : 'It does not belong to the author domain.';
    found.push({
      method: 'DKIM',
      result: one.result,
      tone: verdictTone(one.result),
      words: `Signature of ${one.domain}, selector ${one.selector}, ${one.algorithm}. ${aligned}`,
    });
  }
  const policy = dmarc.policy === null ? 'publishes no policy' : `asks for ${dmarc.policy}`;
  found.push({
    method: 'DMARC',
    result: dmarc.result,
    tone: dmarcTone({ dmarc, arc }),
    words: `${dmarc.domain || 'The author domain'} ${policy}; what was done: ${dmarc.disposition}.${dmarc.result === 'fail' && arc.result === 'pass' ? FORWARDED : ''}`,
  });
  found.push({
    method: 'ARC',
    result: arc.result,
    tone: verdictTone(arc.result),
    words:
      arc.instance === 0
        ? 'The message carries no seal of an earlier host.'
        : `${plural(arc.instance, 'seal')} of earlier hosts; the chain ${arc.result === 'pass' ? 'is whole' : 'is broken'}.`,
  });
  return found;
}

/** RFC 8617, 1: what ARC is for. */
const FORWARDED = ' Forwarding breaks alignment; the ARC chain carries what the first host found.';

/** RFC 7208, 2.6. */
const SPF: Record<Authentication['spf']['result'], string> = {
  pass: 'The address may send for this domain.',
  fail: 'The address may not send for this domain.',
  softfail: 'The address probably may not send for this domain.',
  neutral: 'The domain says nothing about this address.',
  none: 'The domain publishes no SPF record.',
  temperror: 'The DNS did not answer.',
  permerror: 'The SPF record of the domain is not valid.',
};
