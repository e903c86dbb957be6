/** package.json of `switchyard-server`: the dependencies are exactly what its files import. */
import { readFileSync, readdirSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { join } from 'node:path';
import ts from 'typescript';

export interface Manifest {
  name: string;
  version: string;
  dependencies: Record<string, string>;
}

interface RootManifest {
  version: string;
  description: string;
  license: string;
  author: string | { name: string; email: string };
  devDependencies: Record<string, string>;
}

/**
 * Needed though nothing here imports it: without a protobufjs of our own, npm hoists version 7, with which the SDK
 * cannot read histories as JSON.
 */
const NEEDED_BESIDES = ['protobufjs'];

/** The launcher runs from Node 18 on and brings Node 24 itself. */
const OLDEST_NODE = '>=18.17';

/**
 * @param root the checkout
 * @param server folder with the emitted files
 * @throws Error when an imported package is not in the root's devDependencies
 */
export function serverManifest(root: string, server: string): Manifest & Record<string, unknown> {
  const { version, license, author, devDependencies } = JSON.parse(
    readFileSync(join(root, 'package.json'), 'utf8'),
  ) as RootManifest;
  const names = [...new Set([...importedPackages(server), ...NEEDED_BESIDES])].sort();
  return {
    name: 'switchyard-server',
    version,
    description:
      'The servers, the worker and the command of Switchyard: mail routing and more on durable Temporal workflows.',
    license,
    author,
    type: 'module',
    bin: { switchyard: 'cli/launch.mjs' },
    engines: { node: OLDEST_NODE },
    dependencies: Object.fromEntries(
      names.map((name) => {
        const wanted = devDependencies[name];
        if (!wanted) throw new Error(`${name} is imported, and is not in devDependencies of package.json`);
        return [name, wanted];
      }),
    ),
  };
}

/** Names of the packages that the JavaScript files of a folder import, in any form. */
export function importedPackages(folder: string): Set<string> {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(
    (name) => /\.m?js$/.test(name) && !name.includes('node_modules') && name !== 'workflow-bundle.js',
  );
  const specifiers = files.flatMap((name) => {
    const text = readFileSync(join(folder, name), 'utf8');
    const required = [
      ...text.matchAll(/(?:require|createRequire\([^)]*\)|import\.meta\.resolve)\(\s*['"]([^'"]+)['"]/g),
    ].map((match) => match[1] ?? '');
    return [...ts.preProcessFile(text, true, true).importedFiles.map(({ fileName }) => fileName), ...required];
  });
  const packages = specifiers
    .filter((one) => /^[@a-z]/i.test(one) && !one.startsWith('node:') && !builtinModules.includes(one))
    .map((one) =>
      one
        .split('/')
        .slice(0, one.startsWith('@') ? 2 : 1)
        .join('/'),
    );
  return new Set(packages);
}
