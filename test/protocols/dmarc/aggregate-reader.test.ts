/** Aggregate reports: what is refused and with which code, what is taken with a warning, what every element becomes. */
import { describe, expect, it } from 'vitest';
import { AggregateReader } from '../../../protocols/dmarc/aggregate-reader.ts';
import type { AggregateRecord } from '../../../protocols/dmarc/aggregate.ts';
import { REPORT_LIMITS, type ReportLimits } from '../../../protocols/dmarc/limits.ts';
import { DAY, feedback, metadata, NOW, POLICY, range, record, row } from './report.ts';

const bytesOf = (document: string | Uint8Array) =>
  typeof document === 'string' ? Buffer.from(document) : Buffer.from(document);

function read(document: string | Uint8Array, limits?: ReportLimits, chunk = Infinity) {
  const reader = new AggregateReader({ now: NOW, limits });
  const bytes = bytesOf(document);
  const records: AggregateRecord[] = [];
  for (let from = 0; from < bytes.length; from += chunk)
    records.push(...reader.write(bytes.subarray(from, from + chunk)));
  return { ...reader.end(), records };
}

const warningsOf = (document: string | Uint8Array) =>
  read(document).warnings.map(({ code, field }) => (field ? `${code} ${field}` : code));

const withCount = (count: string) => feedback(metadata() + POLICY + record({ row: row({ count }) }));
const withAddress = (ip: string) => feedback(metadata() + POLICY + record({ row: row({ ip }) }));
const withRange = (begin: string, end: string) => feedback(metadata(range(begin, end)) + POLICY + record());
const LAUGHS = `<!DOCTYPE lolz [<!ENTITY a "lol">${[...'bcdefghi']
  .map((name, i) => `<!ENTITY ${name} "${`&${'abcdefgh'[i]};`.repeat(10)}">`)
  .join('')}]>`;

describe('an aggregate report is refused', () => {
  it.each([
    ['nothing', '', 'dmarc.empty'],
    ['a DOCTYPE', `<!DOCTYPE feedback>${feedback().slice(39)}`, 'dmarc.doctype'],
    ['billion laughs', LAUGHS + '<feedback><version>&i;</version></feedback>', 'dmarc.doctype'],
    ['an external entity', '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><feedback/>', 'dmarc.doctype'],
    ['a DOCTYPE inside the root', '<feedback><!DOCTYPE a [<!ENTITY x "y">]></feedback>', 'dmarc.doctype'],
    ['an entity that nobody declared', feedback(metadata() + '<version>&x;</version>'), 'dmarc.malformed'],
    ['another document', '<html><body>Sign in</body></html>', 'dmarc.not_a_report'],
    ['XML without elements', '<?xml version="1.0"?>\n<!-- nothing -->', 'dmarc.not_a_report'],
    ['a tag that is not closed', feedback('<report_metadata><org_name>a</report_metadata>'), 'dmarc.malformed'],
    ['a second document after it', feedback() + feedback().slice(39), 'dmarc.malformed'],
    ['an end in the middle', feedback().slice(0, -30), 'dmarc.truncated'],
    ['no interval', feedback(metadata('') + POLICY + record()), 'dmarc.incomplete'],
    ['no domain', feedback(metadata() + record()), 'dmarc.incomplete'],
    ['count 10^18', withCount('1000000000000000000'), 'dmarc.bad_count'],
    ['count -1', withCount('-1'), 'dmarc.bad_count'],
    ['count 1.5', withCount('1.5'), 'dmarc.bad_count'],
    ['count 1e3', withCount('1e3'), 'dmarc.bad_count'],
    ['count 0x10', withCount('0x10'), 'dmarc.bad_count'],
    ['an empty count', withCount(''), 'dmarc.bad_count'],
    [
      'counts that come to more than 10^11',
      feedback(metadata() + POLICY + record({ row: row({ count: '10000000000' }) }).repeat(10) + record()),
      'dmarc.bad_count',
    ],
    [
      '20,000 elements in one record',
      feedback(metadata() + POLICY + record({ results: '<x/>'.repeat(20_000) })),
      'dmarc.too_large',
    ],
    ['no count', feedback(metadata() + POLICY + record({ row: '<row/>' })), 'dmarc.bad_source_ip'],
    ['an empty address', withAddress(''), 'dmarc.bad_source_ip'],
    ['a name as address', withAddress('mail.example.com'), 'dmarc.bad_source_ip'],
    ['an address as a number', withAddress('3221225985'), 'dmarc.bad_source_ip'],
    ['an octet over 255', withAddress('192.0.2.256'), 'dmarc.bad_source_ip'],
    ['a network as address', withAddress('192.0.2.0/24'), 'dmarc.bad_source_ip'],
    ['two gaps in an address', withAddress('2001:db8::1::2'), 'dmarc.bad_source_ip'],
    ['dates reversed', withRange('1793577599', '1793491200'), 'dmarc.bad_date_range'],
    ['2099', withRange('4070908800', '4070995199'), 'dmarc.bad_date_range'],
    ['no clock, so 1970', withRange('0', '0'), 'dmarc.bad_date_range'],
    ['the day before 2012', withRange('1325289600', '1325375999'), 'dmarc.bad_date_range'],
    ['begun in 1970', withRange('0', '1793577599'), 'dmarc.bad_date_range'],
    ['32 days', withRange('1790812800', '1793577600'), 'dmarc.bad_date_range'],
    ['milliseconds', withRange('1793491200000', '1793577599000'), 'dmarc.bad_date_range'],
    ['a date in words', withRange('Sunday', 'Monday'), 'dmarc.bad_date_range'],
    ['elements 40 deep', feedback('<a>'.repeat(40) + '</a>'.repeat(40)), 'dmarc.too_deep'],
    ['20,000 elements of its own', feedback('<x:a/>'.repeat(20_000)), 'dmarc.too_large'],
    ['a comment of 2 MiB', feedback(`<!--${'x'.repeat(2_097_152)}-->`), 'dmarc.too_large'],
    ['a text of 2 MiB', feedback(`<version>${'x'.repeat(2_097_152)}</version>`), 'dmarc.too_large'],
    ['an attribute of 2 MiB', feedback(`<version a="${'x'.repeat(2_097_152)}"/>`), 'dmarc.too_large'],
    ['a DOCTYPE of 2 MiB', `<!DOCTYPE a [${'x'.repeat(2_097_152)}`, 'dmarc.too_large'],
  ])('%s', (_what, document, code) => {
    expect(() => read(document)).toThrow(expect.objectContaining({ name: 'PermanentError', code }));
  });

  it('with more records or bytes than the limits', () => {
    const two = feedback(metadata() + POLICY + record() + record());
    expect(() => read(two, { ...REPORT_LIMITS, records: 1 })).toThrow(
      expect.objectContaining({ code: 'dmarc.too_many_records' }),
    );
    expect(() => read(two, { ...REPORT_LIMITS, bytes: two.length - 1 })).toThrow(
      expect.objectContaining({ code: 'dmarc.too_large' }),
    );
    expect(read(two, { ...REPORT_LIMITS, records: 2, bytes: two.length }).totals.records).toBe(2);
  });
});

