/** What a newcomer has after the first start: the demo configuration, every process, and a real n8n with the templates. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { startDnsServer, type DnsServer } from '../../cli/demo/dns-server.ts';
import { compose, type MessageParts } from '../../cli/demo/messages.ts';
import { freePort } from '../../cli/up/ports.ts';
import { startInstallation, type Installation } from '../../cli/up/installation.ts';
import { demoConfiguration } from '../../stores/configuration/demo.ts';
import { localUrl } from '../../stores/configuration/addresses.ts';
import type { ConfigurationInput } from '../../stores/configuration/schema.ts';
import { openRecords } from '../../stores/records/open.ts';
import type { InboxMessage, Records } from '../../stores/records/port.ts';
import { startEditor, type Editor, type EditorOptions } from '../support/editor.ts';
import { eventually } from '../support/house.ts';
import { sendMail } from '../support/smtp-client.ts';

export interface Home {
  installation: Installation;
  records: Records;
  editor: Editor;
  api: string;
  /** The first token, which may do everything. */
  token: string;
  dns: DnsServer;
  /** Sends a mail and gives what the sender is told after DATA, or the refusal that came before. */
  send(mail: Mail): Promise<string>;
  /** The newest message that the local inbox has for an address, once there is one after a time. */
  arrived(recipient: string, since: Date): Promise<InboxMessage>;
  /** The bytes of a stored message, as text. */
  raw(message: InboxMessage): Promise<string>;
  /** Resolves when Switchyard has a trigger for each of the addresses. */
  listening(...addresses: string[]): Promise<void>;
  /** Ends every process of Switchyard, but not n8n. */
  stop(): Promise<void>;
  /** Starts them again, on the same ports. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

export interface Mail extends Partial<MessageParts> {
  to: string;
  /** Envelope sender; default: the author. */
  sender?: string;
  helo?: string;
  /** The bytes, where they must be the same again. */
  message?: Buffer;
}

export interface HomeOptions {
  /** Over the demo configuration. */
  change?: (configuration: ConfigurationInput) => void;
  editor?: Partial<EditorOptions>;
}

/** The one domain of the demo configuration whose mail from loopback passes SPF. */
const AUTHOR = 'you@sender.test';
/** n8n looks every 15 seconds whether a trigger must be registered. */
const REGISTERED_WITHIN_MS = 120_000;

export async function openHome(options: HomeOptions = {}): Promise<Home> {
  const folder = await mkdtemp(join(tmpdir(), 'switchyard-home-'));
  const configuration = demoConfiguration();
  options.change?.(configuration);
  // What is in no zone of the configuration is asked here, and nothing leaves the machine.
  const dns = await startDnsServer({ 'nowhere.test': ['MX 0 .'] });
  configuration.dns = { ...configuration.dns, servers: [dns.address] };
  const port = await freePort('127.0.0.1');
  // n8n goes on while Switchyard is away: its port is not for `up` to give.
  configuration.triggers = { callbackOrigins: [`http://127.0.0.1:${port}`] };
  const file = join(folder, 'switchyard.yaml');
  await writeFile(file, stringify(configuration));
  const start = () => startInstallation({ folder, anyPort: true, quiet: true });
  let installation = await start();
  const { http, smtp } = installation.addresses;
  // Where the editor and the sender look for it after a restart.
  configuration.http = { port: http.port };
  configuration.mail = { ...configuration.mail, listen: { port: smtp.port } };
  await writeFile(file, stringify(configuration));

  const records = await openRecords(installation.configuration);
  const api = localUrl(http);
  const token = (await readFile(join(installation.configuration.state, 'token'), 'utf8')).trim();
  const editor = await startEditor({ api, records, port, ...options.editor });

  return {
    get installation() {
      return installation;
    },
    records,
    editor,
    api,
    token,
    dns,
    async send({ sender, helo = 'sender.test', message, ...parts }) {
      const { from = AUTHOR, to } = parts;
      const bytes = message ?? compose({ subject: 'Hello', ...parts, from });
      const told = await sendMail(smtp, { from: sender ?? from, to: [to], helo, message: bytes });
      return told.data ?? told.rcpt[0] ?? told.mail;
    },
    arrived: (recipient, since) =>
      eventually(async () => {
        const [newest] = await records.inbox.list({ recipient, limit: 1 });
        return newest && Date.parse(newest.receivedAt) >= since.getTime() && newest;
      }, `a mail for ${recipient}`),
    async raw({ blob }) {
      const answer = await fetch(`${api}/v1/blobs/${blob.key}`, { headers: { authorization: `Bearer ${token}` } });
      return answer.text();
    },
    async listening(...addresses) {
      await eventually(
        async () => {
          const rules = await records.rules.list();
          return addresses.every((address) =>
            rules.some(
              ({ localPart, domain, action }) => `${localPart}@${domain}` === address && action.type === 'trigger',
            ),
          );
        },
        `triggers for ${addresses.join(', ')}; n8n said:\n${editor.log().split('\n').slice(-20).join('\n')}`,
        REGISTERED_WITHIN_MS,
      );
    },
    stop: () => installation.stop(),
    async restart() {
      installation = await start();
    },
    async close() {
      await editor.close();
      await installation.stop();
      await records.close();
      await dns.close();
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
