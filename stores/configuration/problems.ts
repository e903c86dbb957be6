/** Where a problem of the file is, and how it is told: `file:line:column: key: what is wrong`, and the fix. */
import type { z } from 'zod';
import { isMap, isPair, isScalar, type Document, type LineCounter } from 'yaml';
import { PermanentError } from '../../protocols/errors.ts';

/** Problems told at once; more are the first one's consequences. */
const TOLD = 5;

export type Path = readonly PropertyKey[];

export interface Problem {
  path: Path;
  what: string;
  fix: string;
  /** The key itself is wrong, not its value. */
  atKey?: boolean;
  /** Offset in the text, where the document knows it better than the path does. */
  offset?: number;
}

/** The text that the configuration came from; null for one that no file holds. */
export interface Source {
  file: string;
  document: Document;
  lines: LineCounter;
}

/** The error that tells of all problems, each on its line, and carries the place of the first. */
export function invalid(problems: Problem[], source: Source | null): PermanentError {
  const [first] = problems as [Problem];
  const told = problems.slice(0, TOLD).map((problem) => {
    const at = source ? `${source.file}:${position(problem, source).join(':')}: ` : '';
    const key = problem.path.length > 0 ? `${pathText(problem.path)}: ` : '';
    return `${at}${key}${problem.what}`;
  });
  if (problems.length > TOLD) told.push(`... and ${problems.length - TOLD} more`);
  const [line, column] = source ? position(first, source) : [null, null];
  return new PermanentError({
    code: 'configuration.invalid',
    message: told.join('\n'),
    fix: first.fix,
    details: { file: source?.file ?? null, line, column, key: pathText(first.path) },
  });
}

/** `mail.domains["demo.test"].rules[0].forward`. */
function pathText(path: Path): string {
  return path
    .map((part, index) => {
      if (typeof part === 'number') return `[${part}]`;
      const name = String(part);
      if (!/^[\w-]+$/.test(name)) return `[${JSON.stringify(name)}]`;
      return index === 0 ? name : `.${name}`;
    })
    .join('');
}

/** Line and column, from 1, of the key or value; of its nearest parent where it is missing. */
function position({ path, atKey, offset }: Problem, { document, lines }: Source): [number, number] {
  const found = offset ?? (atKey ? keyOffset(document, path) : undefined) ?? valueOffset(document, path) ?? 0;
  const { line, col } = lines.linePos(found);
  return [Math.max(line, 1), Math.max(col, 1)];
}

function keyOffset(document: Document, path: Path): number | undefined {
  const parent = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1), true);
  if (!isMap(parent)) return undefined;
  const name = String(path.at(-1));
  const pair = parent.items.find((item) => isPair(item) && isScalar(item.key) && String(item.key.value) === name);
  return pair && isScalar(pair.key) ? pair.key.range?.[0] : undefined;
}

function valueOffset(document: Document, path: Path): number | undefined {
  for (let length = path.length; length > 0; length -= 1) {
    const node = document.getIn(path.slice(0, length), true);
    const range = node && typeof node === 'object' && 'range' in node ? (node.range as [number] | null) : null;
    // A missing key is told at the key of the map that lacks it.
    if (range) return length === path.length ? range[0] : (keyOffset(document, path.slice(0, length)) ?? range[0]);
  }
  return undefined;
}

/** Zod's issues in words for people, with the nearest known key for an unknown one. */
export function problemsOf(error: z.ZodError, schema: z.ZodType): Problem[] {
  return error.issues.flatMap((issue): Problem[] => {
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => unknownKey([...issue.path, key], key, knownKeys(schema, issue.path)));
    }
    if (issue.code === 'invalid_union') {
      const last = issue.errors.at(-1)?.[0];
      return [
        { path: issue.path, what: last && issue.message === 'Invalid input' ? last.message : issue.message, fix: FIX },
      ];
    }
    return [{ path: issue.path, what: issue.message, fix: FIX }];
  });
}

const FIX = 'Correct the value; switchyard.example.yaml shows every key.';

function unknownKey(path: Path, key: string, known: string[]): Problem {
  const near = known
    .map((one) => ({ one, distance: distanceBetween(key.toLowerCase(), one.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance)[0];
  const suggestion = near && near.distance <= Math.max(2, key.length / 3) ? near.one : undefined;
  return {
    path,
    atKey: true,
    what: suggestion ? `unknown key; did you mean ${JSON.stringify(suggestion)}?` : 'unknown key',
    fix: suggestion
      ? `Write ${suggestion} instead of ${key}, or remove it.`
      : `Remove it. Known here: ${known.join(', ')}.`,
  };
}

interface Definition {
  type: string;
  innerType?: z.ZodType;
  shape?: Record<string, z.ZodType>;
  valueType?: z.ZodType;
  element?: z.ZodType;
}

/** Keys that the schema knows at a path. */
function knownKeys(schema: z.ZodType, path: Path): string[] {
  let at: z.ZodType | undefined = schema;
  for (const part of path) {
    const definition: Definition | undefined = at && unwrapped(at);
    at = definition?.shape?.[String(part)] ?? definition?.valueType ?? definition?.element;
  }
  return Object.keys((at && unwrapped(at).shape) ?? {});
}

/** Without `optional`, `default` and `prefault`. */
function unwrapped(schema: z.ZodType): Definition {
  const definition = schema.def as unknown as Definition;
  return definition.innerType ? unwrapped(definition.innerType) : definition;
}

/** Levenshtein distance: insertions, removals and replacements of one character. */
function distanceBetween(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let i = 1; i <= one.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= other.length; j += 1) {
      const replaced = (row[j - 1] as number) + (one[i - 1] === other[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[other.length] as number;
}