describe('an aggregate report is taken with a warning', () => {
  const evaluated = (disposition: string, more = '') =>
    feedback(
      metadata() +
        POLICY +
        record({
          row: row({ evaluated: `<disposition>${disposition}</disposition><dkim>pass</dkim><spf>fail</spf>${more}` }),
        }),
    );
  it.each([
    ['no record', feedback(metadata() + POLICY), ['no_records']],
    ['count 0', withCount('0'), ['zero_count record/row/count']],
    ['upper case', evaluated('None'), ['letter_case record/row/policy_evaluated/disposition']],
    ['a word of no standard', evaluated('maybe'), ['unknown_value record/row/policy_evaluated/disposition']],
    [
      'an empty reason',
      evaluated('none', '<reason><type/></reason>'),
      ['missing_field record/row/policy_evaluated/reason/type'],
    ],
    ['an element twice', evaluated('none', '<dkim>fail</dkim>'), ['repeated_element record/row/policy_evaluated/dkim']],
    ['text between elements', feedback(metadata() + POLICY + record() + '11'), ['stray_text']],
    ['text after the end', feedback() + '\r\nThis mail was scanned.\0', ['trailing_data']],
    ['an element of its own', feedback(metadata() + POLICY + record() + '<note>x</note>'), ['unknown_element']],
    ['fractions of seconds', withRange('1793491200.25', '1793577599'), ['date_form']],
    ['ISO 8601', withRange('2026-11-01 00:00:00', '1793577599'), ['date_form']],
    ['an interval of no length', withRange('1793491200', '1793491200'), ['empty_interval']],
    [
      'a longer text than is kept',
      feedback(`<version>${'x'.repeat(3_000)}</version>` + metadata() + POLICY + record()),
      ['text_cut version'],
    ],
    [
      '200 DKIM results',
      feedback(
        metadata() +
          POLICY +
          record({ results: '<dkim><domain>a.test</domain><result>pass</result></dkim>'.repeat(200) }),
      ),
      ['results_cut record/auth_results/dkim'],
    ],
    ['200 extensions', feedback(metadata() + POLICY + record() + '<x:e/>'.repeat(200)), ['extensions_cut']],
    ['an encoding that nobody knows', feedback().replace('UTF-8', 'klingon'), ['unknown_encoding']],
    ['blanks before its declaration', `\r\n ${feedback()}`, []],
    ['a declaration that is no XML', feedback().replace('version="1.0"', 'version=1.0'), []],
  ])('%s', (_what, document, warnings) => {
    expect(warningsOf(document)).toEqual(warnings);
  });

  it.each([
    ['the first day of 2012', '1325376000', '1325462399'],
    ['a month', '1790899200', '1793577600'],
  ])('an interval of %s', (_what, begin, end) => {
    expect(read(withRange(begin, end)).metadata).toMatchObject({ begin: Number(begin), end: Number(end) });
  });

  it('with bytes that are no UTF-8: they read as U+FFFD', () => {
    const [before = '', after = ''] = feedback().split('receiver.test</org_name>');
    const report = read(
      Buffer.concat([bytesOf(`${before}receiver`), Buffer.from([0xe9]), bytesOf(`.test</org_name>${after}`)]),
    );
    expect(report.metadata.orgName).toBe('receiver\ufffd.test');
    expect(report.warnings).toMatchObject([{ code: 'invalid_encoding', count: 1 }]);
  });

  it('and more results than are kept leave those before them as they are', () => {
    const results = '<dkim><domain>a.test</domain></dkim>'.repeat(100) + '<dkim><selector>s</selector></dkim>';
    const { dkim } = read(feedback(metadata() + POLICY + record({ results }))).records[0] as AggregateRecord;
    expect(dkim).toHaveLength(100);
    expect(dkim[99]).toMatchObject({ domain: 'a.test', selector: null });
  });

  it('and of a record no more text than a hundred honest results have, of each its own', () => {
    const long = `<dkim><domain>${'d'.repeat(2_000)}</domain><selector>${'s'.repeat(2_000)}</selector></dkim>`;
    const full = record({ results: long.repeat(90) + `<x:e a="${'v'.repeat(2_000)}">${'t'.repeat(2_000)}</x:e>` });
    const { records, warnings } = read(feedback(metadata() + POLICY + full + full + record()));
    const kept = records.map((one) => JSON.stringify(one).replace(/[^dstv]/g, '').length);
    for (const of of kept.slice(0, 2)) {
      expect(of).toBeGreaterThan(16_000);
      expect(of).toBeLessThan(18_000);
    }
    expect(records[2]).toEqual(read(feedback()).records[0]);
    expect(warnings.map(({ code }) => code)).toEqual(expect.arrayContaining(['text_cut', 'extensions_cut']));
  });

  it('and counts what is odd often once, with the first example', () => {
    const report = read(feedback(metadata() + POLICY + record({ row: row({ ip: '::FFFF:192.0.2.1' }) }).repeat(1_000)));
    expect(report.warnings).toEqual([
      { code: 'address_form', field: 'record/row/source_ip', count: 1_000, example: '::FFFF:192.0.2.1' },
    ]);
  });
});

