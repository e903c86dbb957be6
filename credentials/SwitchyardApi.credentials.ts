/** The one credential of the pack: where Switchyard is, and a token that it made. */
import type { IAuthenticateGeneric, ICredentialTestRequest, ICredentialType, INodeProperties } from 'n8n-workflow';

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

  authenticate: IAuthenticateGeneric = {
    type: 'generic',
    properties: { headers: { Authorization: '=Bearer {{$credentials.token}}' } },
  };

  test: ICredentialTestRequest = {
    request: { baseURL: '={{$credentials.baseUrl.replace(/\\/+$/, "")}}', url: '/v1/whoami' },
  };
}
