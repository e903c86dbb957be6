/** The triggers' contract: what is told to whom. */

export const NOTIFY_TRIGGER = 'notifyTrigger';

export interface NotifyTriggerInput {
  /** Id of the registration. */
  trigger: string;
  /** What people call it. */
  name: string;
  /** Page of the n8n workflow or execution. */
  link: string | null;
  /** What is told, in words: `run mail/1 failed`. */
  about: string;
  message: { id: string; body: { type: string } & Record<string, unknown> };
  /** ms after which it is given up. */
  giveUpAfter: number;
}

export interface NotifyTriggerResult {
  /** `gone`: nobody is registered any more. */
  state: 'taken' | 'gone';
}

/**
 * Workflow id of one message to one trigger: whoever finds that there is something to tell starts the same run.
 * @param subject what it is about: a run id, or what names the wait of an execution
 */
export function notifyTriggerId(trigger: string, subject: string): string {
  return `notify/${trigger}/${subject}`;
}
