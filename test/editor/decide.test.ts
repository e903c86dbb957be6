import { describe, expect, it } from 'vitest';
import type { Present } from '../../cli/editor/database.ts';
import { decide, type Imported } from '../../cli/editor/decide.ts';
import { withCredential, type Template } from '../../cli/editor/templates.ts';

const OWN = 'own.test';
const template = (id: string, publish = false): Template => ({
  id,
  name: `workflow ${id}`,
  nodes: [],
  meta: publish ? { switchyard: { publish: { domains: [OWN] } } } : {},
});
const CREDENTIAL = 'the-credential';
const API = 'http://127.0.0.1:8080';
const MOVED = 'http://127.0.0.1:8081';

const present = (workflows: string[], credential?: string): Present => ({
  workflows: new Map(workflows.map((id) => [id, { isPublished: false }])),
  credentials: new Map(credential === undefined ? [] : [[CREDENTIAL, credential]]),
});
const start = (
  imported: Imported,
  there: Present,
  wanted: { baseUrl?: string; tokenCounts?: boolean; domains?: string[]; templates?: Template[] } = {},
) =>
  decide(imported, there, {
    credentialId: CREDENTIAL,
    baseUrl: API,
    tokenCounts: true,
    domains: [OWN],
    templates: [],
    ...wanted,
  });
const credential = (fingerprint: string | null) => ({ baseUrl: API, tokenId: 'token', fingerprint });

describe('workflows at a start', () => {
  const templates = [template('a'), template('b', true)];
  const ids = (imported: Imported['workflows'], there: string[]) =>
    start({ workflows: imported }, present(there), { templates }).workflows.map(({ id }) => id);

  it('are all brought the first time, and those published that ask for it', () => {
    const plan = start({ workflows: {} }, present([]), { templates });
    expect(plan.workflows).toEqual(templates);
    expect(plan.publish).toEqual(['b']);
  });

  it('are not published where their mail domain is not our own', () => {
    const plan = start({ workflows: {} }, present([]), { templates, domains: ['other.test'] });
    expect(plan.workflows).toEqual(templates);
    expect(plan.publish).toEqual([]);
  });

  it('are left alone when they are there, changed or not', () => {
    const plan = start({ workflows: { a: 'done', b: 'done' } }, present(['a', 'b']), { templates });
    expect(plan.workflows).toEqual([]);
    expect(plan.publish).toEqual([]);
  });

  it('are not brought back after a person deleted them', () => {
    expect(ids({ a: 'done', b: 'done' }, ['b'])).toEqual([]);
  });

  it('are brought when a newer Switchyard has more of them', () => {
    expect(ids({ a: 'done' }, ['a'])).toEqual(['b']);
  });

  it('are never overwritten where the note of the import is lost', () => {
    expect(ids({}, ['a', 'b'])).toEqual([]);
  });

  it('are brought again, and published, when a start was killed in the middle of it', () => {
    const plan = start({ workflows: { a: 'done', b: 'pending' } }, present(['a', 'b']), { templates });
    expect(plan.workflows).toEqual([templates[1]]);
    expect(plan.publish).toEqual(['b']);
  });
});

describe('the credential at a start', () => {
  it('is brought the first time', () => {
    expect(start({ workflows: {} }, present([])).credential).toBe('import');
  });

  it('stays while nothing has changed', () => {
    expect(start({ workflows: {}, credential: credential('as we left it') }, present([], 'as we left it'))).toEqual({
      credential: 'keep',
      workflows: [],
      publish: [],
    });
  });

  it.each([
    ['the API has moved', { baseUrl: MOVED }],
    ['its token is gone or allows too little', { tokenCounts: false }],
  ])('follows when %s, unless a person has changed it', (_why, wanted) => {
    const imported = { workflows: {}, credential: credential('as we left it') };
    expect(start(imported, present([], 'as we left it'), wanted).credential).toBe('import');
    expect(start(imported, present([], 'changed'), wanted).credential).toBe('edited');
  });

  it('that a person deleted stays deleted', () => {
    const imported = { workflows: {}, credential: credential('as we left it') };
    expect(start(imported, present([]), { baseUrl: MOVED }).credential).toBe('keep');
  });

  it('that we know nothing of is left alone', () => {
    expect(start({ workflows: {} }, present([], 'somebody made it')).credential).toBe('keep');
  });

  it('is brought again when a start was killed in the middle of it', () => {
    expect(start({ workflows: {}, credential: credential(null) }, present([], 'half')).credential).toBe('import');
  });
});

it('puts the credential into the nodes of the pack and into no other', () => {
  const { nodes, active } = withCredential(
    {
      ...template('a'),
      active: true,
      nodes: [
        { type: 'n8n-nodes-switchyard.switchyardMail', name: 'ours' },
        { type: 'n8n-nodes-base.set', name: 'other' },
        { type: 'n8n-nodes-switchyardish.thing', name: 'a namesake' },
      ],
    },
    { type: 'switchyardApi', id: 'id', name: 'Switchyard' },
  );
  expect(nodes.map(({ credentials }) => credentials)).toEqual([
    { switchyardApi: { id: 'id', name: 'Switchyard' } },
    undefined,
    undefined,
  ]);
  expect(active).toBe(false);
});
