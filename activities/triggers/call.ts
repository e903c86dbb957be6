/**
 * HTTP to callbacks: allowed origins alone, connected to the address that was checked and no other, no redirects,
 * answers under a limit.
 */
import { lookup } from 'node:dns/promises';
import { request as requestHttp, type ClientRequest, type RequestOptions } from 'node:http';
import { request as requestHttps } from 'node:https';
import { isIP, isIPv6 } from 'node:net';
import { messageOf, PermanentError, SwitchyardError, TemporaryError } from '../../protocols/errors.ts';
import type { TokenRecords } from '../../stores/records/port.ts';
import { isReachable } from '../network/addresses.ts';
import type { Resolver } from '../network/resolver.ts';
import type { CallbackAnswer, Callbacks } from './callbacks.ts';
import { signCallback } from './sign.ts';

export interface CallbackOptions {
  resolver: Resolver;
  tokens: Pick<TokenRecords, 'callbackKey'>;
  /** Allowed origins, in the form that URL gives them. */
  origins: readonly string[];
  /** `outbound.allow` */
  allow: readonly string[];
  /** Public URL of the API. */
  api: string;
}

/** ms for one address to take the connection. */
const CONNECT_TIMEOUT = 5_000;
/** A verdict is a few hundred bytes; a page of an error may be some thousand. */
const ANSWER_BYTES = 65_536;
/** ms for the check at a registration: the other side waits for it. */
const CHECK_TIMEOUT = 5_000;

export function createCallbacks(options: CallbackOptions): Callbacks {
  return {
    api: options.api,
    async post({ callbackUrl, tokenId }, { id, body }, signal) {
      const target = await targetOf(callbackUrl, options);
      const key = await options.tokens.callbackKey(tokenId);
      if (!key) throw keyMissing();
      const text = JSON.stringify(body);
      return exchange(
        target,
        {
          method: 'POST',
          path: target.url.pathname + target.url.search,
          headers: { 'content-type': 'application/json', ...signCallback(id, text, key, Date.now()) },
        },
        text,
        signal,
      );
    },
    async check(callbackUrl, signal) {
      try {
        const target = await targetOf(callbackUrl, options);
        const deadline = AbortSignal.any([signal, AbortSignal.timeout(CHECK_TIMEOUT)]);
        await exchange(target, { method: 'HEAD', path: '/' }, '', deadline);
      } catch (thrown) {
        signal.throwIfAborted();
        if (thrown instanceof SwitchyardError && thrown.code === 'trigger.origin_not_allowed') throw thrown;
        // Too long an answer is an answer.
        if (thrown instanceof SwitchyardError && thrown.code === 'trigger.answer_too_large') return;
        throw callbackUnreachable(callbackUrl, thrown);
      }
    },
  };
}

interface Target {
  url: URL;
  /** Checked. */
  addresses: string[];
}

async function targetOf(callbackUrl: string, { resolver, origins, allow }: CallbackOptions): Promise<Target> {
  const url = URL.parse(callbackUrl);
  if (!url || !origins.includes(url.origin)) throw originNotAllowed(url?.origin ?? callbackUrl, origins);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  // The operator named the host in the list of origins: its addresses may be private ones.
  const named = origins.map((origin) => new URL(origin).hostname.replace(/^\[|\]$/g, ''));
  const addresses = (await addressesOf(host, resolver)).filter((one) => isReachable(one, host, [...allow, ...named]));
  if (addresses.length === 0)
    throw new TemporaryError({
      code: 'trigger.unreachable',
      message: `${host} has no address that may be connected to.`,
      fix: 'See that the name is right and that DNS knows it.',
      details: { host, sent: false },
    });
  return { url, addresses };
}

async function addressesOf(host: string, resolver: Resolver): Promise<string[]> {
  if (isIP(host) !== 0) return [host];
  // RFC 6761, 6.3: these names are this machine's, whatever DNS says.
  if (host === 'localhost' || host.endsWith('.localhost')) return ['127.0.0.1', '::1'];
  const found = await resolver.addresses(host).catch((thrown: unknown) => {
    if (thrown instanceof SwitchyardError) return [];
    throw thrown;
  });
  if (found.length > 0) return found;
  // A name of the machine's own, as in /etc/hosts.
  return (await lookup(host, { all: true }).catch(() => [])).map(({ address }) => address);
}

