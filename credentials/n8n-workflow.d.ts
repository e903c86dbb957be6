/**
 * The few types of n8n that a credential needs. n8n-workflow itself, with some hundred packages behind it, comes with
 * the first node; n8n brings it at run time either way.
 */
declare module 'n8n-workflow' {
  export interface INodeProperties {
    displayName: string;
    name: string;
    type: 'string' | 'boolean' | 'number' | 'options';
    default: string | boolean | number;
    description?: string;
    placeholder?: string;
    required?: boolean;
    typeOptions?: { password?: boolean };
  }
  export type Icon = `file:${string}`;
  export interface IAuthenticateGeneric {
    type: 'generic';
    properties: { headers?: Record<string, string> };
  }
  export interface ICredentialTestRequest {
    request: { baseURL: string; url: string; method?: 'GET' | 'POST' };
  }
  export interface ICredentialType {
    name: string;
    displayName: string;
    documentationUrl?: string;
    icon?: Icon | { light: Icon; dark: Icon };
    properties: INodeProperties[];
    authenticate?: IAuthenticateGeneric;
    test?: ICredentialTestRequest;
  }
}
