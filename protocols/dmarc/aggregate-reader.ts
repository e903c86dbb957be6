/**
 * Reads an aggregate report as its bytes stream in (RFC 7489, appendix C; RFC 9990, appendix A), in constant memory.
 * Anyone can send one: nothing in it is trusted, no DOCTYPE is read, and every length has its limit.
 */
import { SaxesParser, type SaxesTagPlain } from 'saxes';
import type { AggregateRecord, AggregateReport, Extension, ReportTotals } from './aggregate.ts';
import { XmlDecoder } from './decoder.ts';
import { emptyReason, emptyRecord, emptyReport, emptyResult, FEEDBACK, type Draft, type Element } from './elements.ts';
import { dmarcError } from './errors.ts';
import {
  MAX_DEPTH,
  MAX_ELEMENTS,
  MAX_EXTENSION_ELEMENTS,
  MAX_HEAD_TEXT,
  MAX_MESSAGES,
  MAX_RECORD_TEXT,
  MAX_RUN,
  MAX_TEXT,
  MAX_WITHOUT_RECORD,
  REPORT_LIMITS,
  type ReportLimits,
} from './limits.ts';
import { settleRecord, settleReport } from './settle.ts';
import { dateRangeOf } from './values.ts';
import { Warnings } from './warnings.ts';

export interface AggregateReaderOptions {
  limits?: ReportLimits;
  /** Milliseconds since 1970: a report about the future is refused. @default the time of the call */
  now?: number;
  /** Warnings of what lies around the report, to be listed with its own. */
  warnings?: Warnings;
}

