/** Structure rules of OpenAPI 3.1.1 (https://spec.openapis.org/oas/v3.1.1), checked by hand: no validator is at hand. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { steps } from '../../../activities/registry.ts';
import { startService, type Service } from './service.ts';

/* eslint-disable @typescript-eslint/no-explicit-any -- the document is what is under test */
let service: Service;
let document: any;
beforeAll(async () => {
  service = await startService();
  document = (await service.call('GET', '/openapi.json', { token: null })).json;
});
afterAll(() => service.close());

const METHODS = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace'];
const operations = (): { path: string; method: string; operation: any }[] =>
  Object.entries(document.paths).flatMap(([path, item]: [string, any]) =>
    Object.entries(item).map(([method, operation]) => ({ path, method, operation })),
  );

function* walk(value: unknown, path = '#'): Generator<[string, Record<string, unknown>]> {
  if (typeof value !== 'object' || value === null) return;
  if (!Array.isArray(value)) yield [path, value as Record<string, unknown>];
  for (const [key, inner] of Object.entries(value)) yield* walk(inner, `${path}/${key}`);
}

describe('the OpenAPI document', () => {
  test('has the version and the fields that 4.8.1 and 4.8.2 require', () => {
    expect(document.openapi).toMatch(/^3\.1\.\d+$/);
    expect(document.info).toMatchObject({ title: expect.any(String), version: expect.any(String) });
    expect(document.servers).toEqual([{ url: service.url }]);
  });

  test('every path begins with a slash, no two are equal once templated, and methods are HTTP methods', () => {
    const shapes = Object.keys(document.paths).map((path) => path.replace(/\{\w+\}/g, '{}'));
    expect(new Set(shapes).size).toBe(shapes.length);
    for (const { path, method } of operations()) {
      expect(path).toMatch(/^\/v1\//);
      expect(METHODS).toContain(method);
    }
  });

  test('operation ids are unique and every operation answers something', () => {
    const ids = operations().map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { operation } of operations()) {
      expect(Object.keys(operation.responses).every((status) => /^([1-5](\d\d|XX)|default)$/.test(status))).toBe(true);
      for (const response of Object.values<any>(operation.responses))
        expect(typeof (response.$ref ?? response.description)).toBe('string');
    }
  });

  test('path parameters are exactly those of the template, required, and no parameter is twice', () => {
    for (const { path, operation } of operations()) {
      const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort();
      const parameters: any[] = operation.parameters ?? [];
      const declared = parameters.filter((one) => one.in === 'path');
      expect(declared.map((one) => one.name).sort()).toEqual(named);
      expect(declared.every((one) => one.required === true)).toBe(true);
      expect(new Set(parameters.map((one) => `${one.in} ${one.name}`)).size).toBe(parameters.length);
      for (const one of parameters) expect(one.schema).toBeTypeOf('object');
    }
  });

  test('every $ref resolves inside the document', () => {
    let seen = 0;
    for (const [at, node] of walk(document)) {
      if (typeof node.$ref !== 'string') continue;
      seen++;
      const target = node.$ref
        .replace(/^#\//, '')
        .split('/')
        .reduce((value: any, key) => value?.[key.replaceAll('~1', '/').replaceAll('~0', '~')], document);
      expect(target, `${node.$ref} at ${at}`).toBeDefined();
    }
    expect(seen).toBeGreaterThan(steps.length);
  });

  test('component names have the form of 4.8.7.1, and tags are declared', () => {
    for (const group of Object.values<any>(document.components))
      for (const name of Object.keys(group)) expect(name).toMatch(/^[a-zA-Z0-9._-]+$/);
    const declared = document.tags.map((tag: any) => tag.name);
    for (const { operation } of operations()) for (const tag of operation.tags) expect(declared).toContain(tag);
  });

  test('what reporters POST to is there, without a token and with the media types of RFC 8460, 6.4 and 6.5', async () => {
    const { post } = document.paths['/v1/tlsrpt/{domain}/{key}'];
    expect(post.security).toEqual([]);
    expect(Object.keys(post.requestBody.content)).toEqual(
      expect.arrayContaining(['application/tlsrpt+gzip', 'application/tlsrpt+json']),
    );
    expect(post['x-errors']).toEqual(expect.arrayContaining(['request.type_unknown', 'dmarc.over_quota']));
    const open = operations().filter(({ operation }) => operation.security !== undefined);
    expect(open.map(({ path }) => path)).toEqual(['/v1/tlsrpt/{domain}/{key}']);
    const { text } = await service.call('GET', '/docs', { token: null });
    const [, about = ''] = text.split('<span class="mono">/v1/tlsrpt/{domain}/{key}</span>');
    expect(about.slice(0, about.indexOf('</article>'))).toMatch(/No token\.[^]*curl -X POST \\\n/);
  });

  test('every step is there with its own input, output, scope and errors', () => {
    for (const { name } of steps.filter((step) => step.internal))
      expect(document.paths[`/v1/steps/${name}`]).toBeUndefined();
    for (const step of steps.filter((one) => !one.internal)) {
      const operation = document.paths[`/v1/steps/${step.name}`].post;
      expect(operation.requestBody.content['application/json'].schema).toEqual({
        $ref: `#/components/schemas/${step.name}.input`,
      });
      expect(document.components.schemas[`${step.name}.input`].type).toBe('object');
      expect(operation['x-scope']).toBe(step.scope);
      expect(operation['x-errors']).toEqual(expect.arrayContaining([...step.errors]));
      const header = operation.parameters.find((one: any) => one.name === 'Idempotency-Key');
      expect(header.required).toBe(step.repeat === 'needs-key');
    }
  });

  test('schemas are JSON Schema 2020-12: types are known and required names exist', () => {
    const types = ['null', 'boolean', 'object', 'array', 'number', 'string', 'integer'];
    for (const [at, node] of walk(document.components.schemas)) {
      if (typeof node.type === 'string' && !at.endsWith('/properties')) expect(types, at).toContain(node.type);
      if (Array.isArray(node.required))
        for (const name of node.required) expect(Object.keys(node.properties ?? {}), at).toContain(name);
    }
  });

  test('the readable page has every operation and a command for it', async () => {
    const { text, status } = await service.call('GET', '/docs', { token: null });
    expect(status).toBe(200);
    for (const { path } of operations()) expect(text).toContain(path);
    expect(text).toContain('curl -X POST');
  });
});
