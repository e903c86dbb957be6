/**
 * The templates as a newcomer gets them: published at the first start, and green on real mails and posts. Those about
 * reports: dmarc-templates.test.ts.
 */
import { Connection, Client } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readTemplates, type Template } from '../../cli/editor/templates.ts';
import { editorIsMissing, itemsOf, type Execution, type Item } from '../support/editor.ts';
import { eventually } from '../support/house.ts';
import { openHome, type Home } from './home.ts';

/** n8n's start, and its triggers' first registration, on a busy machine with two cores. */
const SLOW = 600_000;

const templates = readTemplates();
const idOf = (number: string) => templates.find(({ id }) => id.endsWith(number))?.id ?? '';
/** A template with other parameters, as a person changes it. */
function changed(number: string, change: (parameters: Record<string, Record<string, unknown>>) => void): Template {
  const template = structuredClone(templates.find(({ id }) => id.endsWith(number)) as Template);
  const nodes = template.nodes as unknown as {
    name: string;
    webhookId?: string;
    parameters: Record<string, unknown>;
  }[];
  change(Object.fromEntries(nodes.map(({ name, parameters }) => [name, parameters])));
  for (const node of nodes) if (node.webhookId) node.webhookId = crypto.randomUUID();
  return { ...template, id: crypto.randomUUID().replaceAll('-', '').slice(0, 16), name: `${template.name}, changed` };
}

