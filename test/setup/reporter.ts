/** Ends a run with one plain line, and in CI makes a skipped test a failure: there everything that tests need is installed. */
import type { Reporter, TestModule } from 'vitest/node';

export default class PlainSummary implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const tests = modules.flatMap((module) => [...module.children.allTests()].map((test) => ({ module, test })));
    const count = (state: string) => tests.filter(({ test }) => test.result().state === state).length;
    const unfinished = modules.filter((module) => module.state() === 'failed' && module.errors().length > 0).length;
    process.stdout.write(
      `\n${count('passed')} passed, ${count('failed') + unfinished} failed, ${count('skipped')} skipped\n`,
    );

    const skipped = tests.filter(({ test }) => test.result().state === 'skipped');
    if (process.env.CI !== 'true' || skipped.length === 0) return;
    process.stdout.write('In CI no test may skip:\n');
    for (const { module, test } of skipped) process.stdout.write(`  ${module.relativeModuleId}  ${test.fullName}\n`);
    process.exitCode = 1;
  }
}