async function exchange(
  { url, addresses }: Target,
  request: RequestOptions,
  body: string,
  signal: AbortSignal,
): Promise<CallbackAnswer> {
  let trouble: Trouble | undefined;
  for (const address of addresses) {
    try {
      return await exchangeWith(address, url, request, body, signal);
    } catch (thrown) {
      signal.throwIfAborted();
      if (!(thrown instanceof Trouble)) throw thrown;
      trouble = thrown;
      // The other address may be the same receiver, which has read the message already.
      if (thrown.sent) break;
    }
  }
  throw new TemporaryError({
    code: 'trigger.unreachable',
    message: `${url.origin} gave no answer: ${trouble?.message}`,
    fix: 'See that n8n runs and can be reached from here; it is tried again.',
    details: { origin: url.origin, sent: trouble?.sent ?? false },
    cause: trouble,
  });
}

/** No answer. */
class Trouble extends Error {
  /** The request went out, so that it may have been read. */
  readonly sent: boolean;
  constructor(message: string, sent: boolean) {
    super(message);
    this.sent = sent;
  }
}

function exchangeWith(
  address: string,
  url: URL,
  request: RequestOptions,
  body: string,
  signal: AbortSignal,
): Promise<CallbackAnswer> {
  const options: RequestOptions & { servername?: string } = {
    ...request,
    host: address,
    family: isIPv6(address) ? 6 : 4,
    port: url.port || (url.protocol === 'https:' ? 443 : 80),
    headers: {
      host: url.host,
      'user-agent': 'Switchyard',
      'content-length': Buffer.byteLength(body),
      ...(request.headers as Record<string, string>),
    },
    // A connection of its own each: one that was kept may be closed by the other side in the same moment.
    agent: false,
    signal,
  };
  const outgoing =
    url.protocol === 'https:'
      ? requestHttps({ ...options, ...(isIP(url.hostname) === 0 ? { servername: url.hostname } : {}) })
      : requestHttp(options);
  outgoing.end(body);
  return answerOf(outgoing, url);
}

function answerOf(outgoing: ClientRequest, url: URL): Promise<CallbackAnswer> {
  return new Promise((resolve, reject) => {
    let connected = false;
    const connecting = setTimeout(
      () => outgoing.destroy(new Error(`no connection within ${CONNECT_TIMEOUT / 1_000} s`)),
      CONNECT_TIMEOUT,
    );
    outgoing.on('socket', (socket) =>
      socket.once(url.protocol === 'https:' ? 'secureConnect' : 'connect', () => {
        connected = true;
        clearTimeout(connecting);
      }),
    );
    outgoing.on('close', () => clearTimeout(connecting));
    outgoing.on('error', (error) => reject(new Trouble(messageOf(error), connected)));
    outgoing.on('response', (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on('error', (error) => reject(new Trouble(messageOf(error), true)));
      response.on('close', () => reject(new Trouble('the answer was cut', true)));
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size <= ANSWER_BYTES) return chunks.push(chunk);
        reject(answerTooLarge(url));
        return outgoing.destroy();
      });
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: Object.fromEntries(
            Object.entries(response.headers).map(([name, value]) => [name, Array.isArray(value) ? value[0] : value]),
          ),
          body: Buffer.concat(chunks).toString('utf8'),
        }),
      );
    });
  });
}

const answerTooLarge = (url: URL): TemporaryError =>
  new TemporaryError({
    code: 'trigger.answer_too_large',
    message: `${url.origin} answered with more than ${ANSWER_BYTES} bytes.`,
    fix: 'Answer with the Mail Verdict node, which sends a few words.',
    details: { sent: true },
  });

const keyMissing = (): TemporaryError =>
  new TemporaryError({
    code: 'trigger.key_missing',
    message: 'The token that this trigger was registered with is no more, so nothing can be signed for it.',
    fix: 'Put a token that is there into the n8n credential; the workflow registers anew by itself.',
    details: { sent: false },
  });

function originNotAllowed(origin: string, origins: readonly string[]): PermanentError {
  return new PermanentError({
    code: 'trigger.origin_not_allowed',
    message: `Callbacks to ${origin.slice(0, 200)} are not allowed; allowed are ${origins.join(', ') || 'none'}.`,
    fix: `Add it to switchyard.yaml and start again:  triggers: {callbackOrigins: [${[...origins, origin.slice(0, 200)].join(', ')}]}`,
    details: { origin: origin.slice(0, 200) },
  });
}

function callbackUnreachable(callbackUrl: string, thrown: unknown): PermanentError {
  const origin = URL.parse(callbackUrl)?.origin ?? callbackUrl;
  return new PermanentError({
    code: 'trigger.callback_unreachable',
    message: `Switchyard cannot reach n8n at ${origin}: ${messageOf(thrown)}`,
    fix: 'Set WEBHOOK_URL (N8N_WEBHOOK_URL) of n8n to an address that the machine of Switchyard can connect to, and list its origin under triggers.callbackOrigins in switchyard.yaml.',
    details: { origin },
    cause: thrown,
  });
}
