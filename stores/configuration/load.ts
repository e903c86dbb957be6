/** Reads `switchyard.yaml`, checks it, and completes it: absolute paths, domains as A-labels, addresses that are some. */
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { LineCounter, parseDocument } from 'yaml';
import { messageOf, PermanentError, SwitchyardError } from '../../protocols/errors.ts';
import { normalizeAddress, normalizeLocalPart, parseAddress, toAsciiDomain } from '../../protocols/mail/address.ts';
import { demoConfiguration } from './demo.ts';
import { invalid, problemsOf, type Path, type Problem, type Source } from './problems.ts';
import { Configuration } from './schema.ts';

/** Name of the file where none is named. */
export const CONFIGURATION_FILE = 'switchyard.yaml';
/** Aliases that one anchor may stand for; more is a file that unfolds without end. */
const ALIASES = 100;

/**
 * Reads the named file, else the one of SWITCHYARD_CONFIG, else `switchyard.yaml` in the folder (of the process, if
 * none is given), else the demo configuration.
 * @throws PermanentError `configuration.invalid`, with `file:line:column`, the key, what is wrong, and the fix
 */
export async function loadConfiguration(options: { file?: string; folder?: string } = {}): Promise<Configuration> {
  const folder = resolve(options.folder ?? '.');
  const named = options.file ?? (process.env.SWITCHYARD_CONFIG || undefined);
  const file = resolve(folder, named ?? CONFIGURATION_FILE);
  const text = await readText(file, named !== undefined);
  if (text === undefined) return check(demoConfiguration(), folder, null);
  const source = parse(text, file);
  return check(toPlain(source), dirname(file), source);
}

