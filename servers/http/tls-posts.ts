/**
 * Reports on TLS as reporters POST them (RFC 8460, 5.4). Whoever knows the address of a domain may send, so it is asked
 * for first, and everything has an end: bytes, time, how many. 200 means stored, with a run that reads it. What is sent
 * again after a 200 meets the same report, and counts once.
 */
import { createHash } from 'node:crypto';
import type { Context } from 'hono';
import { rawPrefix } from '../../activities/dmarc/raw.ts';
import { reportLimits, reportQuota } from '../../activities/dmarc/limits.ts';
import { openReport } from '../../activities/dmarc/open-report.ts';
import { quarantine } from '../../activities/dmarc/quarantine.ts';
import { detectFormat, type Format } from '../../protocols/dmarc/detect.ts';
import { dmarcError } from '../../protocols/dmarc/errors.ts';
import { HTTPS_SENDER, quotaWords, type OverQuota } from '../../protocols/dmarc/quota.ts';
import { PermanentError, TemporaryError } from '../../protocols/errors.ts';
import { taskQueues } from '../../workflows/mail/contract.ts';
import { givenReportRun, startIngestion } from '../dmarc/ingestion.ts';
import { isTlsPostKey, TLS_POST_PATH } from '../dmarc/tls-post.ts';
import type { HttpContext, HttpEnv } from './context.ts';
import { defineOpenRoute, type Route } from './route.ts';
import { askTemporal } from './runs.ts';

/** RFC 8460, 6.4 and 6.5, and what is said in their place. What it is the bytes say. */
const TYPES: ReadonlySet<string> = new Set([
  'application/tlsrpt+gzip',
  'application/tlsrpt+json',
  'application/gzip',
  'application/json',
  'application/octet-stream',
]);
const MINUTE = 60_000;
const HOUR = 3_600_000;

type Post = HttpContext['configuration']['dmarc']['post'];

/** @param configuration how much is let through at once, in this process */
export function tlsPostRoutes({ dmarc: { post } }: HttpContext['configuration']): readonly Route[] {
  const gate = createGate(post);
  return [
    defineOpenRoute({
      method: 'post',
      path: `${TLS_POST_PATH}/{domain}/{key}`,
      group: 'DMARC',
      summary: 'Where reporters POST reports on TLS (RFC 8460, 5.4). No token: the address itself cannot be guessed.',
      description:
        'switchyard dmarc add prints the address for the record _smtp._tls. 200 means stored; what its run refuses is in quarantine. The same report again counts once.',
      parameters: {
        domain: 'The domain that the report is about.',
        key: 'Of the address that was published.',
      },
      body: 'bytes',
      types: [...TYPES],
      answers: { 200: { description: 'It is stored, and is read now.' } },
      errors: [
        'page.missing',
        'request.type_unknown',
        'request.too_many',
        'request.too_slow',
        'request.incomplete',
        'input.too_large',
        'dmarc.empty',
        'dmarc.not_a_report',
        'dmarc.over_quota',
        'blob.unavailable',
        'records.unavailable',
        'temporal.unavailable',
      ],
      async handle({ http, context, path }) {
        try {
          const domain = await domainAt(path, context);
          demandType(http);
          const { intake } = context.dependencies.records.dmarc;
          demandRoom(await intake.isFull(domain, reportQuota(context.configuration), new Date().toISOString()), domain);
          const bytes = await gate(() => readReport(http, post));
          await take(bytes, domain, context);
          return http.text('The report is stored, and is read now.\n');
        } catch (thrown) {
          // Nobody reads what may still come of the body.
          http.header('connection', 'close');
          throw thrown;
        }
      },
    }),
  ];
}

/** @throws PermanentError `page.missing`: whoever tries learns nothing of which domains there are */
async function domainAt(
  { domain = '', key = '' }: Record<string, string>,
  { dependencies }: HttpContext,
): Promise<string> {
  const { keys, records } = dependencies;
  if ((await isTlsPostKey(domain, key, keys)) && (await records.dmarc.domains.get(domain))) return domain;
  throw new PermanentError({
    code: 'page.missing',
    message: 'No reports are taken at this address.',
    fix: 'See the record _smtp._tls of the domain: the address may have changed.',
  });
}

/** @throws PermanentError `request.type_unknown` */
function demandType(http: Context<HttpEnv>): void {
  const given = http.req.header('content-type');
  const type = given?.split(';', 1)[0]?.trim().toLowerCase();
  if (type === undefined || TYPES.has(type)) return;
  throw new PermanentError({
    code: 'request.type_unknown',
    message: `A report does not come as ${JSON.stringify(type.slice(0, 100))}.`,
    fix: 'Send it as application/tlsrpt+gzip or application/tlsrpt+json (RFC 8460, 5.4).',
  });
}

