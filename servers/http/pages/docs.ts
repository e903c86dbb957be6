/** The API, readable: the same object as /openapi.json, by group, with a command to try each operation. */
import { html } from 'hono/html';
import { HTTP_CODES } from '../problem.ts';
import type { HttpContext } from '../context.ts';
import type { Json, OpenApi, Operation } from '../openapi.ts';
import { head, page, panel, type Html } from './layout.ts';

export async function docsPage(context: HttpContext, document: OpenApi): Promise<Html> {
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );
  const url = document.servers[0]?.url ?? '';
  const codes = [
    ...new Set([...HTTP_CODES, ...operations.flatMap(({ operation }) => operation['x-errors'] ?? [])]),
  ].sort();
  const body = html`${head('API', html`Version ${document.info.version}. ${document.info.description}`, html`<a class="button" href="/openapi.json">openapi.json</a>`)}
    ${panel(
      'Begin',
      html`<div class="body">
        <pre tabindex="0">
export TOKEN=$(cat .switchyard/token)
curl -H "Authorization: Bearer $TOKEN" ${url}/v1/whoami</pre>
      </div>`,
    )}
    ${panel(
      'Contents',
      html`<div class="body">
        <ul class="contents">
          ${document.tags.map(({ name }) => html`<li><a href="#${name.toLowerCase()}">${name}</a></li>`)}
          <li><a href="#errors">Errors</a></li>
        </ul>
      </div>`,
    )}
    ${document.tags.map(({ name, description }) => {
      const own = operations.filter(({ operation }) => operation.tags.includes(name));
      return html`<div id="${name.toLowerCase()}">
        ${panel(name, html`${own.map((one) => operationSection(document, url, one))}`, description)}
      </div>`;
    })}
    <div id="errors">
      ${panel(
        'Errors',
        html`<div class="body">
          <ul class="contents">
            ${codes.map((code) => html`<li id="error-${code}"><code>${code}</code></li>`)}
          </ul>
        </div>`,
        'application/problem+json with code, detail and fix',
      )}
    </div>`;
  return page({ title: 'API', body, current: 'docs', runs: context.addresses.temporalUi });
}

function operationSection(
  document: OpenApi,
  url: string,
  { path, method, operation }: { path: string; method: string; operation: Operation },
): Html {
  const { parameters = [] } = operation;
  const request = jsonBody(operation);
  const answer = Object.entries(operation.responses).find(([status]) => status.startsWith('2'));
  return html`<article class="operation" id="${operation.operationId}">
    <h3><span class="method">${method.toUpperCase()}</span> <span class="mono">${path}</span></h3>
    <p>${operation.summary} ${operation.description ?? ''}</p>
    <p class="quiet">
      ${whoMay(operation)} ${operation['x-errors']?.length ? html`Errors: ${operation['x-errors'].join(', ')}.` : ''}
    </p>
    ${
      parameters.length > 0
        ? html`<dl class="facts">
            ${parameters.map(
              (one) =>
                html`<dt class="mono">${one.name}</dt>
                  <dd>
                    ${one.description ?? ''} <span class="quiet">${one.in}${one.required ? ', required' : ''}</span>
                  </dd>`,
            )}
          </dl>`
        : ''
    }
    <pre tabindex="0">${curl(document, url, path, method, operation)}</pre>
    ${request ? schemaDetails('What it takes', resolve(document, request)) : ''}
    ${answer ? schemaDetails(`What it answers (${answer[0]})`, resolve(document, answerSchema(answer[1]))) : ''}
  </article>`;
}

function whoMay({ security, 'x-scope': scope }: Operation): Html | string {
  if (security?.length === 0) return 'No token.';
  return scope ? html`Scope <code>${scope}</code>.` : 'Any token.';
}

function schemaDetails(title: string, schema: Json): Html | '' {
  if (schema === null || (typeof schema === 'object' && Object.keys(schema).length === 0)) return '';
  return html`<details>
    <summary>${title}</summary>
    <pre tabindex="0">${JSON.stringify(schema, null, 2)}</pre>
  </details>`;
}

function answerSchema(answer: Json): Json {
  const content = isObject(answer) ? answer.content : undefined;
  const json = isObject(content) ? content['application/json'] : undefined;
  return (isObject(json) ? json.schema : undefined) ?? null;
}

function curl(document: OpenApi, url: string, path: string, method: string, operation: Operation): string {
  const who = operation.security?.length === 0 ? '' : ' -H "Authorization: Bearer $TOKEN"';
  const lines = [`curl${method === 'get' ? '' : ` -X ${method.toUpperCase()}`}${who}`];
  for (const { name, required } of (operation.parameters ?? []).filter((one) => one.in === 'header'))
    if (required) lines.push(`  -H "${name}: order-4711"`);
  const schema = jsonBody(operation);
  if (schema) lines.push(`  -H "Content-Type: application/json" -d '${JSON.stringify(example(document, schema))}'`);
  else if (operation.requestBody) lines.push(bytesBody(operation.requestBody));
  lines.push(`  ${url}${path.replaceAll(/\{(\w+)\}/g, '<$1>')}`);
  return lines.join(' \\\n');
}

/** A body of bytes may be JSON too, of which its schema says nothing. */
function jsonBody({ requestBody }: Operation): Json | undefined {
  const schema = requestBody?.content['application/json']?.schema;
  return isObject(schema) && Object.keys(schema).length > 0 ? schema : undefined;
}

function bytesBody({ content }: NonNullable<Operation['requestBody']>): string {
  const [type = ''] = Object.keys(content);
  return type === 'application/octet-stream'
    ? '  --data-binary @message.eml'
    : `  -H "Content-Type: ${type}" --data-binary @report.json.gz`;
}

const isObject = (value: Json | undefined): value is { [key: string]: Json | undefined } =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function resolve(document: OpenApi, schema: Json): Json {
  if (!isObject(schema) || typeof schema.$ref !== 'string') return schema;
  const name = schema.$ref.split('/').at(-1) ?? '';
  return (isObject(document.components.schemas) ? document.components.schemas[name] : undefined) ?? schema;
}

/** A small value of a schema: enough to see what goes where. */
function example(document: OpenApi, given: Json): Json {
  const schema = resolve(document, given);
  if (!isObject(schema)) return null;
  if (schema.default !== undefined) return schema.default;
  if (schema.const !== undefined) return schema.const;
  if (Array.isArray(schema.enum)) return schema.enum[0] ?? null;
  const [variant] = (schema.anyOf ?? schema.oneOf ?? []) as Json[];
  if (variant !== undefined) return example(document, variant);
  switch (schema.type) {
    case 'object': {
      const required = Array.isArray(schema.required) ? schema.required : [];
      return Object.fromEntries(
        Object.entries(isObject(schema.properties) ? schema.properties : {})
          .filter(([name]) => required.includes(name))
          .map(([name, property]) => [name, example(document, property ?? null)]),
      );
    }
    case 'array':
      return schema.items === undefined ? [] : [example(document, schema.items)];
    case 'integer':
    case 'number':
      return 0;
    case 'boolean':
      return true;
    case 'string':
      return '…';
    default:
      return {};
  }
}
