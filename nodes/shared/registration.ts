/**
 * How a trigger node is known to Switchyard: registered on activation, renewed while the workflow is active, removed
 * after. Whichever side was away, the next renewal mends it.
 */
import type {
  IDataObject,
  IExecuteFunctions,
  IHookFunctions,
  INodeExecutionData,
  INodeType,
  ITriggerFunctions,
  ITriggerResponse,
  IWebhookDescription,
  NodeApiError,
} from 'n8n-workflow';
import { callApi } from './api.ts';
import { isAway } from './errors.ts';
import { triggerId, workflowName, workflowPage } from './identity.ts';

/** Of one kind of trigger: the fields of the registration that its parameters give. */
export type Describe = (context: IHookFunctions | ITriggerFunctions) => IDataObject;

/** Where Switchyard calls a trigger node, which answers by itself that it has taken what came. */
export const callbackWebhook = (path: string): IWebhookDescription => ({
  name: 'default',
  httpMethod: 'POST',
  path,
  responseMode: 'onReceived',
  responseData: 'noData',
  ndvHideUrl: true,
  ndvHideMethod: true,
});

interface RegisteredTrigger {
  webhookMethods: NonNullable<INodeType['webhookMethods']>;
  trigger(this: ITriggerFunctions): Promise<ITriggerResponse>;
  execute(this: IExecuteFunctions): Promise<INodeExecutionData[][]>;
}

/** What every trigger node does alike, apart from what it makes of a callback. */
export function registeredTrigger(describe: Describe): RegisteredTrigger {
  return {
    webhookMethods: {
      default: {
        // Registering is the same whether it is there or not.
        async checkExists(this: IHookFunctions): Promise<boolean> {
          return false;
        },
        async create(this: IHookFunctions): Promise<boolean> {
          return register(this, describe);
        },
        async delete(this: IHookFunctions): Promise<boolean> {
          return unregister(this);
        },
      },
    },
    async trigger(this: ITriggerFunctions): Promise<ITriggerResponse> {
      return keepRegistered(this, describe);
    },
    /** n8n would start the trigger a second time for the run that the webhook started. */
    async execute(this: IExecuteFunctions): Promise<INodeExecutionData[][]> {
      return [[...this.getInputData()]];
    },
  };
}

/** How often the node looks whether something is to be done. */
const EVERY_15_SECONDS = '*/15 * * * * *';
/** A lease is ten minutes: two renewals may fail. ms */
const RENEW_AFTER = 180_000;
/** The other side checks that it can call back. ms */
const TIMEOUT = 20_000;

/** Kept by n8n with the workflow. */
interface Kept extends IDataObject {
  callbackUrl?: string;
}

const kept = (context: IHookFunctions | ITriggerFunctions): Kept => context.getWorkflowStaticData('node');

/**
 * Registers on activation. When Switchyard is merely away the workflow becomes active all the same, and the renewal
 * registers it as soon as it is back.
 * @throws NodeApiError what Switchyard refuses: an address that is taken, an n8n that it may not or cannot call
 */
async function register(context: IHookFunctions, describe: Describe): Promise<boolean> {
  const callbackUrl = context.getNodeWebhookUrl('default') ?? '';
  const isTest = context.getMode() === 'manual';
  try {
    await put(context, describe, callbackUrl, isTest);
  } catch (error) {
    if (isTest || !isAway(error)) throw inOneSentence(error as NodeApiError);
    context.logger.warn(`${(error as NodeApiError).message} The trigger registers as soon as it can.`);
  }
  if (!isTest) kept(context).callbackUrl = callbackUrl;
  return true;
}

/** n8n shows the message alone where an activation failed. */
function inOneSentence(error: NodeApiError): NodeApiError {
  const { fix } = (error.context.switchyard ?? {}) as { fix?: string };
  if (fix) error.message = `${error.message} ${fix}`;
  return error;
}

/** Removes on deactivation. Where Switchyard is away, it finds out by itself that nobody listens any more. */
async function unregister(context: IHookFunctions): Promise<boolean> {
  const isTest = isTestUrl(context.getNodeWebhookUrl('default') ?? '', kept(context).callbackUrl);
  if (!isTest) delete kept(context).callbackUrl;
  try {
    await callApi(context, {
      method: 'DELETE',
      path: `/v1/triggers/${encodeURIComponent(triggerId(context, isTest))}`,
      timeout: TIMEOUT,
    });
  } catch (error) {
    context.logger.warn(`The trigger could not be removed: ${(error as NodeApiError).message}`);
  }
  return true;
}

/** n8n does not say at the removal whether it was a try: its URLs have another path then. */
function isTestUrl(url: string, registered: string | undefined): boolean {
  if (registered !== undefined) return new URL(url).pathname !== new URL(registered).pathname;
  return new URL(url).pathname.includes('-test/');
}

/** Renews the registration while the workflow is active, from every start of n8n on. Never throws. */
function keepRegistered(context: ITriggerFunctions, describe: Describe): ITriggerResponse {
  let renewAt = 0;
  let reported = '';
  let isBusy = false;
  let isClosed = false;
  const renew = async (): Promise<void> => {
    const { callbackUrl } = kept(context);
    // Before the activation is through there is no URL yet.
    if (callbackUrl === undefined || isBusy || isClosed || Date.now() < renewAt) return;
    isBusy = true;
    try {
      await put(context, describe, callbackUrl, false);
      renewAt = Date.now() + RENEW_AFTER;
      reported = '';
    } catch (error) {
      const { message } = error as NodeApiError;
      if (isClosed || message === reported) return;
      reported = message;
      context.logger.warn(`The trigger is not registered: ${message}`);
      // A person must act: it is shown among the executions.
      if (!isAway(error)) context.saveFailedExecution(error as NodeApiError);
    } finally {
      isBusy = false;
    }
  };
  context.helpers.registerCron({ expression: EVERY_15_SECONDS }, () => void renew());
  void renew();
  return {
    closeFunction: async () => {
      isClosed = true;
    },
  };
}

async function put(
  context: IHookFunctions | ITriggerFunctions,
  describe: Describe,
  callbackUrl: string,
  isTest: boolean,
): Promise<void> {
  await callApi(context, {
    method: 'PUT',
    path: `/v1/triggers/${encodeURIComponent(triggerId(context, isTest))}`,
    body: {
      name: workflowName(context).slice(0, 200),
      callbackUrl,
      link: workflowPage(context),
      test: isTest,
      ...describe(context),
    },
    timeout: TIMEOUT,
  });
}