/** Lets as many through at once, and in a minute, as the configuration says. */
function createGate({ atOnce, perMinute }: Post): <Result>(work: () => Promise<Result>) => Promise<Result> {
  let open = 0;
  let minute = 0;
  let taken = 0;
  return async (work) => {
    const now = Math.floor(Date.now() / MINUTE);
    if (now !== minute) [minute, taken] = [now, 0];
    if (open >= atOnce || taken >= perMinute)
      throw new TemporaryError({
        code: 'request.too_many',
        message: 'Too many reports come at the moment.',
        fix: 'Send it again later (RFC 8460, 5.5).',
        retryAfterMs: MINUTE,
      });
    taken += 1;
    open += 1;
    try {
      return await work();
    } finally {
      open -= 1;
    }
  };
}

/** @throws PermanentError `input.too_large`, `request.too_slow`, `request.incomplete` */
async function readReport(http: Context<HttpEnv>, { size, wait }: Post): Promise<Buffer> {
  if (Number(http.req.header('content-length') ?? 0) > size) throw tooLarge(size);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(tooSlow(wait)), wait);
  });
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    const reader = http.req.raw.body?.getReader();
    // It is not cancelled: that would take the connection from under the answer.
    for (;;) {
      const next = await Promise.race([reader?.read(), late]);
      if (!next || next.done) return Buffer.concat(chunks);
      length += next.value.byteLength;
      if (length > size) throw tooLarge(size);
      chunks.push(next.value);
    }
  } catch (thrown) {
    if (thrown instanceof PermanentError) throw thrown;
    throw new PermanentError({
      code: 'request.incomplete',
      message: 'The connection ended before the report did.',
      fix: 'Send it again.',
      cause: thrown,
    });
  } finally {
    clearTimeout(timer);
  }
}

const tooLarge = (size: number): PermanentError =>
  new PermanentError({
    code: 'input.too_large',
    message: `The report is larger than ${size} bytes.`,
    fix: 'Pack it with gzip (RFC 8460, 5.2), or report shorter intervals.',
    details: { maxBytes: size },
  });

const tooSlow = (wait: number): PermanentError =>
  new PermanentError({
    code: 'request.too_slow',
    message: `The report was not here after ${Math.round(wait / 1_000)} seconds.`,
    fix: 'Send it again over a better connection.',
  });

/**
 * Stores it and sees that a run reads it. What cannot be a report by its first bytes is in quarantine, and the reporter
 * is told at once.
 * @throws PermanentError `dmarc.empty`, `dmarc.not_a_report`; TemporaryError of the stores and of Temporal
 */
async function take(bytes: Buffer, domain: string, context: HttpContext): Promise<void> {
  const { dependencies, temporal, configuration } = context;
  if (bytes.length === 0) throw dmarcError('dmarc.empty', 'There is nothing in it.');
  const receivedAt = new Date().toISOString();
  // The same again counts once: reporters repeat what they have no answer to.
  const act = `post/${domain}/${createHash('sha256').update(bytes).digest('hex')}`;
  const amount = { mails: 1, bytes: bytes.length, records: 0 };
  const intake = { id: act, domain, sender: HTTPS_SENDER, ...amount };
  demandRoom(await dependencies.records.dmarc.intake.take(intake, reportQuota(configuration), receivedAt), domain);
  const prefix = rawPrefix(receivedAt);
  const blob = await dependencies.blobs.write(once(bytes), { prefix, maxBytes: bytes.length });
  const refusal = await refusalOf(bytes, configuration);
  if (refusal) {
    const { code, message } = refusal;
    const nobody = { address: null, sender: null, file: null, mail: null };
    await quarantine({ ...nobody, act, domain, receivedAt, code, message, blob }, dependencies);
    throw refusal;
  }
  const { id, input } = await givenReportRun({ message: blob, kind: 'report', domain }, dependencies, 'https');
  const { main } = taskQueues(configuration.temporal.taskQueue);
  await askTemporal(context, () => startIngestion(temporal, main, id, input));
}

/** @throws TemporaryError `dmarc.over_quota` */
function demandRoom(over: OverQuota | undefined, domain: string): void {
  if (!over) return;
  throw new TemporaryError({
    code: 'dmarc.over_quota',
    message: quotaWords(over, HTTPS_SENDER, domain),
    fix: 'Send it again later (RFC 8460, 5.5).',
    retryAfterMs: HOUR,
  });
}

/** Reports on TLS and nothing else come this way: an aggregate report has an address for mail. */
async function refusalOf(
  bytes: Buffer,
  configuration: HttpContext['configuration'],
): Promise<PermanentError | undefined> {
  const packed = detectFormat(bytes);
  if (packed === 'json') return undefined;
  if (packed !== 'gzip') return notTls(packed, `It is ${packed}, and no gzip or JSON, which a report on TLS is.`);
  try {
    // Its beginning is unpacked, and no more.
    for await (const { format } of openReport(once(bytes), reportLimits(configuration)))
      return format === 'json'
        ? undefined
        : notTls(format, `Unpacked it is ${format}, and no JSON, which a report on TLS is.`);
    return undefined;
  } catch (thrown) {
    if (thrown instanceof PermanentError) return thrown;
    throw thrown;
  }
}

const notTls = (format: Format, message: string): PermanentError =>
  dmarcError('dmarc.not_a_report', message, { format });

async function* once(bytes: Buffer): AsyncGenerator<Uint8Array> {
  yield bytes;
}
