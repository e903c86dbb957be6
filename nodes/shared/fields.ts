/** Typed fields from the JSON Schema of a step's input, and the input again from what was filled in. */
import type { FieldType, IDataObject, ResourceMapperField } from 'n8n-workflow';
import type { JsonSchema } from './options.ts';

/** Between the names of a nested field: `envelope.sender`. No name of a contract has it. */
const SEPARATOR = '.';

/** One field for each property; an object of plain values is shown by its own properties. */
export function fieldsOf(schema: JsonSchema, prefix = '', isWanted = true): ResourceMapperField[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, property]) => {
    const id = prefix + name;
    const { shape, isNullable } = withoutNull(property);
    const required = isWanted && (schema.required ?? []).includes(name) && property.default === undefined;
    if (prefix === '' && isPlain(shape)) return fieldsOf(shape, id + SEPARATOR, required);
    const type = fieldType(shape);
    return [
      {
        id,
        displayName: wordsOf(name),
        type,
        required: required && !isNullable,
        defaultMatch: false,
        canBeUsedToMatch: false,
        display: true,
        ...(type === 'options' ? { options: (shape.enum ?? []).map((one) => choice(one)) } : {}),
        ...(required && isNullable ? { defaultValue: null } : defaultOf(property)),
        // Nobody writes a reference by hand: an earlier node has it under this name.
        ...(required && !isNullable && type === 'object' ? { defaultValue: `={{ $json.${id} }}` } : {}),
      },
    ];
  });
}

const choice = (value: unknown) => ({ name: String(value), value: value as string });

function defaultOf({ default: value }: JsonSchema): { defaultValue?: string | number | boolean } {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
    ? { defaultValue: value }
    : {};
}

/** The schema of a value that may also be null. */
function withoutNull(property: JsonSchema): { shape: JsonSchema; isNullable: boolean } {
  const choices = property.anyOf ?? property.oneOf;
  if (choices) {
    const others = choices.filter(({ type }) => type !== 'null');
    const [only] = others;
    return { shape: others.length === 1 && only ? only : property, isNullable: others.length < choices.length };
  }
  if (!Array.isArray(property.type)) return { shape: property, isNullable: false };
  const types = property.type.filter((type) => type !== 'null');
  return {
    shape: { ...property, type: types.length === 1 ? types[0] : types },
    isNullable: types.length < property.type.length,
  };
}

function fieldType({ type, enum: choices, format }: JsonSchema): FieldType {
  if (choices) return 'options';
  if (type === 'string') return format === 'date-time' ? 'dateTime' : 'string';
  if (type === 'number' || type === 'integer') return 'number';
  return type === 'boolean' || type === 'array' ? type : 'object';
}

/** A reference is passed on as a whole, another object of plain values by its parts. */
function isPlain({ properties = {} }: JsonSchema): boolean {
  const parts = Object.values(properties);
  return (
    parts.length > 0 &&
    !('sha256' in properties) &&
    parts.every((part) => !Array.isArray(part.type) && fieldType(part) !== 'object' && fieldType(part) !== 'array')
  );
}

/** `sourceAddress` as `Source Address`; the form cuts off what is longer. */
function wordsOf(name: string): string {
  return name.replace(/([a-z\d])([A-Z])/g, '$1 $2').replace(/^./, (first) => first.toUpperCase());
}

/**
 * The input of a step from the values of its fields. What was left empty is left out; an empty text that is wanted
 * stays, since the null sender of a mail is one.
 * @throws SyntaxError where an object or a list was written as JSON that is none
 */
export function inputFrom(values: IDataObject, fields: ResourceMapperField[]): IDataObject {
  const input: IDataObject = {};
  for (const field of fields) {
    const value = valueOf(values[field.id], field);
    if (value === undefined) continue;
    const [name, part] = field.id.split(SEPARATOR) as [string, string | undefined];
    if (part === undefined) input[name] = value;
    else input[name] = { ...(input[name] as IDataObject | undefined), [part]: value };
  }
  return input;
}

function valueOf(
  value: unknown,
  { type, required, defaultValue }: ResourceMapperField,
): IDataObject[string] | undefined {
  if (value === undefined || value === null || value === '') {
    if (defaultValue === null) return null;
    return required && type === 'string' ? '' : undefined;
  }
  if ((type === 'object' || type === 'array') && typeof value === 'string') return JSON.parse(value);
  return value as IDataObject[string];
}
