/** The templates about reports, in a real n8n: from the mail of a receiver to what a person hears of it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PACK_NAME } from '../../cli/editor/pack.ts';
import { readTemplates, type Template } from '../../cli/editor/templates.ts';
import { freePort } from '../../cli/up/ports.ts';
import { mailWith, type Attached } from '../activities/dmarc/mails.ts';
import { feedback, metadata, POLICY, range, record, row } from '../protocols/dmarc/report.ts';
import { hasDovecot, NO_DOVECOT, startDovecot } from '../support/dovecot.ts';
import { editorIsMissing, itemsOf, type Execution } from '../support/editor.ts';
import { eventually } from '../support/house.ts';
import { openHome, type Home } from './home.ts';

/** n8n's start, and its triggers' first registration, on a busy machine with two cores. */
const SLOW = 600_000;
const ADDRESS = 'dmarc-reports@demo.test';
const INBOX = 'inbox@inbox.test';

const idOf = (end: string) => readTemplates().find(({ id }) => id.endsWith(end))?.id ?? '';
const DASHBOARD = idOf('Reports7');
const IMAP = idOf('Imap8');
const SOURCES = idOf('Sources9');
const WEEKLY = idOf('Weekly10');

/** A report about yesterday: so many messages from each address, of which none is signed or has SPF. */
function report(id: string, counts: Record<string, number>): string {
  const midnight = Math.floor(Date.now() / 86_400_000) * 86_400;
  const failing =
    '<policy_evaluated><disposition>none</disposition><dkim>fail</dkim><spf>fail</spf></policy_evaluated>';
  const rows = Object.entries(counts).map(([ip, count]) =>
    record({ row: row({ ip, count: String(count), evaluated: failing }) }),
  );
  const dates = range(String(midnight - 86_400), String(midnight - 1));
  return feedback(metadata(dates) + POLICY + rows.join(''))
    .replaceAll('example.com', 'demo.test')
    .replace(/(?<=<report_id>)\d+/, id);
}
interface Sending {
  parameters: object;
}

const DOCTYPE = '<!DOCTYPE feedback><feedback/>';

function dovecotIsMissing(): boolean {
  if (!hasDovecot) console.log(`skipped: ${NO_DOVECOT}`);
  return !hasDovecot;
}

