import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Real servers are started and stopped: one process a file, so that nothing is shared by accident.
    pool: 'forks',
    globalSetup: ['test/setup/global.ts'],
    reporters: ['default', './test/setup/reporter.ts'],
    // Ceilings for a slow machine, not expectations.
    testTimeout: 60_000,
    hookTimeout: 300_000,
    teardownTimeout: 30_000,
  },
});
