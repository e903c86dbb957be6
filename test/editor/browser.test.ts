/**
 * What a person sees, in a real browser: the nodes in the panel, the templates on the canvas, a mail that runs, the
 * switch Durable, and the way to the run. `PICTURES=docs` writes the pictures of the README.
 */
import { join } from 'node:path';
import { selectors, type Browser, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PACK_NAME } from '../../cli/editor/pack.ts';
import { readTemplates } from '../../cli/editor/templates.ts';
import { browserIsMissing, startBrowser } from '../support/browser.ts';
import { editorIsMissing } from '../support/editor.ts';
import { eventually } from '../support/house.ts';
import { openHome, type Home } from './home.ts';

/** n8n's start on a busy machine with two cores, and its pages there. */
const SLOW = 600_000;
const PAGE_MS = 60_000;
const TRIES = 3;
const STEPS = 'switchyardSteps1';

const MAIL = 'Switchyard Mail';
const VERDICT = 'Mail Verdict';
const PARSE = 'Parse DMARC Report';
const QUERY = 'Query DMARC';
const RECEIVED = 'DMARC Report Received';
/** The panel shows a trigger and an action of one name as one entry. */
const SEARCHES: [words: string, entry: string][] = [
  ['switchyard', MAIL],
  ['receive mail', MAIL],
  ['incoming mail', MAIL],
  ['email', MAIL],
  ['smtp', MAIL],
  ['send email', MAIL],
  ['verify email', MAIL],
  ['dkim', MAIL],
  ['dmarc', MAIL],
  ['spf', MAIL],
  ['arc', MAIL],
  ['forward', VERDICT],
  ['reject mail', VERDICT],
  ['bounce', VERDICT],
  ['durable', 'Durable Workflow'],
  ['temporal', 'Durable Workflow'],
  ['signal', 'Durable Workflow'],
  ['failed run', 'Run Finished Trigger'],
  ['srs', 'Switchyard Step'],
  ['dmarc', PARSE],
  ['dmarc', QUERY],
  ['dmarc', RECEIVED],
  ['dmarc report', PARSE],
  ['dmarc report', RECEIVED],
  ['aggregate report', PARSE],
  ['rua', PARSE],
  ['ruf', PARSE],
  ['tls-rpt', PARSE],
  ['dmarc policy', QUERY],
  ['report address', QUERY],
  ['spoofing', QUERY],
  ['what if', QUERY],
];

