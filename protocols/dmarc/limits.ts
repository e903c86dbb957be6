/**
 * What one report may cost. The figures are those that other report readers agreed on in 2026, but for the bytes: they stop
 * at 32 MiB, which is about 70,000 records and less than the 500,000 that they allow. Here a report is never held as a
 * whole, and the bytes are what 300,000 records are written in.
 */
export interface ReportLimits {
  /** Bytes as they came; only of an archive, which is read from its end and so must be held. @default 10 MiB */
  packedBytes: number;
  /** Bytes after unpacking, all members of an archive together; read as a stream. @default 128 MiB */
  bytes: number;
  /** Files in an archive. A report is one; some add a note. @default 20 */
  members: number;
  /** Records of one report. @default 500,000 */
  records: number;
}

export const REPORT_LIMITS: ReportLimits = {
  packedBytes: 10 * 1_048_576,
  bytes: 128 * 1_048_576,
  members: 20,
  records: 500_000,
};

/**
 * The last byte of a gzip is the highest of its unpacked size (RFC 1952, 2.3.1). Below this it is no line end, so that
 * line ends which mailers add can be told from it.
 */
export const MAX_REPORT_BYTES = 159 * 1_048_576;

/** Messages of one record. The largest provider sees less in a day. */
export const MAX_COUNT = 10_000_000_000;
/** Messages of one report. Sums of 90,000 such reports stay below 2^53, and exact. */
export const MAX_MESSAGES = 100_000_000_000;
/** A clock may be wrong by a day or two; a report of 2099 would be the newest of every chart for ever. */
export const MAX_AHEAD_SECONDS = 2 * 86_400;
/**
 * 2012-01-01, in seconds since 1970: DMARC was published on 30 January 2012. An older report has the clock of a machine that
 * lost it, and every address in it would count as known for ever.
 */
export const EARLIEST_SECONDS = 1_325_376_000;
/**
 * The longest month. Reporters are asked for a day (RFC 9990, RFC 8460, 4.1); some send a few at once. A report counts for the
 * day in its middle, which says nothing about a year.
 */
export const MAX_INTERVAL_SECONDS = 31 * 86_400;
/** The elements of both forms are six deep; extensions may add to it. */
export const MAX_DEPTH = 32;
/** Bytes without an element: the longest honest text is a comment of some hundred characters. */
export const MAX_RUN = 1_048_576;
/** Characters of one value that are kept. A domain has 253, a selector 63; comments are cut here. */
export const MAX_TEXT = 2_048;
/** Characters of one record that are kept: a hundred results of honest length. */
export const MAX_RECORD_TEXT = 16_384;
/** Characters of what stands before the records, which is there once: every element of it as long as it may be. */
export const MAX_HEAD_TEXT = 262_144;
/** DKIM results, SPF results and reasons of one record: no verifier looks at as many signatures of a message. */
export const MAX_RESULTS = 100;
/** Elements of extensions that are kept of a record, and of the rest of the report: enough to read what they say. */
export const MAX_EXTENSION_ELEMENTS = 50;
/** Bytes without the end of a record: what is no record must not cost more because there may be many records. */
export const MAX_WITHOUT_RECORD = 32 * 1_048_576;
/** Elements without the end of a record, which has some twenty: 32 MiB of empty ones would cost seconds. */
export const MAX_ELEMENTS = 20_000;
/** Errors that a reporter lists in its metadata. */
export const MAX_ERRORS = 20;
/** A TLS report is held as a whole: 4 MiB are some 12,000 kinds of failure as they are written. */
export const MAX_TLS_BYTES = 4 * 1_048_576;
/** A sender meets one policy of a kind at each of a domain's mail hosts; those seen have a handful. */
export const MAX_TLS_POLICIES = 500;
/** Kinds of failure of a whole report: by sending address, mail host and reason. */
export const MAX_TLS_FAILURES = 10_000;
/** Lines of a policy and mail hosts that are kept. The policy of an MTA-STS file has some ten lines. */
export const MAX_TLS_LINES = 100;
/** Objects and lists of a TLS report: five for each policy and one for each kind of failure, and as many again. */
export const MAX_TLS_NODES = 25_000;
/** The fields of a failure report: lists of DNS records and results, and a canonicalised header in base64. */
export const MAX_FAILURE_BYTES = 262_144;
