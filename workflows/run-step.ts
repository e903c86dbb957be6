/** Runs any one step durably: what the nodes' switch **Durable** and `POST /v1/runs` use. */
import { proxyActivities, setCurrentDetails } from '@temporalio/workflow';
import { CLASS_OPTIONS } from './activities.ts';
import { fromLine } from './markdown.ts';
import type { RunStepInput } from './contract.ts';

export async function runStep({ step, input, takes = 'network', origin }: RunStepInput): Promise<unknown> {
  setCurrentDetails(`**Running** ${step}${fromLine(origin)}.`);
  const activities = proxyActivities<Record<string, (input: unknown) => Promise<unknown>>>(CLASS_OPTIONS[takes]);
  const activity = activities[step];
  if (!activity) throw new Error(`no activity ${step}`);
  const result = await activity.executeWithOptions({ summary: step }, [input]);
  setCurrentDetails(`**Done.** ${step} finished${fromLine(origin)}.`);
  return result;
}