describe.skipIf(editorIsMissing() || browserIsMissing())('the editor, as a person sees it', { timeout: SLOW }, () => {
  let home: Home;
  let browser: Browser;
  let page: Page;
  /** What the pages threw. */
  const thrown: string[] = [];

  beforeAll(async () => {
    selectors.setTestIdAttribute('data-test-id');
    [home, browser] = await Promise.all([openHome(), startBrowser()]);
    page = await browser.newPage({ viewport: { width: 1360, height: 820 } });
    page.setDefaultTimeout(PAGE_MS);
    page.on('pageerror', (error) => thrown.push(error.message));
    await home.listening('steps@demo.test');
    const name = page.locator('input[name="emailOrLdapLoginId"]');
    // As a person does with a page that stays empty, which an overloaded machine was seen to give: load it again.
    for (let tries = 1; !(await name.isVisible()) && tries <= TRIES; tries += 1) {
      await page.goto(`${home.editor.url}/signin`);
      await name.waitFor().catch(() => undefined);
    }
    await name.fill(home.editor.email);
    await page.locator('input[type="password"]').fill(home.editor.password);
    await page.keyboard.press('Enter');
    await page.waitForURL(/\/home\//);
  }, SLOW);
  afterAll(async () => {
    await browser?.close();
    await home?.close();
  }, SLOW);

  const at = (name: string) => page.getByTestId(name);
  const node = (name: string) => page.locator(`[data-test-id="canvas-node"][data-node-name="${name}"]`);
  const picture = async (name: string, of: Page = page) => {
    const folder = process.env.PICTURES;
    if (!folder) return;
    // What fades in is there then.
    await of.waitForTimeout(2_000);
    await of.screenshot({ path: join(folder, `${name}.png`) });
  };
  const open = async (workflow: string) => {
    await page.goto(`${home.editor.url}/workflow/${workflow}`);
    await at('canvas-node').first().waitFor();
  };
  /** What n8n marks on the canvas: a node that it does not know, one that lacks something, and messages in the corner. */
  const warnings = async () => {
    // Marks come a moment after the nodes.
    await page.waitForTimeout(2_000);
    const marks = page.locator('[data-test-id="node-issues"], [data-test-id="node-not-installed"], .el-notification');
    return marks.count();
  };
  const openExecution = async (execution: string) => {
    await page.goto(`${home.editor.url}/workflow/${STEPS}/executions/${execution}`);
    await node('Accept').waitFor();
  };
  const newestExecution = async (known: string[]) => {
    const id = await eventually(
      async () => (await home.editor.executions(STEPS)).find((one) => !known.includes(one)),
      'an execution',
    );
    expect((await home.editor.execution(id)).status).toBe('success');
    return id;
  };

  it('has the nodes in its panel, under the words that people type', async () => {
    await page.goto(`${home.editor.url}/workflow/new`);
    await at('node-creator-plus-button').click();
    for (const [words, entry] of SEARCHES) {
      await at('node-creator-search-bar').fill(words);
      await page
        .getByTestId('node-creator-item-name')
        .getByText(entry, { exact: true })
        .first()
        .waitFor({ timeout: 5_000 });
    }
    await at('node-creator-search-bar').fill('switchyard');
    await at('node-creator-item-name').getByText('Switchyard Step').waitFor();
    expect((await at('node-creator-item-name').allInnerTexts()).sort()).toEqual(
      [MAIL, VERDICT, PARSE, QUERY, RECEIVED, 'Durable Workflow', 'Switchyard Step', 'Run Finished Trigger'].sort(),
    );
    await picture('editor-nodes');
  });

  it.each(readTemplates())('opens $name without a warning', async ({ id, nodes }) => {
    await open(id);
    const drawn = await page.locator('[data-test-id="canvas-node"], [data-test-id="sticky"]').count();
    expect(drawn).toBe(nodes.length);
    // The account of a mailbox is a person's to choose.
    expect(await warnings()).toBe(nodes.filter(({ type }) => type.endsWith('emailReadImap')).length);
  });

  it('would show a warning: a node that lacks something, and one that nobody knows', async () => {
    const id = await home.editor.addWorkflow({
      nodes: [
        {
          id: 'a',
          name: 'Deliver',
          type: `${PACK_NAME}.switchyardMail`,
          typeVersion: 1,
          position: [0, 0],
          parameters: { resource: 'message', operation: 'deliver' },
        },
        { id: 'b', name: 'Odd', type: `${PACK_NAME}.nobodys`, typeVersion: 1, position: [300, 0], parameters: {} },
      ],
    });
    await open(id);
    expect(await warnings()).toBe(2);
  });

  it('shows a mail on its way through the graph, and what each step found', async () => {
    const known = await home.editor.executions(STEPS);
    expect(await home.send({ to: 'steps@demo.test', subject: 'Offer for the roof' })).toMatch(/^250 /);
    await openExecution(await newestExecution(known));
    await node('Accept').getByTestId('canvas-node-status-success').waitFor();
    expect(await at('canvas-node-status-success').count()).toBe(7);
    await picture('editor-execution');
    await node('Verify').dblclick();
    await at('output-panel').getByText('Schema').click();
    await at('output-panel').getByText('authentication').first().scrollIntoViewIfNeeded();
    await picture('editor-mail');
    await page.keyboard.press('Escape');
  });

  it('ticks Durable, and the output of the next mail has the link to its run', async () => {
    await open(STEPS);
    await node('Verify').dblclick();
    await at('parameter-input-durable').locator('.el-switch').click();
    await page.keyboard.press('Escape');
    await at('workflow-open-publish-modal-button').click();
    await at('workflow-publish-button').click();
    await eventually(async () => {
      const { nodes, activeVersionId, versionId } = await home.editor.workflow(STEPS);
      const verify = nodes.find(({ name }) => name === 'Verify') as { parameters?: { durable?: boolean } } | undefined;
      return verify?.parameters?.durable === true && activeVersionId === versionId;
    }, 'the change is published');

    const known = await home.editor.executions(STEPS);
    expect(await home.send({ to: 'steps@demo.test', subject: 'A durable check' })).toMatch(/^250 /);
    await openExecution(await newestExecution(known));
    await node('Verify').dblclick();
    const link = at('output-panel').getByRole('link', { name: 'Open the run in Temporal' });
    const [run] = await Promise.all([page.waitForEvent('popup'), link.click()]);
    await run.getByText('Completed').first().waitFor();
    await run.getByText('mail.verify').first().waitFor();
    await run.getByText('User Metadata').click();
    // The Temporal UI shows what we say in frames of their own. The link is the way back to the execution.
    const back = await eventually(async () => {
      const links = run.frames().map((frame) => frame.getByRole('link', { name: 'Mail forwarding, step by step' }));
      // A frame may be replaced while it is looked at.
      for (const one of links) if ((await one.count().catch(() => 0)) > 0) return one.first().getAttribute('href');
      return undefined;
    }, 'the link back');
    expect(back).toMatch(new RegExp(`^${home.editor.url}/workflow/${STEPS}/executions/\\d+$`));
    await picture('editor-run', run);
    await run.close();
  });

  it('threw nothing on the way', () => {
    expect(thrown).toEqual([]);
  });
});
