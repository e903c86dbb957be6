/** Mail Verdict: one answer to the sender, in the words that Switchyard reads. */
import { describe, expect, it } from 'vitest';
import type { IDataObject } from 'n8n-workflow';
import { hasN8n, NOBODY, stage, withDefaults, type Stage } from './n8n.ts';

const TRIGGER = {
  name: 'Receive Mail',
  type: 'n8n-nodes-switchyard.switchyardMailTrigger',
  parameters: { answer: 'verdict' },
};

async function judge(parameters: IDataObject, options: Partial<Stage> = {}) {
  const { SwitchyardMailVerdict } = await import('../../nodes/SwitchyardMailVerdict/SwitchyardMailVerdict.node.ts');
  const node = new SwitchyardMailVerdict();
  const double = stage({
    credential: NOBODY,
    parameters: withDefaults(node, parameters),
    items: [{ json: { a: 1 } }, { json: { a: 2 } }],
    parents: [TRIGGER],
    ...options,
  });
  return { ...double, output: await node.execute.call(double.context) };
}

describe.skipIf(!hasN8n)('a verdict', () => {
  it.each([
    [{ operation: 'accept' }, { verdict: 'accept' }],
    [{ operation: 'drop' }, { verdict: 'drop' }],
    [{ operation: 'reject' }, { verdict: 'reject', code: 550 }],
    [
      { operation: 'reject', code: 451, text: 'Later', enhanced: '4.7.1' },
      { verdict: 'reject', code: 451, text: 'Later', enhanced: '4.7.1' },
    ],
    [
      { operation: 'forward', destinations: 'ann@a.test, bob@b.test' },
      { verdict: 'forward', destinations: ['ann@a.test', 'bob@b.test'] },
    ],
  ])('%o is told as %o', async (parameters, body) => {
    const { told } = await judge(parameters);
    expect(told.responses).toEqual([
      { statusCode: 200, headers: { 'content-type': 'application/json', 'x-switchyard-verdict': '1' }, body },
    ]);
  });

  it('lets the items through, each paired with itself', async () => {
    const { output } = await judge({ operation: 'accept' });
    expect(output).toEqual([
      [
        { json: { a: 1 }, pairedItem: { item: 0 } },
        { json: { a: 2 }, pairedItem: { item: 1 } },
      ],
    ]);
  });

  it('counts once: the first of an execution', async () => {
    const { contexts } = await judge({ operation: 'accept' });
    const { told } = await judge({ operation: 'drop' }, { contexts });
    expect(told.responses).toEqual([]);
    expect(told.hints[0]?.message).toContain('accept');
  });

  it('needs a mail that waits', async () => {
    await expect(judge({ operation: 'accept' }, { parents: [] })).rejects.toThrow('No mail waits');
    await expect(
      judge({ operation: 'accept' }, { parents: [{ ...TRIGGER, parameters: { answer: 'taken' } }] }),
    ).rejects.toThrow('comes too late');
  });

  it('forwards to somebody', async () => {
    await expect(judge({ operation: 'forward', destinations: ' ' })).rejects.toThrow('no address');
  });
});
