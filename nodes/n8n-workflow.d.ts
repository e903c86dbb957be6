/**
 * The part of n8n that the nodes rely on, in types. n8n brings the package itself at run time; it is no dependency
 * here, for it would bring some hundred others and a zod that contradicts ours. `npm run lint` compiles the
 * nodes against the real types.
 */
declare module 'n8n-workflow' {
  // Values

  export type GenericValue = string | object | number | boolean | undefined | null;
  export interface IDataObject {
    [key: string]: GenericValue | IDataObject | GenericValue[] | IDataObject[];
  }
  export type JsonObject = { [key: string]: unknown };

  export interface IBinaryData {
    /** Base64, or where the bytes lie when there is an id. */
    data: string;
    mimeType: string;
    fileName?: string;
    id?: string;
    [key: string]: string | number | undefined;
  }
  export interface INodeExecutionData {
    json: IDataObject;
    binary?: Record<string, IBinaryData>;
    pairedItem?: { item: number; input?: number } | { item: number; input?: number }[] | number;
    error?: NodeApiError | NodeOperationError;
  }

  export const NodeConnectionTypes: { readonly Main: 'main' };
  export const WAIT_INDEFINITELY: Date;
  export function sleep(milliseconds: number): Promise<void>;

  // Errors

  interface ErrorOptions {
    message?: string;
    description?: string;
    itemIndex?: number;
    httpCode?: string;
  }
  class NodeError extends Error {
    description: string | null | undefined;
    context: IDataObject;
  }
  export class NodeApiError extends NodeError {
    constructor(node: INode, response: JsonObject, options?: ErrorOptions);
    httpCode: string | null;
  }
  export class NodeOperationError extends NodeError {
    constructor(node: INode, error: Error | string, options?: ErrorOptions);
  }

  // Descriptions

  export type Icon = `file:${string}.svg` | { light: `file:${string}.svg`; dark: `file:${string}.svg` };
  export interface INodePropertyOptions {
    name: string;
    value: string | number | boolean;
    action?: string;
    description?: string;
  }
  export interface INodePropertyCollection {
    displayName: string;
    name: string;
    values: INodeProperties[];
  }
  export interface INodeProperties {
    displayName: string;
    name: string;
    type:
      | 'boolean'
      | 'collection'
      | 'fixedCollection'
      | 'json'
      | 'multiOptions'
      | 'notice'
      | 'number'
      | 'options'
      | 'resourceMapper'
      | 'string';
    default: string | number | boolean | string[] | IDataObject;
    description?: string;
    hint?: string;
    placeholder?: string;
    required?: boolean;
    noDataExpression?: boolean;
    displayOptions?: { show?: Record<string, unknown[]>; hide?: Record<string, unknown[]> };
    options?: (INodePropertyOptions | INodeProperties | INodePropertyCollection)[];
    typeOptions?: {
      password?: boolean;
      rows?: number;
      editor?: 'htmlEditor';
      minValue?: number;
      maxValue?: number;
      multipleValues?: boolean;
      multipleValueButtonText?: string;
      loadOptionsMethod?: string;
      loadOptionsDependsOn?: string[];
      resourceMapper?: {
        resourceMapperMethod: string;
        mode: 'add';
        valuesLabel?: string;
        fieldWords?: { singular: string; plural: string };
        addAllFields?: boolean;
        multiKeyMatch?: boolean;
        supportAutoMap?: boolean;
        noFieldsError?: string;
      };
    };
  }
  export interface IWebhookDescription {
    name: 'default';
    httpMethod: 'POST';
    path: string;
    responseMode?: string;
    responseData?: string;
    responseCode?: string;
    restartWebhook?: boolean;
    isFullPath?: boolean;
    ndvHideUrl?: boolean;
    ndvHideMethod?: boolean;
  }
  export interface INodeTypeDescription {
    displayName: string;
    name: string;
    icon: Icon;
    group: ('trigger' | 'transform' | 'output')[];
    version: number;
    subtitle: string;
    description: string;
    eventTriggerDescription?: string;
    activationMessage?: string;
    defaults: { name: string };
    usableAsTool?: true;
    inputs: 'main'[];
    outputs: 'main'[];
    credentials?: { name: string; required?: boolean; testedBy?: string }[];
    webhooks?: IWebhookDescription[];
    triggerPanel?: {
      header?: string;
      executionsHelp?: { active: string; inactive: string };
      activationHint?: string;
    };
    properties: INodeProperties[];
  }
  export interface INodeType {
    description: INodeTypeDescription;
    methods?: {
      credentialTest?: Record<
        string,
        (this: ICredentialTestFunctions, credential: ICredentialsDecrypted) => Promise<INodeCredentialTestResult>
      >;
      loadOptions?: Record<string, (this: ILoadOptionsFunctions) => Promise<INodePropertyOptions[]>>;
      resourceMapping?: Record<string, (this: ILoadOptionsFunctions) => Promise<ResourceMapperFields>>;
    };
    webhookMethods?: {
      default: Record<'checkExists' | 'create' | 'delete', (this: IHookFunctions) => Promise<boolean>>;
    };
    execute?(this: IExecuteFunctions): Promise<INodeExecutionData[][]>;
    trigger?(this: ITriggerFunctions): Promise<ITriggerResponse | undefined>;
    webhook?(this: IWebhookFunctions): Promise<IWebhookResponseData>;
  }
  export interface ITriggerResponse {
    closeFunction?: () => Promise<void>;
  }
  export interface IWebhookResponseData {
    workflowData?: INodeExecutionData[][];
    noWebhookResponse?: boolean;
  }

