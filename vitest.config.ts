import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';
import { findPackTools } from './cli/build/pack-rules.ts';

/** n8n-workflow is no dependency: `npm run lint` brings it into the cache, and tests of the nodes skip without it. */
const tools = findPackTools();

export default defineConfig({
  resolve: {
    alias: tools ? { 'n8n-workflow': join(tools, 'node_modules/n8n-workflow/dist/cjs/index.js') } : {},
  },
  test: {
    include: ['test/**/*.test.ts'],
    // Real servers are started and stopped: one process a file, so that nothing is shared by accident.
    pool: 'forks',
    // Also on two cores, where vitest would take one: most files wait for servers, and two at a time take half as long.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    globalSetup: ['test/setup/global.ts'],
    reporters: ['default', './test/setup/reporter.ts'],
    // Ceilings for a slow machine, not expectations.
    testTimeout: 60_000,
    hookTimeout: 300_000,
    teardownTimeout: 30_000,
  },
});