describe.skipIf(editorIsMissing())('the templates about reports', { timeout: SLOW }, () => {
  let home: Home;
  beforeAll(async () => {
    home = await openHome();
    await eventually(
      async () =>
        (await home.records.triggers.list('run')).some(({ workflows }) => workflows[0] === 'ingestDmarcReport'),
      'the trigger about reports',
      SLOW,
    );
  }, SLOW);
  afterAll(() => home?.close(), SLOW);

  const ran = (execution: Execution) => Object.keys(execution.data.resultData.runData);
  const run = async (id: string, trigger: string, items?: unknown[]) =>
    home.editor.execution(await home.editor.run(id, trigger, items));
  /** Mails a file to the report address, and gives the execution that this starts. */
  const mailed = async (file: Attached) => {
    const known = await home.editor.executions(DASHBOARD);
    expect(await home.send({ to: ADDRESS, message: mailWith(file) })).toMatch(/^250 /);
    const id = await eventually(
      async () => (await home.editor.executions(DASHBOARD)).find((one) => !known.includes(one)),
      'an execution',
    );
    return home.editor.execution(id);
  };

  it('weekly summary: nothing is sent while there is no domain', async () => {
    const execution = await run(WEEKLY, 'Every Monday');
    expect([execution.status, ran(execution)]).toEqual(['success', ['Every Monday', 'Summary']]);
  });

  it('by mail: a domain gets its report address, with what to publish', async () => {
    const execution = await run(DASHBOARD, 'Once: a report address');
    expect(itemsOf(execution, 'Add the report address')[0]?.json).toMatchObject({
      address: ADDRESS,
      records: expect.arrayContaining([expect.objectContaining({ name: '_dmarc.demo.test' })]),
    });
  });

  it('by mail: a report that counts goes on with the figures of its domain', async () => {
    const execution = await mailed({ bytes: gzipSync(report('one', { '192.0.2.7': 12 })), name: 'report.xml.gz' });
    expect(execution.status).toBe('success');
    expect(ran(execution)).toEqual(['DMARC Report Received', 'Does it count?', 'Figures', 'Put in words']);
    expect(itemsOf(execution, 'Put in words')[0]).toMatchObject({
      json: { line: expect.stringMatching(/^demo\.test: 12 messages in 30 days, 0 % pass; new from .+: 12$/) },
      pairedItem: { item: 0 },
    });
  });

  it('by mail: of one that is refused a person hears why, and where it is', async () => {
    const since = new Date();
    const execution = await mailed({ bytes: DOCTYPE, name: 'evil.xml' });
    expect(execution.status).toBe('success');
    const arrived = await home.arrived(INBOX, since);
    expect(arrived.subject).toBe('DMARC report refused: demo.test, dmarc.doctype');
    const [kept] = await home.records.dmarc.quarantine.list({ domain: 'demo.test' });
    const text = await home.raw(arrived);
    expect(text).toContain(kept?.id);
    expect(text).toContain('evil.xml');
  });

  it('new failing source: each is told of once', async () => {
    const since = new Date();
    const execution = await run(SOURCES, 'Every morning');
    expect(execution.status).toBe('success');
    const arrived = await home.arrived(INBOX, since);
    expect(arrived.subject).toBe('New senders that fail DMARC: 1');
    expect(await home.raw(arrived)).toMatch(
      /^ {2}192\.0\.2\.7 {2}no name\r\n {2}12 of 12 messages failed, first seen on/m,
    );

    expect(ran(await run(SOURCES, 'Every morning'))).not.toContain('Send the alert');
    await mailed({ bytes: report('two', { '192.0.2.8': 3, '192.0.2.7': 1 }) });
    const again = await run(SOURCES, 'Every morning');
    expect(itemsOf(again, 'Not told yet').map(({ json }) => json.source)).toEqual(['192.0.2.8']);
  });

  it('new failing source: what could not be sent is not told, and comes again', async () => {
    const { nodes, ...rest } = readTemplates().find(({ id }) => id === SOURCES) as Template;
    const id = await home.editor.addWorkflow({
      ...rest,
      id: 'sourcesToNobody',
      nodes: nodes.map((node) =>
        node.name === 'Send the alert'
          ? { ...node, parameters: { ...(node as unknown as Sending).parameters, to: 'eve@undeclared.example' } }
          : node,
      ),
    });
    for (const morning of ['first', 'next']) {
      const execution = await run(id, 'Every morning');
      expect([morning, execution.status]).toEqual([morning, 'error']);
      expect(execution.data.resultData.error?.message).toContain('The alert was not sent: ');
      const told = itemsOf(execution, 'Not told yet').map(({ json }) => json.source);
      expect([morning, told.sort()]).toEqual([morning, ['192.0.2.7', '192.0.2.8']]);
    }
  });

  it('weekly summary: the figures of each domain, and what to do next', async () => {
    const since = new Date();
    const execution = await run(WEEKLY, 'Every Monday');
    expect(execution.status).toBe('success');
    const arrived = await home.arrived(INBOX, since);
    expect(arrived.subject).toBe('DMARC of demo.test: 0 % of 16 messages pass');
    const [{ advice }] = itemsOf(execution, 'Summary')[0]?.json.domains as [{ advice: { title: string } }];
    const text = await home.raw(arrived);
    expect(text).toMatch(
      /^demo\.test \(policy: none\)\r\n {2}16 messages, 0 % pass \(the 7 days before: no mail\), 16/m,
    );
    expect(text).toContain(advice.title.slice(0, 40));
    expect(text).toMatch(/^Content-Type: text\/html/im);
  });

  it("a whole mail, as n8n keeps it, is parsed in a graph of one's own, by a run of its own", async () => {
    const node = (name: string, type: string, parameters: object) => ({
      id: crypto.randomUUID(),
      name,
      type: `${PACK_NAME}.${type}`,
      typeVersion: 1,
      position: [0, 0],
      parameters,
      webhookId: crypto.randomUUID(),
    });
    const id = await home.editor.addWorkflow({
      nodes: [
        node('Receive Mail', 'switchyardMailTrigger', {
          addresses: ['parse@demo.test'],
          answer: 'taken',
          options: { downloadMessage: true },
        }),
        node('Parse', 'switchyardDmarcReport', { durable: true, options: { output: 'records' } }),
      ],
      connections: { 'Receive Mail': { main: [[{ node: 'Parse', type: 'main', index: 0 }]] } },
    });
    expect((await home.editor.publish(id)).status).toBe(200);
    await home.listening('parse@demo.test');
    const message = mailWith({ bytes: gzipSync(report('four', { '192.0.2.1': 1, '192.0.2.2': 2 })), name: 'r.gz' });
    expect(await home.send({ to: 'parse@demo.test', message })).toMatch(/^250 /);
    const execution = await home.editor.execution(
      await eventually(async () => (await home.editor.executions(id))[0], 'an execution'),
    );
    expect(execution.data.resultData.error).toBeUndefined();
    expect(itemsOf(execution, 'Parse')[0]?.json.runUrl).toMatch(/\/namespaces\/default\/workflows\/n8n/);
    expect(itemsOf(execution, 'Parse').map(({ json, pairedItem }) => [json.sourceIp, json.count, pairedItem])).toEqual([
      ['192.0.2.1', 1, { item: 0 }],
      ['192.0.2.2', 2, { item: 0 }],
    ]);
  });

  // The part after the trigger, with items as n8n's node gives them.
  it('from a mailbox: what counts, what came before, and what is none', async () => {
    const since = new Date();
    const file = (bytes: Buffer | string, fileName: string) => ({
      data: Buffer.from(bytes).toString('base64'),
      mimeType: 'application/octet-stream',
      fileName,
    });
    const picture = file(Buffer.from('89504e470d0a1a0a', 'hex'), 'logo.png');
    const good = file(gzipSync(report('three', { '192.0.2.9': 5 })), 'report.xml.gz');
    const mail = (subject: string, binary = {}) => ({ json: { subject, from: 'reports@receiver.test' }, binary });
    const { nodes, ...rest } = readTemplates().find(({ id }) => id === IMAP) as Template;
    const byHand = {
      type: 'n8n-nodes-base.executeWorkflowTrigger',
      typeVersion: 1.1,
      parameters: { inputSource: 'passthrough' },
    };
    const id = await home.editor.addWorkflow({
      ...rest,
      id: 'mailboxByHand',
      nodes: nodes.map((node) => (node.name === 'Mailbox' ? { ...node, ...byHand } : node)),
    });
    const execution = await run(id, 'Mailbox', [
      mail('Report', { attachment_0: picture, attachment_1: good }),
      mail('The same again', { attachment_0: good }),
      mail('Bad', { attachment_0: file(DOCTYPE, 'bad.xml') }),
      mail('Lunch?'),
    ]);
    expect(execution.data.resultData.error).toBeUndefined();
    expect(itemsOf(execution, 'Counts now').map(({ json }) => json.state)).toEqual(['published', 'repeated']);
    expect(
      itemsOf(execution, 'Publish the reports', 1).map(({ json, pairedItem }) => [json.error, pairedItem]),
    ).toEqual([['This item has no file.', { item: 3 }]]);
    const told = await eventually(async () => {
      const mails = await home.records.inbox.list({ recipient: INBOX, limit: 10 });
      const some = mails.filter(({ receivedAt }) => Date.parse(receivedAt) >= since.getTime());
      return some.length === 2 && some;
    }, 'two mails');
    expect(told.map(({ subject }) => subject).sort()).toEqual([
      'DMARC report refused: dmarc.doctype',
      'DMARC report refused: no report',
    ]);
  });

  it.skipIf(dovecotIsMissing())(
    'from a real mailbox: a report that arrives is published, and its mail is read',
    async () => {
      const folder = await mkdtemp(join(tmpdir(), 'switchyard-imap-'));
      const imap = await startDovecot(folder, await freePort('127.0.0.1'));
      try {
        const { port, user, password } = imap;
        const data = { host: '127.0.0.1', port, user, password, secure: false };
        const made = await home.editor.call('POST', '/rest/credentials', { name: 'A mailbox', type: 'imap', data });
        expect(made.status).toBe(200);
        const { id: credential, name } = made.json.data as { id: string; name: string };
        const { nodes, ...rest } = readTemplates().find(({ id }) => id === IMAP) as Template;
        const id = await home.editor.addWorkflow({
          ...rest,
          id: 'mailbox',
          nodes: nodes.map((node) =>
            node.name === 'Mailbox' ? { ...node, credentials: { imap: { id: credential, name } } } : node,
          ),
        });
        expect((await home.editor.publish(id)).status).toBe(200);
        await eventually(() => imap.isWatched(), 'n8n in the mailbox');
        imap.deliver(mailWith({ bytes: gzipSync(report('imap', { '192.0.2.11': 6 })), name: 'report.xml.gz' }));
        const execution = await home.editor.execution(
          await eventually(async () => (await home.editor.executions(id))[0], 'an execution', 120_000),
        );
        expect(execution.data.resultData.error).toBeUndefined();
        expect(itemsOf(execution, 'Counts now').map(({ json }) => [json.state, json.domain, json.messages])).toEqual([
          ['published', 'demo.test', 6],
        ]);
        await eventually(() => imap.flags().includes('S'), 'the mail to be read');
        expect((await home.editor.unpublish(id)).status).toBe(200);
      } finally {
        await imap.stop();
        await rm(folder, { recursive: true, force: true, maxRetries: 5 });
      }
    },
  );
});