  export type FieldType = 'string' | 'number' | 'boolean' | 'dateTime' | 'array' | 'object' | 'options';
  export interface ResourceMapperField {
    id: string;
    displayName: string;
    type?: FieldType;
    required: boolean;
    defaultMatch: boolean;
    canBeUsedToMatch?: boolean;
    display: boolean;
    options?: INodePropertyOptions[];
    defaultValue?: string | number | boolean | null;
  }
  export interface ResourceMapperFields {
    fields: ResourceMapperField[];
    emptyFieldsNotice?: string;
  }
  export interface ResourceMapperValue {
    mappingMode: string;
    value: { [key: string]: string | number | boolean | null } | null;
    schema: ResourceMapperField[];
  }

  // Credentials

  export interface ICredentialDataDecryptedObject {
    [key: string]: string | number | boolean | string[] | IDataObject | undefined;
  }
  export interface ICredentialsDecrypted {
    data?: ICredentialDataDecryptedObject;
  }
  export interface INodeCredentialTestResult {
    status: 'OK' | 'Error';
    message: string;
  }
  export type ICredentialTestFunctions = object;
  export type IAuthenticate = (
    credentials: ICredentialDataDecryptedObject,
    request: IHttpRequestOptions,
  ) => Promise<IHttpRequestOptions>;
  export interface ICredentialType {
    name: string;
    displayName: string;
    documentationUrl?: string;
    icon?: Icon;
    properties: INodeProperties[];
    authenticate?: IAuthenticate;
  }

  // What a node is called with

  export interface INode {
    id: string;
    name: string;
    type: string;
    onError?: 'continueErrorOutput' | 'continueRegularOutput' | 'stopWorkflow';
    continueOnFail?: boolean;
  }

  export type IHttpRequestMethods = 'GET' | 'POST' | 'PUT' | 'DELETE';
  export interface IHttpRequestOptions {
    method?: IHttpRequestMethods;
    url: string;
    baseURL?: string;
    qs?: IDataObject;
    body?: GenericValue | GenericValue[];
    headers?: IDataObject;
    timeout?: number;
    encoding?: 'stream';
    json?: boolean;
    disableFollowRedirect?: boolean;
    ignoreHttpStatusErrors?: boolean;
    returnFullResponse?: boolean;
  }
  interface RequestHelpers {
    httpRequestWithAuthentication(
      this: IAllExecuteFunctions | ILoadOptionsFunctions,
      credential: string,
      options: IHttpRequestOptions,
    ): Promise<unknown>;
  }
  interface BinaryHelpers {
    prepareBinaryData(data: Buffer | NodeJS.ReadableStream, fileName?: string, mimeType?: string): Promise<IBinaryData>;
    getBinaryStream(id: string): Promise<NodeJS.ReadableStream>;
  }
  interface Common {
    logger: { warn(message: string): void };
    getCredentials<Data extends object = ICredentialDataDecryptedObject>(type: string): Promise<Data>;
    getNode(): INode;
    getWorkflow(): { id?: string; name?: string };
    getInstanceId(): string;
    getInstanceBaseUrl(): string;
    getMode(): string;
    getWorkflowStaticData(of: 'node'): IDataObject;
    getExecutionId(): string;
    getParentNodes(
      name: string,
      options?: { includeNodeParameters?: boolean },
    ): { name: string; type: string; parameters?: Record<string, unknown> }[];
  }
  export interface IExecuteFunctions extends Common {
    helpers: RequestHelpers & BinaryHelpers & { assertBinaryData(itemIndex: number, property: string): IBinaryData };
    getInputData(): INodeExecutionData[];
    getNodeParameter(name: string, itemIndex: number, fallback?: unknown): unknown;
    evaluateExpression(expression: string, itemIndex: number): unknown;
    getContext(of: 'node' | 'flow'): Record<string, unknown>;
    continueOnFail(): boolean;
    isToolExecution(): boolean;
    putExecutionToWait(until: Date): Promise<void>;
    sendResponse(response: { statusCode: number; headers: Record<string, string>; body: IDataObject }): Promise<void>;
    addExecutionHints(hint: { message: string; type: 'info' | 'warning'; location: 'outputPane' }): void;
  }
  export interface IHookFunctions extends Common {
    helpers: RequestHelpers;
    getNodeParameter(name: string, fallback?: unknown): unknown;
    getNodeWebhookUrl(name: 'default'): string | undefined;
  }
  export interface ITriggerFunctions extends Common {
    helpers: RequestHelpers & { registerCron(cron: { expression: CronExpression }, onTick: () => void): void };
    getNodeParameter(name: string, fallback?: unknown): unknown;
    saveFailedExecution(error: NodeApiError): void;
  }
  export type CronExpression = `${string} ${string} ${string} ${string} ${string} ${string}`;
  export interface IWebhookFunctions extends Common {
    helpers: RequestHelpers & BinaryHelpers;
    getNodeParameter(name: string, fallback?: unknown): unknown;
    evaluateExpression(expression: string, itemIndex?: number): unknown;
    getRequestObject(): unknown;
    getResponseObject(): { status(code: number): { json(body: IDataObject): unknown } };
  }
  export interface ILoadOptionsFunctions {
    helpers: RequestHelpers;
    getCredentials<Data extends object = ICredentialDataDecryptedObject>(type: string): Promise<Data>;
    getNode(): INode;
    getCurrentNodeParameter(name: string): unknown;
  }
  export type IAllExecuteFunctions = IExecuteFunctions | IHookFunctions | ITriggerFunctions | IWebhookFunctions;
}
