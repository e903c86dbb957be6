/** Errors as people meet them in n8n: a sentence, what to do, the status, the item. */
import { afterEach, describe, expect, it } from 'vitest';
import { hasN8n, NOBODY, stage, startRecorder, withDefaults, type Recorder, type Stage } from './n8n.ts';

const MESSAGE = { key: `mail/${'a'.repeat(64)}`, sha256: 'a'.repeat(64), size: 12 };
const MISSING = {
  status: 404,
  code: 'blob.missing',
  detail: 'There is no blob.',
  fix: 'Store it again.',
  key: 'mail/a',
};

let recorder: Recorder | undefined;
afterEach(() => recorder?.close());

async function parse(options: Partial<Stage> & { baseUrl?: string }) {
  const { SwitchyardMail } = await import('../../nodes/SwitchyardMail/SwitchyardMail.node.ts');
  const node = new SwitchyardMail();
  const { context } = stage({
    credential: { baseUrl: options.baseUrl ?? recorder?.url ?? NOBODY.baseUrl, token: 'sy_test' },
    parameters: withDefaults(node, { operation: 'parse', message: MESSAGE }),
    items: [{ json: { n: 0 } }, { json: { n: 1 } }],
    ...options,
  });
  return node.execute.call(context);
}

describe.skipIf(!hasN8n)('a node', () => {
  it('says what Switchyard said, with the fix, the status and the item', async () => {
    let calls = 0;
    recorder = await startRecorder({
      answer: () => (calls++ === 0 ? { status: 200, body: { text: 'ok' } } : { status: 404, body: MISSING }),
    });
    await expect(parse({})).rejects.toMatchObject({
      message: 'There is no blob.',
      description: 'Store it again. (blob.missing)',
      httpCode: '404',
      context: { itemIndex: 1 },
    });
  });

  it('goes on with the other items where it continues on errors, each paired with its own', async () => {
    let calls = 0;
    recorder = await startRecorder({
      answer: () => (calls++ === 0 ? { status: 404, body: MISSING } : { status: 200, body: { text: 'ok' } }),
    });
    const output = await parse({ node: { onError: 'continueErrorOutput' } });
    expect(output).toEqual([
      [
        {
          json: {
            error: 'There is no blob.',
            details: { key: 'mail/a', code: 'blob.missing', fix: 'Store it again.', status: 404 },
          },
          pairedItem: { item: 0 },
        },
        { json: { n: 1, text: 'ok' }, pairedItem: { item: 1 } },
      ],
    ]);
  });

  it('has one key for every try of an item', async () => {
    recorder = await startRecorder({ answer: () => ({ status: 200, body: {} }) });
    await parse({});
    await parse({});
    const keys = recorder.calls.map(({ headers }) => headers['idempotency-key']);
    expect(keys.slice(0, 2)).toEqual(keys.slice(2));
    expect(keys[0]).not.toBe(keys[1]);
  });

  it.each([
    ['http://127.0.0.1:1', /cannot be reached at http:\/\/127\.0\.0\.1:1/],
    ['http://nowhere.invalid', /there is no such host|could not be looked up/],
  ])('says where it looked for a Switchyard that is not there: %s', async (baseUrl, message) => {
    await expect(parse({ baseUrl })).rejects.toMatchObject({ message: expect.stringMatching(message) });
  });

  it('says that something else answers', async () => {
    recorder = await startRecorder({ answer: () => ({ status: 404, body: { error: 'nothing here' } }) });
    await expect(parse({})).rejects.toMatchObject({
      message: expect.stringContaining('not as Switchyard does'),
      httpCode: '404',
    });
  });

  it('says which item has no message before it asks anything', async () => {
    recorder = await startRecorder();
    await expect(parse({ perItem: [{ message: 'nothing' }] })).rejects.toMatchObject({
      message: 'There is no message in this item.',
      description: expect.stringContaining('{{ $json.message }}'),
      context: { itemIndex: 0 },
    });
    expect(recorder.calls).toEqual([]);
  });
});
