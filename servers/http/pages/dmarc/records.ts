/** Records of reports, one row each, with what was found and what was done. */
import { html } from 'hono/html';
import type { StoredRecord } from '../../../../stores/records/dmarc/queries-port.ts';
import { dkimWords, spfWords } from '../../dmarc/columns.ts';
import type { Html } from '../layout.ts';
import { number, tag, verdictTone, type Tone } from '../words.ts';
import { dayWords, reportLink } from './view.ts';

/**
 * @param about what the rows differ in: reports about one source, or sources in one report
 * @param sourceHref of the records of a source
 */
export function recordTable(
  records: StoredRecord[],
  about: 'reports' | 'sources',
  sourceHref: (source: string) => string,
): Html {
  return html`<table class="cards figures">
    <thead>
      <tr>
        <th>${about === 'reports' ? 'Report' : 'Source'}</th>
        <th class="n">Messages</th>
        <th>From</th>
        <th>DKIM</th>
        <th>SPF</th>
        <th>What was done</th>
      </tr>
    </thead>
    <tbody>
      ${records.map(
        (one) =>
          html`<tr>
            <td class="first">${about === 'reports' ? reportCell(one) : sourceCell(one, sourceHref)}</td>
            <td class="n" data-label="messages">${number(one.record.count)}</td>
            <td class="wide">${fromCell(one.record)}</td>
            <td class="wide">
              ${aligned('DKIM', one.record.evaluated.dkim)}${found(one.record.dkim.map(dkimWords), 'no signature')}
            </td>
            <td class="wide">
              ${aligned('SPF', one.record.evaluated.spf)}${found(one.record.spf.map(spfWords), 'not said')}
            </td>
            <td class="state">${doneTag(one.record)}${reasons(one.record)}</td>
          </tr>`,
      )}
    </tbody>
  </table>`;
}

const reportCell = ({ reportId, day, organization }: StoredRecord): Html =>
  html`<a class="row" href="${reportLink(reportId)}">${dayWords(day)}</a
    ><span class="quiet">${organization ?? 'reporter without a name'}</span>`;

const sourceCell = ({ record, service }: StoredRecord, href: (source: string) => string): Html =>
  html`<a class="row mono" href="${href(record.sourceIp)}">${record.sourceIp}</a
    ><span class="quiet">${service || 'no known service'}</span>`;

type Record = StoredRecord['record'];

function fromCell({ identifiers: { headerFrom, envelopeFrom, envelopeTo } }: Record): Html {
  const quiet = [
    ...(envelopeFrom !== null && envelopeFrom !== headerFrom ? [`envelope ${envelopeFrom || 'empty'}`] : []),
    ...(envelopeTo !== null ? [`to ${envelopeTo}`] : []),
  ].join(', ');
  return html`${headerFrom ?? 'not said'}${quiet ? html`<br /><span class="quiet">${quiet}</span>` : ''}`;
}

function aligned(method: string, result: 'pass' | 'fail' | null): Html {
  return tag(verdictTone(result ?? 'none'), result === null ? `${method} not said` : `${method} ${result}`);
}

const found = (words: string[], none: string): Html =>
  html`<span class="quiet found"
    >${words.length > 0 ? words.map((one) => html`<span class="row">${one}</span>`) : none}</span
  >`;

const DONE: { [word: string]: { tone: Tone; word: string } } = {
  none: { tone: 'none', word: 'let through' },
  pass: { tone: 'none', word: 'let through' },
  quarantine: { tone: 'warn', word: 'to spam' },
  reject: { tone: 'fail', word: 'refused' },
};

function doneTag({ evaluated: { disposition } }: Record): Html {
  const { tone, word } = DONE[disposition ?? ''] ?? { tone: 'none', word: 'not said' };
  return tag(tone, word);
}

function reasons({ evaluated }: Record): Html | '' {
  if (evaluated.reasons.length === 0) return '';
  return html`<span class="quiet found"
    >${evaluated.reasons.map(
      ({ type, comment }) =>
        html`<span class="row"
          >${[(type ?? 'other reason').replaceAll('_', ' '), comment].filter(Boolean).join(': ')}</span
        >`,
    )}</span
  >`;
}