describe('an aggregate report is read', () => {
  it.each([
    ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['2001:0db8:0000:0000:0001:0000:0000:0001', '2001:db8::1:0:0:1'],
    ['::ffff:192.0.2.33', '192.0.2.33'],
    ['::FFFF:C000:0221', '192.0.2.33'],
    ['[2001:db8::1]', '2001:db8::1'],
    ['fe80::1%eth0', 'fe80::1'],
    ['192.000.002.033', '192.0.2.33'],
    ['192.0.2.33', '192.0.2.33'],
  ])('with the address %s as %s', (given, address) => {
    expect(read(withAddress(given)).records[0]?.sourceIp).toBe(address);
  });

  it.each([
    ['UTF-16 with its mark', Buffer.from(`\ufeff${feedback().replace('UTF-8', 'UTF-16')}`, 'utf16le')],
    [
      'Latin-1 as declared',
      Buffer.from(feedback().replace('UTF-8', 'iso-8859-1').replace('receiver.test', 'caf\u00e9'), 'latin1'),
    ],
    ['UTF-8 with its mark', `\ufeff${feedback()}`],
  ])('in %s', (_what, document) => {
    expect(read(document)).toMatchObject({ totals: { records: 1 }, warnings: [] });
  });

  it('the same however its bytes are cut', () => {
    const document = Buffer.from(
      feedback(
        metadata() + POLICY + record({ identifiers: '<header_from>b\u00fccher.example</header_from>' }).repeat(3),
      ),
    );
    const whole = read(document);
    expect(whole.records[0]?.identifiers.headerFrom).toBe('b\u00fccher.example');
    for (const chunk of [1, 2, 7, 64, 1_000]) expect(read(document, undefined, chunk)).toEqual(whole);
  });

  it('with a prefix for its namespace', () => {
    const prefixed = feedback()
      .replace('<feedback>', '<feedback xmlns:d="urn:ietf:params:xml:ns:dmarc-2.0">')
      .replace(/<(\/?)(?=[a-z])/g, '<$1d:');
    expect(read(prefixed)).toMatchObject({ form: 'rfc9990', totals: { records: 1 }, warnings: [] });
  });

  it('element by element (RFC 9990, appendix A)', () => {
    const { records, ...report } = read(
      `<feedback xmlns="urn:ietf:params:xml:ns:dmarc-2.0" xmlns:ext="https://ext.test/spec">
        <version>1.0</version>
        <report_metadata>
          <org_name>Receiver &amp; Co</org_name><email>dmarc@receiver.test</email>
          <extra_contact_info lang="en">https://receiver.test</extra_contact_info>
          <report_id>00012345678901234567890</report_id>${DAY}
          <error>no record</error><error>two records</error><generator>Reporter 2.1</generator>
        </report_metadata>
        <policy_published>
          <domain>Example.COM.</domain><discovery_method>treewalk</discovery_method><p>reject</p><sp>quarantine</sp>
          <np>none</np><adkim>s</adkim><aspf>r</aspf><testing>y</testing><fo>1:d</fo><pct>50</pct>
        </policy_published>
        <extension><ext:arc-override level="2">never<ext:why>x</ext:why></ext:arc-override></extension>
        <record>
          <row><source_ip>2001:db8::1</source_ip><count>7</count><policy_evaluated>
            <disposition>quarantine</disposition><dkim>fail</dkim><spf>pass</spf>
            <reason><type>mailing_list</type><comment lang="en"><![CDATA[list <a>]]></comment></reason>
            <reason><type>other</type></reason>
          </policy_evaluated></row>
          <identifiers><envelope_to>to.test</envelope_to><envelope_from/><header_from>News.Example.com</header_from></identifiers>
          <auth_results>
            <dkim><domain>a.test</domain><selector>0042</selector><result>pass</result><human_result>ok</human_result></dkim>
            <dkim><domain>b.test</domain><selector>s2</selector><result>permerror</result></dkim>
            <spf><domain>c.test</domain><scope>mfrom</scope><result>softfail</result></spf>
          </auth_results>
          <ext:arc-results>1</ext:arc-results>
        </record>
      </feedback>`,
    );
    expect(report).toEqual({
      form: 'rfc9990',
      version: '1.0',
      namespaces: { '': 'urn:ietf:params:xml:ns:dmarc-2.0', ext: 'https://ext.test/spec' },
      metadata: {
        orgName: 'Receiver & Co',
        email: 'dmarc@receiver.test',
        extraContactInfo: 'https://receiver.test',
        reportId: '00012345678901234567890',
        begin: 1_793_491_200,
        end: 1_793_577_599,
        generator: 'Reporter 2.1',
        errors: ['no record', 'two records'],
      },
      policy: {
        domain: 'example.com',
        p: 'reject',
        sp: 'quarantine',
        np: 'none',
        adkim: 's',
        aspf: 'r',
        pct: 50,
        fo: '1:d',
        testing: 'y',
        discoveryMethod: 'treewalk',
      },
      totals: {
        records: 1,
        messages: 7,
        dmarcPass: 7,
        dkimPass: 0,
        spfPass: 7,
        dispositions: { none: 0, pass: 0, quarantine: 7, reject: 0, unknown: 0 },
      },
      extensions: [
        {
          name: 'extension',
          attributes: {},
          text: '',
          children: [
            {
              name: 'ext:arc-override',
              attributes: { level: '2' },
              text: 'never',
              children: [{ name: 'ext:why', attributes: {}, text: 'x', children: [] }],
            },
          ],
        },
      ],
      warnings: [],
    });
    expect(records).toEqual([
      {
        sourceIp: '2001:db8::1',
        count: 7,
        evaluated: {
          disposition: 'quarantine',
          dkim: 'fail',
          spf: 'pass',
          reasons: [
            { type: 'mailing_list', comment: 'list <a>' },
            { type: 'other', comment: null },
          ],
        },
        identifiers: { headerFrom: 'news.example.com', envelopeFrom: null, envelopeTo: 'to.test' },
        dkim: [
          { domain: 'a.test', selector: '0042', result: 'pass', humanResult: 'ok' },
          { domain: 'b.test', selector: 's2', result: 'permerror', humanResult: null },
        ],
        spf: [{ domain: 'c.test', scope: 'mfrom', result: 'softfail', humanResult: null }],
        extensions: [{ name: 'ext:arc-results', attributes: {}, text: '1', children: [] }],
      },
    ]);
  });
});
