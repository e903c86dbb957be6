import tseslint from 'typescript-eslint';

/** Imports run downwards only (design, 'The house'): each folder lists what it must not reach. */
const never = (files, groups, message) => ({
  files,
  rules: { 'no-restricted-imports': ['error', { patterns: groups.map((group) => ({ group, message })) }] },
});
const only = (regex, message, forbidden = []) => ({
  'no-restricted-imports': [
    'error',
    {
      patterns: [
        { regex, message },
        ...(forbidden.length > 0 ? [{ group: forbidden, message: 'imports run downwards' }] : []),
      ],
    },
  ],
});
const upper = (...folders) => folders.flatMap((folder) => [`**/${folder}/**`, `../${folder}/**`]);

export default tseslint.config(
  { ignores: ['dist/', 'node_modules/', '.switchyard/'] },
  ...tseslint.configs.recommended,
  {
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      eqeqeq: 'error',
    },
  },
  never(
    ['protocols/**'],
    [
      upper('stores', 'activities', 'workflows', 'servers', 'cli'),
      ['node:fs', 'node:fs/*', 'node:net', 'node:http', 'node:dns', '@temporalio/*', 'hono', 'hono/*'],
    ],
    'protocols are pure: no I/O, nothing of the house above them',
  ),
  never(
    ['stores/**'],
    [upper('activities', 'workflows', 'servers', 'cli'), ['@temporalio/*', 'hono', 'hono/*', 'n8n-workflow']],
    'stores know only protocols',
  ),
  never(
    ['activities/**'],
    [upper('workflows', 'servers', 'cli'), ['@temporalio/*', 'hono', 'hono/*', 'n8n-workflow']],
    'steps know neither Temporal nor HTTP nor n8n',
  ),
  {
    files: ['servers/**'],
    rules: only('workflows/(?!(.*/)?contract\\.ts$)', 'servers take only contract.ts from workflows', upper('cli')),
  },
  {
    files: ['cli/**'],
    rules: only('workflows/(?!(.*/)?contract\\.ts$)', 'the command line takes only contract.ts from workflows'),
  },
  {
    files: ['nodes/**', 'credentials/**'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              regex: '^(?!n8n-workflow$|node:crypto$|\\.\\.?/)',
              message: "nodes import n8n-workflow, node:crypto and each other: n8n's rules for verified nodes",
            },
            {
              group: upper('protocols', 'stores', 'activities', 'workflows', 'servers', 'cli'),
              message: 'nodes know Switchyard by its HTTP contract only',
            },
          ],
        },
      ],
    },
  },
  {
    files: ['workflows/**'],
    rules: {
      'no-restricted-imports': 'off',
      '@typescript-eslint/no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              group: ['**/activities/**', '**/stores/**'],
              allowTypeImports: true,
              message: 'workflows take types from activities and stores, values from protocols',
            },
            {
              group: upper('servers', 'cli').concat('node:*'),
              message: 'workflows are deterministic and know nothing above them',
            },
          ],
        },
      ],
    },
  },
);
