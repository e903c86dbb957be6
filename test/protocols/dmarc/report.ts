/** Aggregate reports as text, for tests: a good one, with parts of it replaced. */

export interface RecordParts {
  row?: string;
  identifiers?: string;
  results?: string;
}

export const row = (parts: { ip?: string; count?: string; evaluated?: string } = {}): string =>
  `<row><source_ip>${parts.ip ?? '192.0.2.1'}</source_ip><count>${parts.count ?? '1'}</count>` +
  `<policy_evaluated>${parts.evaluated ?? '<disposition>none</disposition><dkim>pass</dkim><spf>fail</spf>'}</policy_evaluated></row>`;

export const record = (parts: RecordParts = {}): string =>
  `<record>${parts.row ?? row()}` +
  `<identifiers>${parts.identifiers ?? '<header_from>example.com</header_from>'}</identifiers>` +
  `<auth_results>${parts.results ?? '<spf><domain>example.com</domain><result>fail</result></spf>'}</auth_results></record>`;

export const range = (begin: string, end: string): string =>
  `<date_range><begin>${begin}</begin><end>${end}</end></date_range>`;

/** 2026-11-01, a day. */
export const DAY = range('1793491200', '1793577599');
/** 2026-11-26, for readers. */
export const NOW = 1_795_651_200_000;

export const metadata = (dates = DAY): string =>
  `<report_metadata><org_name>receiver.test</org_name><email>dmarc@receiver.test</email><report_id>00123456789012345678</report_id>${dates}</report_metadata>`;

export const POLICY = '<policy_published><domain>example.com</domain><p>none</p></policy_published>';

/** @param content what stands inside `feedback` */
export const feedback = (content = metadata() + POLICY + record()): string =>
  `<?xml version="1.0" encoding="UTF-8"?>\n<feedback>${content}</feedback>`;
