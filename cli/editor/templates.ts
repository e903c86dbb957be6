/** The workflows that come with Switchyard: files as n8n exports them, without credentials in them. */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { PermanentError, messageOf } from '../../protocols/errors.ts';
import { PACK_NAME } from './pack.ts';

export interface Template {
  id: string;
  name: string;
  nodes: TemplateNode[];
  /** `publish`: published at its first import where all these mail domains are Switchyard's own. */
  meta?: { switchyard?: { publish?: { domains: string[] } } } | null;
  [key: string]: unknown;
}

interface TemplateNode {
  type: string;
  credentials?: Record<string, { id: string; name: string }>;
  [key: string]: unknown;
}

/** Folder of the templates: in a checkout and in the published package alike. */
export const TEMPLATES_FOLDER = join(dirname(dirname(import.meta.dirname)), 'templates');

/**
 * Reads all of a folder, by file name; none where there is no folder.
 * @throws PermanentError `editor.template_invalid`
 */
export function readTemplates(folder: string = TEMPLATES_FOLDER): Template[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.endsWith('.json'))
    .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
    .map((name) => readTemplate(join(folder, name)));
}

function readTemplate(file: string): Template {
  let template: Partial<Template>;
  try {
    template = JSON.parse(readFileSync(file, 'utf8')) as Partial<Template>;
  } catch (error) {
    throw invalid(file, messageOf(error), error);
  }
  const { id, name, nodes } = template;
  if (typeof id !== 'string' || typeof name !== 'string' || !Array.isArray(nodes))
    throw invalid(file, 'it needs an id, a name and nodes');
  return { ...template, id, name, nodes };
}

function invalid(file: string, what: string, cause?: unknown): PermanentError {
  return new PermanentError({
    code: 'editor.template_invalid',
    message: `${file} is no workflow: ${what}.`,
    fix: 'Export it from n8n again, or take it out of the folder.',
    cause,
  });
}

/** The template with the credential in each node of the pack, as n8n imports it. */
export function withCredential(template: Template, credential: { type: string; id: string; name: string }): Template {
  const { type, id, name } = credential;
  return {
    ...template,
    active: false,
    nodes: template.nodes.map((node) =>
      node.type.startsWith(`${PACK_NAME}.`)
        ? { ...node, credentials: { ...node.credentials, [type]: { id, name } } }
        : node,
    ),
  };
}

/** @param domains the mail domains of this Switchyard */
export function wantsPublishing({ meta }: Template, domains: readonly string[]): boolean {
  return meta?.switchyard?.publish?.domains.every((domain) => domains.includes(domain)) ?? false;
}
