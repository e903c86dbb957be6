/** The one credential of the pack: where Switchyard is, and a token that it made. A node tests it; see nodes/shared/access.ts. */
import type { IAuthenticate, ICredentialType, INodeProperties } from 'n8n-workflow';

export class SwitchyardApi implements ICredentialType {
  name = 'switchyardApi';

  displayName = 'Switchyard API';

  documentationUrl = 'https://www.npmjs.com/package/switchyard-server';

  icon = { light: 'file:switchyard.svg', dark: 'file:switchyard.dark.svg' } as const;

  properties: INodeProperties[] = [
    {
      displayName: 'Base URL',
      name: 'baseUrl',
      type: 'string',
      default: 'http://127.0.0.1:8080',
      placeholder: 'http://127.0.0.1:8080',
      required: true,
      description: 'The address that `switchyard up` prints beside "api"',
    },
    {
      displayName: 'Token',
      name: 'token',
      type: 'string',
      typeOptions: { password: true },
      default: '',
      required: true,
      description: 'The first one is in .switchyard/token; `switchyard tokens` makes more',
    },
  ];

  /** A function, since an expression is evaluated only while a workflow runs, and triggers call at all times. */
  authenticate: IAuthenticate = async (credentials, request) => ({
    ...request,
    baseURL: String(credentials.baseUrl).trim().replace(/\/+$/, ''),
    headers: { ...request.headers, Authorization: `Bearer ${String(credentials.token).trim()}` },
  });
}
