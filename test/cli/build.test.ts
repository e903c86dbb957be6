import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { importedPackages, serverManifest } from '../../cli/build/manifest.ts';

let folder: string;
let server: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'switchyard-build-'));
  server = join(folder, 'dist');
  mkdirSync(join(server, 'deep'), { recursive: true });
  writeFileSync(
    join(folder, 'package.json'),
    JSON.stringify({
      version: '1.2.3',
      license: 'MIT',
      author: 'a',
      devDependencies: { hono: '4.0.0', protobufjs: '8.8.1', unused: '1.0.0' },
    }),
  );
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('the manifest of the server package', () => {
  it('finds a package in every form of import, and nothing that is no package', () => {
    writeFileSync(
      join(server, 'deep/file.js'),
      `import a from 'plain'; import { b } from "@scope/name/deep/file.js"; export * from 'again';
       import 'side-effect'; const c = await import('lazy/part'); const d = require('old');
       const e = createRequire(import.meta.url)('@scope/manifest/package.json');
       import fs from 'fs'; import path from 'node:path'; import './near.js'; import '../far.js';`,
    );
    expect([...importedPackages(server)].sort()).toEqual([
      '@scope/manifest',
      '@scope/name',
      'again',
      'lazy',
      'old',
      'plain',
      'side-effect',
    ]);
  });

  it('lists what is imported, with the pinned version, and no more', () => {
    writeFileSync(join(server, 'file.js'), "import { Hono } from 'hono';");
    expect(serverManifest(folder, server)).toMatchObject({
      version: '1.2.3',
      dependencies: { hono: '4.0.0', protobufjs: '8.8.1' },
    });
    expect(Object.keys(serverManifest(folder, server).dependencies)).toEqual(['hono', 'protobufjs']);
  });

  it('fails on a package that is imported and not declared', () => {
    writeFileSync(join(server, 'file.js'), "import 'forgotten';");
    expect(() => serverManifest(folder, server)).toThrow('forgotten is imported');
  });
});

describe('package.json', () => {
  const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as {
    dependencies?: object;
    devDependencies: Record<string, string>;
  };

  it('pins the Temporal packages exactly and alike', () => {
    const versions = Object.entries(manifest.devDependencies).filter(([name]) => name.startsWith('@temporalio/'));
    expect(versions.length).toBeGreaterThan(4);
    expect(new Set(versions.map(([, version]) => version)).size).toBe(1);
    expect(versions[0]?.[1]).toMatch(/^\d+\.\d+\.\d+$/);
  });

  it('gives the n8n pack no dependencies', () => {
    expect(manifest.dependencies).toBeUndefined();
  });

  it('has a lock file without download addresses, complete for every platform', () => {
    const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8')) as {
      packages: Record<string, { resolved?: string; optionalDependencies?: object }>;
    };
    expect(Object.values(packages).filter(({ resolved }) => resolved)).toEqual([]);
    // npm ci refuses a lock file in which a package's optional parts are missing.
    const missing = Object.values(packages).flatMap(({ optionalDependencies }) =>
      Object.keys(optionalDependencies ?? {}).filter(
        (name) => !Object.keys(packages).some((path) => path.endsWith(`node_modules/${name}`)),
      ),
    );
    expect(missing).toEqual([]);
  });
});
