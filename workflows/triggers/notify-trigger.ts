/** `notifyTrigger`: tells an n8n workflow that a run ended, or an execution that it may go on; again and again until it is taken. */
import { setCurrentDetails } from '@temporalio/workflow';
import { notifications } from '../activities.ts';
import { inline, link } from '../../protocols/markdown.ts';
import type { NotifyTriggerInput, NotifyTriggerResult } from './contract.ts';

export async function notifyTrigger(input: NotifyTriggerInput): Promise<NotifyTriggerResult> {
  const receiver = input.link ? link(input.name, input.link) : inline(input.name);
  setCurrentDetails(`**Telling** ${receiver}: ${inline(input.about)}.`);
  try {
    const result = await notifications(input.giveUpAfter)['trigger.notify'].executeWithOptions(
      { summary: `to ${input.name}`.slice(0, 190) },
      [{ trigger: input.trigger, message: input.message }],
    );
    setCurrentDetails(
      result.state === 'taken'
        ? `**Taken** by ${receiver}: ${inline(input.about)}.`
        : `**Nobody to tell**: ${receiver} is not registered any more.`,
    );
    return result;
  } catch (thrown) {
    setCurrentDetails(`**Given up**: ${receiver} did not take it in time: ${inline(input.about)}.`);
    throw thrown;
  }
}
