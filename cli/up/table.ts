/** The one short table that `up` ends with: what runs, where, and how to try it now. */
import { existsSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { localUrl, type Endpoint } from '../../stores/configuration/addresses.ts';
import type { Configuration } from '../../stores/configuration/schema.ts';
import { findEditor, N8N_VERSION } from '../editor/provide.ts';
import { OWNER_EMAIL, ownerPassword, PASSWORD_FILE } from '../editor/secrets.ts';
import { readTemplates } from '../editor/templates.ts';
import { elapsedText } from '../progress.mjs';
import type { Installation } from './installation.ts';
import { TOKEN_FILE } from './prepare.ts';

const NAME_WIDTH = 11;
const WIDTH = 74;
/** More names than fit a line are counted. */
const DOMAINS_SHOWN = 2;

export interface TableOptions {
  /** Time from the command to here. */
  tookMs: number;
  /** Makes a text bold where the terminal can. */
  bold(text: string): string;
  /** A person reads it, and nobody keeps it: the editor's password may stand there. */
  isTerminal: boolean;
}

export function runningTable(installation: Installation, { tookMs, bold, isTerminal }: TableOptions): string {
  const { addresses, configuration, temporalVersion } = installation;
  const api = configuration.http.publicUrl ?? localUrl(addresses.http);
  const tokenFile = join(configuration.state, TOKEN_FILE);
  // Records that several machines share have their first token on one of them.
  const token = existsSync(tokenFile)
    ? `token in ${relative(process.cwd(), tokenFile)}`
    : 'token: switchyard tokens add';
  const rows: [string, string, string][] = [
    ...editorRows(installation),
    [
      'runs',
      addresses.temporalUi ?? addresses.temporal,
      temporalVersion ? `Temporal ${temporalVersion}` : `Temporal at ${addresses.temporal}`,
    ],
    ['mail', `${addresses.smtp.host}:${addresses.smtp.port}`, domainsText(configuration)],
    ...(addresses.inbox
      ? [['inbox', `${api}/inbox`, 'what the local inbox received'] as [string, string, string]]
      : []),
    ['api', api, `docs at /docs, ${token}`],
  ];
  const width = Math.max(...rows.map(([, address]) => address.length)) + 2;
  const title = 'Switchyard is running';
  const started = `started in ${elapsedText(tookMs)}`;
  return [
    '',
    `  ${bold(title)}${started.padStart(WIDTH - title.length)}`,
    '',
    ...rows.flatMap(([name, address, note]) => [
      `  ${name.padEnd(NAME_WIDTH)}${address.padEnd(width)}${note}`.trimEnd(),
      ...(name === EDITOR ? [`  ${''.padEnd(NAME_WIDTH)}${signIn(configuration, isTerminal)}`] : []),
    ]),
    ...installation.moved.map((sentence) => `  ${sentence}`),
    '',
    ...tryIt(configuration, addresses.smtp, bold),
    `  ${'Stop:'.padEnd(NAME_WIDTH)}Ctrl-C`,
    '',
  ].join('\n');
}

const EDITOR = 'editor';

/** It comes up after the mail, which never waits for it. */
function editorRows({ addresses, configuration }: Installation): [string, string, string][] {
  if (!addresses.editor) return [];
  const templates = readTemplates().length;
  const brought = templates === 0 ? '' : `, ${templates} ${templates === 1 ? 'template' : 'templates'}`;
  const what = `n8n ${N8N_VERSION}${brought}`;
  return [
    [
      EDITOR,
      configuration.editor.publicUrl ?? localUrl(addresses.editor),
      findEditor() ? `starts now: ${what}` : `is installed now: ${what}`,
    ],
  ];
}

function signIn({ state }: Configuration, isTerminal: boolean): string {
  const password = ownerPassword(state);
  const where = relative(process.cwd(), join(state, PASSWORD_FILE));
  return isTerminal ? `sign in: ${OWNER_EMAIL}, ${password}` : `sign in: ${OWNER_EMAIL}, password in ${where}`;
}

/** `demo.test -> local inbox`, or the names alone where there is more to say than fits. */
function domainsText(configuration: Configuration): string {
  const domains = Object.entries(configuration.mail.domains);
  const [first] = domains;
  if (!first) return 'no domain yet: see switchyard.yaml';
  const destinations = [...new Set(first[1].rules.flatMap((rule) => rule.forward ?? []))];
  if (domains.length === 1 && destinations.length === 1)
    return `${first[0]} -> ${destinationText(destinations[0] ?? '', configuration)}`;
  const names = domains
    .slice(0, DOMAINS_SHOWN)
    .map(([name]) => name)
    .join(', ');
  return domains.length > DOMAINS_SHOWN ? `${names} and ${domains.length - DOMAINS_SHOWN} more` : names;
}

function destinationText(destination: string, { outbound }: Configuration): string {
  const transport = outbound.transport[destination.slice(destination.lastIndexOf('@') + 1)] ?? outbound.transport['*'];
  return transport === 'inbox' ? 'local inbox' : destination;
}

const DEMO_DOMAIN = 'demo.test';

/** The demo domain's sender is one that SPF allows from this machine. */
function tryIt(configuration: Configuration, smtp: Endpoint, bold: (text: string) => string): string[] {
  const command = isCheckout() ? 'npx switchyard' : 'switchyard';
  if (!(DEMO_DOMAIN in configuration.mail.domains))
    return [`  ${'Try it:'.padEnd(NAME_WIDTH)}${bold(`${command} doctor`)}`];
  const recipient = `hello@${DEMO_DOMAIN}`;
  const message = `From: you@sender.test\\r\\nTo: ${recipient}\\r\\nSubject: Hello\\r\\n\\r\\nHello\\r\\n`;
  return [
    `  ${'Try it:'.padEnd(NAME_WIDTH)}${bold(`${command} send-test`)}`,
    `  ${'or:'.padEnd(NAME_WIDTH)}printf '${message}' |`,
    `  ${''.padEnd(NAME_WIDTH)}  curl smtp://${smtp.host}:${smtp.port} --mail-from you@sender.test --mail-rcpt ${recipient} -T -`,
  ];
}

function isCheckout(): boolean {
  return existsSync(join(dirname(dirname(import.meta.dirname)), 'package-lock.json'));
}