async function readText(file: string, mustExist: boolean): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (thrown) {
    if (!mustExist && (thrown as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new PermanentError({
      code: 'configuration.invalid',
      message: `${file}: cannot be read: ${messageOf(thrown)}`,
      fix: 'Name a file that is there (--config FILE or SWITCHYARD_CONFIG), or write one with: switchyard init',
      details: { file },
      cause: thrown,
    });
  }
}

function parse(text: string, file: string): Source {
  const lines = new LineCounter();
  // The document's own messages repeat the place and the line; ours carries the place.
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const source = { file, document, lines };
  const problems = [...document.errors, ...document.warnings];
  if (problems.length > 0) {
    throw invalid(
      problems.map((one) => ({
        path: [],
        offset: one.pos[0],
        what: one.code === 'DUPLICATE_KEY' ? 'this key stands here twice' : one.message,
        fix:
          one.code === 'DUPLICATE_KEY'
            ? 'Keep one of the two.'
            : 'Correct the YAML: indent with spaces, quote text with special characters.',
      })),
      source,
    );
  }
  return source;
}

function toPlain(source: Source): unknown {
  try {
    return source.document.toJS({ maxAliasCount: ALIASES }) ?? {};
  } catch (thrown) {
    throw invalid(
      [{ path: [], what: messageOf(thrown), fix: 'Write the values out instead of using aliases.' }],
      source,
    );
  }
}

function check(input: unknown, folder: string, source: Source | null): Configuration {
  const checked = Configuration.safeParse(input);
  if (!checked.success) throw invalid(problemsOf(checked.error, Configuration), source);
  const problems: Problem[] = [];
  const configuration = complete(checked.data, folder, problems);
  if (problems.length > 0) throw invalid(problems, source);
  return configuration;
}

/** What the schema cannot say. */
function complete(configuration: Configuration, folder: string, problems: Problem[]): Configuration {
  const { mail, outbound } = configuration;
  const path = ['mail', 'domains'];
  return {
    ...configuration,
    hostname: normalized(() => toAsciiDomain(configuration.hostname), ['hostname'], problems) ?? '',
    state: resolve(folder, configuration.state),
    records: completeRecords(configuration.records, folder),
    mail: {
      ...mail,
      send: { to: mail.send.to.map((entry, index) => completeSendTo(entry, ['mail', 'send', 'to', index], problems)) },
      tls: mail.tls && { certificate: resolve(folder, mail.tls.certificate), key: resolve(folder, mail.tls.key) },
      domains: keyed(mail.domains, path, problems, ({ rules }, domain) => ({
        rules: completeRules(rules, [...path, domain, 'rules'], problems),
      })),
    },
    dmarc: { ...configuration.dmarc, geo: mapPaths(configuration.dmarc.geo, folder) },
    outbound: {
      ...outbound,
      transport: keyed(outbound.transport, ['outbound', 'transport'], problems, (target) => target),
    },
  };
}

const mapPaths = ({ country, network }: Configuration['dmarc']['geo'], folder: string) => ({
  ...(country !== undefined && { country: resolve(folder, country) }),
  ...(network !== undefined && { network: resolve(folder, network) }),
});

/** A host that begins with / is the folder of a socket and absolute already. */
function completeRecords({ postgres }: Configuration['records'], folder: string): Configuration['records'] {
  if (!postgres) return {};
  return { postgres: { ...postgres, ...(postgres.ca !== undefined && { ca: resolve(folder, postgres.ca) }) } };
}

type Rules = Configuration['mail']['domains'][string]['rules'];

function completeRules(rules: Rules, path: Path, problems: Problem[]): Rules {
  const seen = new Set<string>();
  return rules.map((rule, index) => {
    const at = [...path, index, 'address'];
    if (rule.address.includes('@')) {
      const fix = 'Write only what stands before the "@"; the domain is named above.';
      problems.push({ path: at, what: 'a rule names the local part of its domain, not a whole address', fix });
      return rule;
    }
    // `*` is a legal local part, so the catch-all passes as itself. The domain here only completes an address.
    const address =
      normalized(() => normalizeLocalPart(parseAddress(`${rule.address}@rule.test`).localPart), at, problems) ?? '';
    if (seen.has(address)) {
      problems.push({
        path: at,
        what: `${JSON.stringify(address)} has a rule already`,
        fix: 'Keep one: a rule may forward to several addresses.',
      });
    }
    seen.add(address);
    const forward = rule.forward?.map((destination, place) => {
      const parsed = normalized(() => parseAddress(destination), [...path, index, 'forward', place], problems);
      return parsed ? `${destination.slice(0, destination.lastIndexOf('@'))}@${parsed.domain}` : destination;
    });
    return { ...rule, address, ...(forward && { forward }) };
  });
}

/** As `normalizeAddress` writes addresses. `*` is a legal local part, so it passes as itself. */
function completeSendTo(entry: string, at: Path, problems: Problem[]): string {
  return normalized(() => normalizeAddress(entry), at, problems) ?? entry;
}

/** Entries by domain, the domain as a lower-case A-label; `*` stays. Two spellings of one domain are a problem. */
function keyed<Value>(
  entries: Record<string, Value>,
  path: Path,
  problems: Problem[],
  map: (value: Value, written: string) => Value,
): Record<string, Value> {
  const result: Record<string, Value> = {};
  for (const [written, value] of Object.entries(entries)) {
    const at = [...path, written];
    const domain = written === '*' ? written : normalized(() => toAsciiDomain(written), at, problems, true);
    if (domain === undefined) continue;
    if (Object.hasOwn(result, domain)) {
      problems.push({
        path: at,
        atKey: true,
        what: `the domain ${domain} stands here twice`,
        fix: 'Keep one of the two.',
      });
    }
    result[domain] = map(value, written);
  }
  return result;
}

/** The value, or undefined and one problem more. */
function normalized<T>(read: () => T, path: Path, problems: Problem[], atKey = false): T | undefined {
  try {
    return read();
  } catch (thrown) {
    if (!(thrown instanceof SwitchyardError)) throw thrown;
    problems.push({ path, atKey, what: thrown.message, fix: thrown.fix });
    return undefined;
  }
}
