import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { publicSteps } from '../../activities/registry.ts';

interface Schema {
  description?: string;
  properties?: Record<string, Schema>;
  items?: Schema;
  additionalProperties?: Schema | boolean;
  anyOf?: Schema[];
  oneOf?: Schema[];
}

/** Paths of fields without a sentence, in the schema and everything inside it. */
function silent(schema: Schema, path = ''): string[] {
  const inside = [
    ...(schema.items ? [[`${path}[]`, schema.items] as const] : []),
    ...(typeof schema.additionalProperties === 'object' ? [[`${path}.*`, schema.additionalProperties] as const] : []),
    ...[...(schema.anyOf ?? []), ...(schema.oneOf ?? [])].map((one) => [path, one] as const),
  ];
  return [
    ...Object.entries(schema.properties ?? {}).flatMap(([name, field]) => [
      ...(field.description?.endsWith('.') ? [] : [`${path}.${name}`]),
      ...silent(field, `${path}.${name}`),
    ]),
    ...inside.flatMap(([at, one]) => silent(one, at)),
  ];
}

describe('the contract of the steps', () => {
  it.each(publicSteps.map((step) => [step.name, step] as const))(
    '%s says in a sentence what each field of its input is: forms are made from it',
    (_name, step) => {
      const schema = z.toJSONSchema(step.input, { io: 'input', unrepresentable: 'any' }) as Schema;
      expect(Object.keys(schema.properties ?? {}).length).toBeGreaterThan(0);
      expect(silent(schema)).toEqual([]);
    },
  );

  it('has a name of its own for each, and no code twice in a step', () => {
    expect(new Set(publicSteps.map(({ name }) => name)).size).toBe(publicSteps.length);
    for (const { name, errors } of publicSteps) expect([name, new Set(errors).size]).toEqual([name, errors.length]);
  });
});
