/** The receiving end of callbacks: only what Switchyard signed gets further. */
import type { IDataObject, IWebhookFunctions } from 'n8n-workflow';
import { CREDENTIAL } from './api.ts';
import { isSigned } from './signature.ts';

/** What n8n's web server keeps of a request beside the parsed body. */
interface RawRequest {
  rawBody?: Uint8Array;
  readRawBody?: () => Promise<void>;
  headers: Record<string, unknown>;
}

/**
 * The message of a callback. Answers by itself what is not signed (401) and a ping, and gives undefined then.
 */
export async function receiveCallback<Message>(context: IWebhookFunctions): Promise<Message | undefined> {
  const request = context.getRequestObject() as unknown as RawRequest;
  if (request.rawBody === undefined) await request.readRawBody?.();
  const body = request.rawBody ?? new Uint8Array();
  const { token } = await context.getCredentials<{ token: string }>(CREDENTIAL);
  if (!isSigned({ headers: request.headers, body, token: token.trim(), now: Date.now() })) {
    answer(context, 401, {
      error: 'This call is not signed by Switchyard with the token of the credential, or it is too old.',
    });
    return undefined;
  }
  const message = JSON.parse(Buffer.from(body).toString('utf8')) as IDataObject;
  if (message.type === 'ping') {
    answer(context, 200, { pong: true });
    return undefined;
  }
  return message as Message;
}

function answer(context: IWebhookFunctions, status: number, body: IDataObject): void {
  context.getResponseObject().status(status).json(body);
}
