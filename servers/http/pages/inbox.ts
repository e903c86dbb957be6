/** The local inbox: what arrived at the demo destination, and what its own verification found. */
import { html } from 'hono/html';
import { parse } from '../../../activities/mail/parse.ts';
import type { InboxMessage } from '../../../stores/records/port.ts';
import { messageOf, PermanentError } from '../../../protocols/errors.ts';
import { fieldBody, splitHeader, type HeaderField } from '../../../protocols/mail/header.ts';
import type { HttpContext } from '../context.ts';
import { sendBlob } from '../routes/blobs.ts';
import { empty, head, page, pager, panel, type Html } from './layout.ts';
import { verdictsTable } from './verdicts.ts';
import { ago, bytes, moment, plural, senderName, tag, verdictTags, verdictTone } from './words.ts';

const PAGE = 50;
/** More header than this is not read for the page. */
const HEADER_BYTES = 262_144;
/** Reading a message for a page must not take longer than a person waits. */
const PARSE_TIME = 5_000;

export async function inboxPage(context: HttpContext, search: URLSearchParams): Promise<Html> {
  const before = search.get('before') || undefined;
  const items = await context.dependencies.records.inbox.list({ before, limit: PAGE });
  const [last] = items;
  const sub = last
    ? `What arrived at the local inbox, newest first. ${before ? '' : `Last message ${ago(last.receivedAt)}.`}`
    : 'Nothing has arrived yet.';
  const next = items.length === PAGE ? items.at(-1)?.id : undefined;
  const table = last
    ? html`${messageTable(items)}${pager(before ? '/inbox' : null, next ? `/inbox?before=${next}` : null)}`
    : empty(
        'Messages that are forwarded to the local inbox appear here, with what a receiver finds when it verifies them.',
        'switchyard send-test',
      );
  const body = html`${head('Inbox', sub)}${panel('Messages', table)}`;
  return page({ title: 'Inbox', body, current: 'inbox', runs: context.addresses.temporalUi });
}

function messageTable(items: InboxMessage[]): Html {
  return html`<table class="cards">
    <thead>
      <tr>
        <th>Subject</th>
        <th>Arrived</th>
        <th>From and to</th>
        <th class="n">Size</th>
        <th>Verified here</th>
      </tr>
    </thead>
    <tbody>
      ${items.map(
        (one) =>
          html`<tr>
            <td class="first"><a class="row" href="/inbox/${one.id}">${one.subject || '(no subject)'}</a></td>
            <td class="quiet when wide">${moment(one.receivedAt)}</td>
            <td class="wide">
              ${one.from ?? senderName(one.sender)}<br /><span class="quiet">to ${one.recipients.join(', ')}</span>
            </td>
            <td class="n wide">${bytes(one.blob.size)}</td>
            <td class="wide">
              ${one.authentication ? verdictTags(one.authentication) : html`<span class="quiet">not verified</span>`}
            </td>
          </tr>`,
      )}
    </tbody>
  </table>`;
}

export async function inboxMessagePage(context: HttpContext, id: string): Promise<Html> {
  const message = await find(context, id);
  const [content, fields] = await Promise.all([readContent(context, message), readHeader(context, message)]);
  const chain = arcChain(fields);
  const body = html`${head(
    message.subject || '(no subject)',
    html`From ${message.from ?? senderName(message.sender)} to ${message.recipients.join(', ')}, arrived
    ${moment(message.receivedAt, 'full')}.`,
    html`<a class="button" href="/inbox/${message.id}/raw">Download, ${bytes(message.blob.size)}</a>`,
  )}
  ${panel('Text', html`<div class="body">${content}</div>`)}
  ${panel('Verified here', message.authentication ? verdictsTable(message.authentication) : html`<div class="body empty"><p>The inbox could not verify this message; its log says why.</p></div>`, 'as the destination sees it')}
  ${panel('ARC chain', chain.length > 0 ? chainTable(chain) : html`<div class="body empty"><p>No host on the way has sealed this message.</p></div>`, chain.length > 0 ? plural(chain.length, 'seal') : '')}
  ${panel('Header', html`<div class="body"><pre class="wrap" tabindex="0">${fields.map((field) => field.raw.toString('utf8')).join('')}</pre></div>`, plural(fields.length, 'field'))}`;
  return page({ title: message.subject || 'Message', body, current: 'inbox', runs: context.addresses.temporalUi });
}