/** `write` as often as there are bytes, then `end` once. After an error the reader is spent. */
export class AggregateReader {
  readonly #limits: ReportLimits;
  readonly #warnings: Warnings;
  readonly #decoder: XmlDecoder;
  readonly #parser = new SaxesParser({ xmlns: false, position: false });
  readonly #draft: Draft;
  /** The open elements of either form, and within the last of them those of neither. */
  readonly #open: Element[] = [];
  readonly #extensions: Extension[] = [];
  #text = '';
  #prefix = '';
  #namespaces: Record<string, string> = {};
  #state: 'before' | 'inside' | 'after' = 'before';
  #range: { begin: number; end: number } | undefined;
  #bytes = 0;
  /** Bytes since the last element began or ended. */
  #run = 0;
  /** Bytes since the last record ended. */
  #withoutRecord = 0;
  #kept = 0;
  /** Characters that may still be kept of the record that is being read, and before the first one of what is there. */
  #room = MAX_HEAD_TEXT;
  /** Elements since the last record ended. */
  #elements = 0;
  #records: AggregateRecord[] = [];
  readonly #totals: ReportTotals = {
    records: 0,
    messages: 0,
    dmarcPass: 0,
    dkimPass: 0,
    spfPass: 0,
    dispositions: { none: 0, pass: 0, quarantine: 0, reject: 0, unknown: 0 },
  };

  constructor({ limits = REPORT_LIMITS, now = Date.now(), warnings = new Warnings() }: AggregateReaderOptions = {}) {
    this.#limits = limits;
    this.#warnings = warnings;
    this.#decoder = new XmlDecoder(warnings);
    this.#draft = {
      report: emptyReport(),
      record: emptyRecord(),
      result: emptyResult(),
      reason: emptyReason(),
      warnings,
      recordBegins: () => {
        // Each record has room of its own.
        this.#kept = 0;
        this.#room = MAX_RECORD_TEXT;
      },
      recordEnds: () => this.#recordEnds(),
      rangeEnds: () => {
        const { begin, end } = this.#draft.report.range;
        this.#range = dateRangeOf(begin, end, now, warnings);
      },
    };
    this.#parser.on('opentag', (tag) => this.#opens(tag));
    this.#parser.on('closetag', () => this.#closes());
    this.#parser.on('text', (text) => this.#takes(text));
    this.#parser.on('cdata', (text) => this.#takes(text));
    this.#parser.on('doctype', () => {
      throw doctype();
    });
    this.#parser.on('error', (error) => this.#fails(error));
  }

  /**
   * @returns the records that these bytes completed
   * @throws PermanentError any of `DMARC_ERRORS` but those of archives
   */
  write(chunk: Uint8Array): AggregateRecord[] {
    this.#bytes += chunk.length;
    if (this.#bytes > this.#limits.bytes)
      throw dmarcError('dmarc.too_large', `The report is larger than ${this.#limits.bytes} bytes.`);
    // What has no elements is held by the parser until it ends: a text, a comment, a DOCTYPE.
    for (let from = 0; from < chunk.length; from += PIECE) {
      const piece = chunk.subarray(from, from + PIECE);
      this.#run += piece.length;
      this.#withoutRecord += piece.length;
      this.#parser.write(this.#decoder.write(piece));
      if (this.#run > MAX_RUN)
        throw dmarcError('dmarc.too_large', `The report has more than ${MAX_RUN} bytes without an element.`);
      if (this.#withoutRecord > MAX_WITHOUT_RECORD)
        throw dmarcError('dmarc.too_large', `The report has more than ${MAX_WITHOUT_RECORD} bytes without a record.`);
    }
    const records = this.#records;
    this.#records = [];
    return records;
  }

  /**
   * @returns everything of the report but its records
   * @throws PermanentError as `write` does, `dmarc.truncated`, `dmarc.incomplete`
   */
  end(): AggregateReport {
    this.#parser.write(this.#decoder.end());
    if (this.#state === 'before')
      throw this.#bytes === 0
        ? dmarcError('dmarc.empty', 'There are no bytes.')
        : dmarcError('dmarc.not_a_report', 'There is no element in it.');
    if (this.#state === 'inside') throw dmarcError('dmarc.truncated', 'The report ends before its last element does.');
    if (this.#totals.records === 0) this.#warnings.add('no_records');
    return {
      ...settleReport(this.#draft.report, this.#range, this.#namespaces, this.#warnings),
      totals: this.#totals,
      warnings: this.#warnings.list(),
    };
  }

  #opens({ name, attributes }: SaxesTagPlain): void {
    this.#run = 0;
    if (++this.#elements > MAX_ELEMENTS)
      throw dmarcError('dmarc.too_large', `The report has more than ${MAX_ELEMENTS} elements without a record.`);
    if (this.#state !== 'inside') return this.#begins(name, attributes);
    if (this.#open.length + this.#extensions.length >= MAX_DEPTH)
      throw dmarcError('dmarc.too_deep', `The report is nested more than ${MAX_DEPTH} deep.`);
    if (this.#extensions.length === 0) {
      const local = this.#prefix !== '' && name.startsWith(this.#prefix) ? name.slice(this.#prefix.length) : name;
      const element = this.#top().children.get(local);
      if (element) {
        this.#text = '';
        element.begin?.(this.#draft);
        this.#open.push(element);
        return;
      }
    }
    this.#extensions.push(this.#extend(name, attributes));
  }

  #top(): Element {
    return this.#open[this.#open.length - 1] as Element;
  }

  #begins(name: string, attributes: Record<string, string>): void {
    if (this.#state === 'after')
      throw dmarcError('dmarc.malformed', `A second document begins: <${name.slice(0, 80)}>.`);
    const [, prefix = '', local = name] = /^([^:]+:)(.*)$/.exec(name) ?? [];
    if (local !== 'feedback')
      throw dmarcError('dmarc.not_a_report', `The document is a <${name.slice(0, 80)}>, not a <feedback>.`);
    this.#prefix = prefix;
    this.#state = 'inside';
    for (const [key, value] of Object.entries(attributes).slice(0, MAX_EXTENSION_ELEMENTS))
      if (key === 'xmlns' || key.startsWith('xmlns:'))
        this.#namespaces[key.slice(6, MAX_TEXT)] = value.slice(0, MAX_TEXT);
    this.#open.push(FEEDBACK);
  }

  /** An element of neither form, kept as it stands while there is room. */
  #extend(name: string, attributes: Record<string, string>): Extension {
    const extension: Extension = { name: name.slice(0, MAX_NAME), attributes: {}, text: '', children: [] };
    const parent = this.#top();
    const inside = this.#extensions[this.#extensions.length - 1];
    if (!inside && !name.includes(':') && name !== 'extension' && name !== 'extensions')
      this.#warnings.add('unknown_element', parent.path, name);
    if (this.#kept >= MAX_EXTENSION_ELEMENTS) {
      this.#warnings.add('extensions_cut');
      return extension;
    }
    this.#kept++;
    this.#room -= extension.name.length;
    for (const [key, value] of Object.entries(attributes).slice(0, MAX_EXTENSION_ELEMENTS)) {
      const kept = value.slice(0, MAX_TEXT);
      this.#room -= key.length + kept.length;
      if (this.#room < 0) {
        this.#warnings.add('extensions_cut');
        break;
      }
      extension.attributes[key] = kept;
    }
    const { record, report } = this.#draft;
    const siblings = inside
      ? inside.children
      : parent.path === 'record' || parent.path.startsWith('record/')
        ? record.extensions
        : report.extensions;
    siblings.push(extension);
    return extension;
  }

  #closes(): void {
    this.#run = 0;
    if (this.#extensions.length > 0) {
      const extension = this.#extensions.pop() as Extension;
      extension.text = extension.text.trim();
      this.#room -= extension.text.length;
      return;
    }
    const element = this.#open.pop();
    if (!element) return;
    if (element.fill) {
      const text = this.#text.trim();
      this.#room -= text.length;
      element.fill(this.#draft, text);
    }
    element.end?.(this.#draft);
    if (this.#open.length === 0) this.#state = 'after';
  }

  #takes(text: string): void {
    if (this.#open.length === 0) return;
    const element = this.#top();
    const extension = this.#extensions[this.#extensions.length - 1];
    if (extension) extension.text = this.#append(extension.text, text, '');
    else if (element.fill) this.#text = this.#append(this.#text, text, element.path);
    else if (text.trim() !== '') this.#warnings.add('stray_text', element.path, text.trim());
  }

  #append(before: string, text: string, path: string): string {
    const most = Math.max(Math.min(MAX_TEXT, this.#room), 0);
    if (before.length + text.length <= most) return before === '' ? text : before + text;
    this.#warnings.add('text_cut', path, text.trim());
    return (before + text.slice(0, most)).slice(0, most);
  }

  #recordEnds(): void {
    const totals = this.#totals;
    this.#withoutRecord = 0;
    this.#elements = 0;
    totals.records++;
    if (totals.records > this.#limits.records)
      throw dmarcError('dmarc.too_many_records', `The report has more than ${this.#limits.records} records.`);
    const record = settleRecord(this.#draft.record, totals.records, this.#warnings);
    const { count, evaluated } = record;
    totals.messages += count;
    totals.dispositions[evaluated.disposition ?? 'unknown'] += count;
    if (evaluated.dkim === 'pass') totals.dkimPass += count;
    if (evaluated.spf === 'pass') totals.spfPass += count;
    if (evaluated.dkim === 'pass' || evaluated.spf === 'pass') totals.dmarcPass += count;
    this.#records.push(record);
    if (totals.messages > MAX_MESSAGES)
      throw dmarcError('dmarc.bad_count', `The counts of the report come to more than ${MAX_MESSAGES}.`);
  }

  /** After the report mail gateways leave line ends, NULs and disclaimers: they change nothing of what was read. */
  #fails({ message }: Error): void {
    if (this.#state === 'after') return this.#warnings.add('trailing_data');
    if (/doctype/i.test(message)) throw doctype();
    throw dmarcError('dmarc.malformed', `The document is not well-formed XML: ${message}`);
  }
}

/** Characters of the name of an element of neither form. */
const MAX_NAME = 255;
/** So that the limit of a run holds however the bytes are cut. */
const PIECE = 65_536;

const doctype = () =>
  dmarcError('dmarc.doctype', 'The document has a DOCTYPE, by which entities and files are smuggled in.');
