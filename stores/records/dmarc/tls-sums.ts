/**
 * What the failures of a TLS report add to the sums. Kinds and hosts are words of strangers, and each is a row of a day:
 * of a report only so many stand under their names.
 */
import { RESULT_TYPES } from '../../../protocols/dmarc/tls.ts';
import type { DmarcTables } from './tables.ts';

/** Kinds and hosts of a report that are summed up by name: a reporter meets a few kinds at a few mail hosts. */
const NAMED = 50;
/** PostgreSQL takes 2,700 bytes into an index, and two of these are in one. */
const CHARACTERS = 255;

const KNOWN: ReadonlySet<string> = new Set(RESULT_TYPES);

export type TlsResult = Pick<DmarcTables['dmarc_tls_results'], 'result' | 'receiving_host' | 'sessions'>;

/** @returns one of each kind and host; '' stands for no host, for those that are not named, and for kinds that are not */
export function tlsResultsOf(
  failures: readonly Pick<DmarcTables['dmarc_tls_failures'], 'result' | 'receiving_host' | 'sessions'>[],
): TlsResult[] {
  const all = summed(
    failures.map(({ result, receiving_host: host, sessions }) => {
      return { result: keyText(result), receiving_host: keyText(host ?? ''), sessions };
    }),
  ).sort((one, other) => other.sessions - one.sessions);
  return summed(
    all.map((one, place) => {
      if (place < NAMED) return one;
      return { result: KNOWN.has(one.result) ? one.result : '', receiving_host: '', sessions: one.sessions };
    }),
  );
}

function summed(rows: readonly TlsResult[]): TlsResult[] {
  const sums = new Map<string, TlsResult>();
  for (const { sessions, ...key } of rows) {
    const name = JSON.stringify(key);
    const known = sums.get(name);
    if (known) known.sessions += sessions;
    else sums.set(name, { ...key, sessions });
  }
  return [...sums.values()];
}

/** As a database has it, so that two of them are not one there: no NUL, no half of a character. */
const keyText = (text: string): string =>
  [...text.replaceAll('\0', '\uFFFD').toWellFormed()].slice(0, CHARACTERS).join('');