export async function inboxDownload(context: HttpContext, id: string, headOnly: boolean): Promise<Response> {
  const message = await find(context, id);
  return sendBlob(context.dependencies.blobs, message.blob.key, `${message.id}.eml`, headOnly);
}

async function find(context: HttpContext, id: string): Promise<InboxMessage> {
  const message = await context.dependencies.records.inbox.get(id);
  if (message) return message;
  throw new PermanentError({
    code: 'inbox.missing',
    message: 'There is no message with this id in the inbox.',
    fix: 'The inbox keeps the newest 500. The list is at /inbox.',
  });
}

/** Text and attachments; a message that cannot be read says so and the page goes on. */
async function readContent(context: HttpContext, { blob }: InboxMessage): Promise<Html> {
  try {
    const step = {
      signal: AbortSignal.timeout(PARSE_TIME),
      report: () => undefined,
      log: context.log,
      idempotencyKey: 'page',
    };
    const { text, attachments, attachmentCount } = await parse.run({ message: blob }, context.dependencies, step);
    const list = attachments.map(
      (one) =>
        html`<li>${one.filename ?? '(no name)'} <span class="quiet">${one.mimeType}, ${bytes(one.size)}</span></li>`,
    );
    return html`${text.trim() ? html`<pre class="message wrap">${text.trim()}</pre>` : html`<p class="quiet">The message has no text.</p>`}
    ${
      attachmentCount > 0
        ? html`<h3>${plural(attachmentCount, 'attachment')}</h3>
            <ul>
              ${list}
            </ul>`
        : ''
    }`;
  } catch (thrown) {
    return html`<p class="fail">The content cannot be shown: ${messageOf(thrown)}</p>
      <p class="quiet">The download has every byte of it.</p>`;
  }
}

async function readHeader(context: HttpContext, { blob }: InboxMessage): Promise<HeaderField[]> {
  const chunks: Buffer[] = [];
  let size = 0;
  const stream = await context.dependencies.blobs.read(blob.key);
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      size += chunk.length;
      if (size >= HEADER_BYTES || chunk.includes('\r\n\r\n')) break;
    }
  } finally {
    stream.destroy();
  }
  return splitHeader(Buffer.concat(chunks)).fields;
}

interface Seal {
  instance: number;
  domain: string;
  selector: string;
  /** What the sealer said of the chain before it (RFC 8617, 4.1.3). */
  cv: string;
  /** What the sealer found (ARC-Authentication-Results). */
  found: string;
}

/** The chain, newest seal first (RFC 8617, section 4). */
function arcChain(fields: HeaderField[]): Seal[] {
  const results = new Map(
    named(fields, 'arc-authentication-results').map((body) => [
      /^\s*i=\s*(\d+)/.exec(body)?.[1] ?? '',
      body.replace(/^\s*i=\s*\d+\s*;\s*/, ''),
    ]),
  );
  return named(fields, 'arc-seal')
    .map((body) => {
      const tags = new Map(
        body
          .split(';')
          .map((part): [string, string] => [
            part.split('=')[0]?.trim() ?? '',
            part.slice(part.indexOf('=') + 1).trim(),
          ]),
      );
      return {
        instance: Number(tags.get('i')),
        domain: tags.get('d') ?? '',
        selector: tags.get('s') ?? '',
        cv: tags.get('cv') ?? '',
        found: results.get(tags.get('i') ?? '') ?? '',
      };
    })
    .sort((a, b) => b.instance - a.instance);
}

const named = (fields: HeaderField[], name: string): string[] =>
  fields.filter((field) => field.name.toLowerCase() === name).map((field) => fieldBody(field.raw));

function chainTable(chain: Seal[]): Html {
  return html`<table class="cards">
    <thead>
      <tr>
        <th>Seal</th>
        <th>Chain before it</th>
        <th>What the sealer found</th>
      </tr>
    </thead>
    <tbody>
      ${chain.map(
        (one) =>
          html`<tr>
            <td class="first">
              ${one.instance}. ${one.domain}<br /><span class="quiet">selector ${one.selector}</span>
            </td>
            <td class="state">${tag(verdictTone(one.cv), one.cv)}</td>
            <td class="mono wide">${one.found}</td>
          </tr>`,
      )}
    </tbody>
  </table>`;
}