describe.skipIf(editorIsMissing())('the templates', { timeout: SLOW }, () => {
  let home: Home;
  beforeAll(async () => {
    home = await openHome();
    await home.listening('steps@demo.test', 'durable@demo.test', 'sort@demo.test');
  }, SLOW);
  afterAll(() => home?.close(), SLOW);

  /** The newest execution of a workflow, ended, of those that are not among the known ones. */
  const ended = async (workflowId: string, known: string[] = []): Promise<Execution> => {
    const id = await eventually(
      async () => (await home.editor.executions(workflowId)).find((one) => !known.includes(one)),
      `an execution of ${workflowId}`,
    );
    return home.editor.execution(id);
  };
  const ran = (execution: Execution) => Object.keys(execution.data.resultData.runData);
  /** Every item but the trigger's comes from an item. */
  const pairs = (execution: Execution) =>
    ran(execution)
      .slice(1)
      .flatMap((node) => [0, 1, 2, 3].flatMap((output) => itemsOf(execution, node, output)))
      .map(({ pairedItem }: Item) => pairedItem);

  it('are all there, published where they can run, and known to n8n with every node', async () => {
    expect(templates).toHaveLength(10);
    // It reads a mailbox of whose account nobody knows here.
    const unpublished = idOf('Imap8');
    for (const { id, nodes } of templates) {
      const workflow = await home.editor.workflow(id);
      expect(workflow, id).toMatchObject({ active: id !== unpublished });
      expect(workflow.nodes).toHaveLength(nodes.length);
    }
    expect(home.editor.log()).not.toMatch(/unrecognized node|not (?:be )?registered|problem activating/i);
  });

  describe('mail forwarding, step by step', () => {
    it('takes a mail through every step, and the sender hears of the delivery', async () => {
      const since = new Date();
      const known = await home.editor.executions(idOf('1'));
      expect(await home.send({ to: 'steps@demo.test', subject: 'Step by step' })).toMatch(/^250 2\.6\.0 Delivered/);
      const message = await home.arrived('inbox@inbox.test', since);
      expect(message).toMatchObject({
        subject: 'Step by step',
        authentication: { arc: { result: 'pass', instance: 1 } },
      });
      // SRS: the bounce address is ours now (the sender's domain and local part stand in it).
      expect(message.sender).toMatch(/^SRS0=.+=sender\.test=you@demo\.test$/);

      const execution = await ended(idOf('1'), known);
      expect(execution.status).toBe('success');
      expect(ran(execution)).toEqual([
        'Receive Mail',
        'Verify',
        'DMARC passes?',
        'Seal',
        'Rewrite the sender',
        'Deliver',
        'Accept',
      ]);
      expect(pairs(execution)).toEqual(Array(6).fill({ item: 0 }));
      expect(itemsOf(execution, 'Verify')[0]?.json).toMatchObject({
        subject: 'Step by step',
        authentication: { spf: { result: 'pass' }, dmarc: { result: 'pass' } },
      });
      expect(itemsOf(execution, 'Deliver')[0]?.json).toMatchObject({ reply: { code: 250 } });
    });

    it('refuses what fails DMARC, with the code and the words of the graph', async () => {
      const known = await home.editor.executions(idOf('1'));
      // SPF passes for another domain than the author's, so DMARC fails; sender.test itself only watches (p=none).
      const told = await home.send({ to: 'steps@demo.test', sender: 'mallory@mx.demo.test', helo: 'mx.demo.test' });
      expect(told).toBe('550 5.7.1 The mail fails DMARC of sender.test');
      const execution = await ended(idOf('1'), known);
      expect(ran(execution)).toEqual(['Receive Mail', 'Verify', 'DMARC passes?', 'Refuse']);
      const [record] = await home.records.activity.list({ recipient: 'steps@demo.test', limit: 1 });
      expect(record).toMatchObject({ outcome: 'rejected', reply: { code: 550, enhanced: '5.7.1' } });
    });

    it('passes on what the destination says', async () => {
      const id = await home.editor.addWorkflow(
        changed('1', (nodes) => {
          Object.assign(nodes['Receive Mail'] ?? {}, { addresses: ['nobody@demo.test'] });
          Object.assign(nodes.Deliver ?? {}, { recipient: 'nobody@nowhere.test' });
        }),
      );
      expect((await home.editor.publish(id)).status).toBe(200);
      await home.listening('nobody@demo.test');
      // RFC 7505: a null MX takes no mail.
      expect(await home.send({ to: 'nobody@demo.test' })).toMatch(/^5\d\d 5\.\d+\.\d+ .*null MX/);
      const execution = await ended(id);
      expect(ran(execution).slice(-2)).toEqual(['Deliver', 'Pass the answer on']);
      expect(itemsOf(execution, 'Deliver', 1)[0]).toMatchObject({
        json: { error: expect.any(String) },
        pairedItem: { item: 0 },
      });
    });
  });

  it('mail forwarding, durable: the run answers the sender, and the execution follows it', async () => {
    const since = new Date();
    const known = await home.editor.executions(idOf('2'));
    expect(await home.send({ to: 'durable@demo.test', subject: 'By a run' })).toMatch(/^250 2\.6\.0 Delivered/);
    const message = await home.arrived('inbox@inbox.test', since);
    expect(message).toMatchObject({ subject: 'By a run', authentication: { arc: { result: 'pass' } } });

    const execution = await ended(idOf('2'), known);
    expect(execution.status).toBe('success');
    expect(pairs(execution)).toEqual([{ item: 0 }, { item: 0 }]);
    const [followed] = itemsOf(execution, 'Follow the run');
    expect(followed?.json).toMatchObject({ outcome: 'delivered' });
    expect(followed?.json.runUrl).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/namespaces\/default\/workflows\//);
    expect((await fetch(followed?.json.runUrl)).status).toBe(200);
  });

  it.each([
    ['newsletter@sender.test', 'Spring offers', '550 5.7.1 Newsletters and lotteries are not wanted here', null],
    ['you@sender.test', 'You won the LOTTERY', '550 5.7.1 Newsletters and lotteries are not wanted here', null],
    ['you@sender.test', 'Your invoice of May', '250 2.6.0 Delivered', 'accounts@inbox.test'],
    ['you@sender.test', 'Order 66', '250 2.6.0 Delivered', 'sales@inbox.test'],
    ['you@sender.test', 'Lunch?', '250 2.6.0 Delivered', 'inbox@inbox.test'],
  ])('reject or route: %s, %s', async (from, subject, answer, destination) => {
    const since = new Date();
    const known = await home.editor.executions(idOf('3'));
    expect(await home.send({ from, to: 'sort@demo.test', subject })).toContain(answer);
    const execution = await ended(idOf('3'), known);
    expect(execution.status).toBe('success');
    expect(pairs(execution)).toEqual([{ item: 0 }, { item: 0 }]);
    if (destination) expect(await home.arrived(destination, since)).toMatchObject({ subject });
  });

  describe('web form to mail', () => {
    const post = async (fields: Record<string, string>) => {
      const answer = await fetch(`${home.editor.url}/webhook/switchyard-contact`, {
        method: 'POST',
        body: new URLSearchParams(fields),
      });
      return { status: answer.status, text: await answer.text() };
    };

    it('makes a form post a DKIM-signed mail to a declared address', async () => {
      const since = new Date();
      const known = await home.editor.executions(idOf('4'));
      const message = 'Do you ship to Malta?\r\n.\r\nBcc: everybody@demo.test';
      const answer = await post({ name: 'Änn, of "Malta"', email: 'ann@sender.test', message });
      expect(answer).toEqual({ status: 200, text: 'Thank you. Your message is on its way.\n' });
      const arrived = await home.arrived('inbox@inbox.test', since);
      expect(arrived).toMatchObject({
        subject: 'Message from Änn, of "Malta"',
        from: 'Web form <form@demo.test>',
        authentication: { dkim: [{ result: 'pass', domain: 'demo.test' }], dmarc: { result: 'pass' } },
      });
      const [header = '', body = ''] = (await home.raw(arrived)).split(/\r\n\r\n([\s\S]*)/);
      expect(header).toMatch(/^Reply-To: ann@sender\.test$/im);
      expect(header).not.toMatch(/^Bcc:/im);
      expect(body).toContain('Do you ship to Malta?');
      const execution = await ended(idOf('4'), known);
      expect(ran(execution)).toEqual(['Form post', 'Filled in?', 'Send', 'Thank you']);
      expect(pairs(execution)).toEqual(Array(3).fill({ item: 0 }));
    });

    it('asks for what is missing, and says what cannot be', async () => {
      expect(await post({ name: 'Ann', email: 'ann@sender.test' })).toMatchObject({ status: 400 });
      const broken = await post({ email: 'no address', message: 'Hello' });
      expect(broken.status).toBe(400);
      expect(broken.text).toContain('could not be sent');
    });
  });

  describe('nightly digest', () => {
    it('says that nothing came where nothing came', async () => {
      const since = new Date();
      const execution = await home.editor.execution(await home.editor.run(idOf('5'), 'Every night'));
      expect(execution.status).toBe('success');
      const { subject } = await home.arrived('inbox@inbox.test', since);
      expect(subject).toMatch(/^Mail of \w+day, \d+ \w+: 0$/);
    });

    it('counts what came, and names what did not arrive', async () => {
      await home.send({ to: 'hello@demo.test' });
      const id = await home.editor.addWorkflow(
        changed('5', (nodes) => {
          Object.assign(nodes['Mail of yesterday'] ?? {}, { filters: { since: '1h', recipient: 'sort@demo.test' } });
        }),
      );
      const since = new Date();
      const execution = await home.editor.execution(await home.editor.run(id, 'Every night'));
      expect(execution.status).toBe('success');
      const arrived = await home.arrived('inbox@inbox.test', since);
      const records = await home.records.activity.list({ recipient: 'sort@demo.test' });
      expect(arrived.subject).toMatch(new RegExp(`: ${records.length}$`));
      const text = await home.raw(arrived);
      expect(text).toMatch(/^ +3 {2}delivered\r$/m);
      expect(text).toMatch(/^ +2 {2}rejected\r$/m);
      expect(text).toContain('rejected  newsletter@sender.test -> sort@demo.test');
    });
  });

  it('mail alert: a run that was terminated is told of, once, with the reason and the link', async () => {
    const since = new Date();
    const { installation, dns } = home;
    // The step tries again and again.
    dns.fail('unanswered.test', 'silent');
    const connection = await Connection.connect({ address: installation.addresses.temporal });
    try {
      const client = new Client({ connection });
      const answer = await fetch(`${home.api}/v1/runs`, {
        method: 'POST',
        headers: { authorization: `Bearer ${home.token}`, 'content-type': 'application/json' },
        body: JSON.stringify({
          workflow: 'runStep',
          id: 'test/ended-by-force',
          input: { step: 'mail.resolveMx', input: { domain: 'unanswered.test' } },
        }),
      });
      expect(answer.status).toBeLessThan(300);
      await client.workflow.getHandle(((await answer.json()) as { id: string }).id).terminate('enough');
    } finally {
      await connection.close();
    }
    const arrived = await home.arrived('inbox@inbox.test', since);
    expect(arrived.subject).toMatch(/^terminated: /);
    expect(await home.raw(arrived)).toContain('/namespaces/default/workflows/');
    const executions = await home.editor.executions(idOf('6'));
    expect(executions).toHaveLength(1);
  });
});
