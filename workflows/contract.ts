/** What is common to the contracts of all domains. */

/**
 * Search attributes of every run, all of type Keyword. SQL visibility has ten slots of it and three of each other
 * type, so this set is small, shared and fixed.
 */
export const SEARCH_ATTRIBUTES = [
  'SwitchyardSender',
  'SwitchyardRecipient',
  'SwitchyardDomain',
  'SwitchyardOutcome',
  'SwitchyardStep',
] as const;

/** Runs any one step durably. */
export const RUN_STEP = 'runStep';

/** Who started a run: an execution of an n8n workflow. */
export interface Origin {
  /** Name of the workflow. */
  name: string;
  /** Page of the execution. */
  url: string;
}

export interface RunStepInput {
  /** Name of the step, such as `mail.sealArc`. */
  step: string;
  input: unknown;
  /** Time-out and retry class of the step, which whoever starts the run knows; `network` when not given. */
  takes?: 'cpu' | 'network' | 'delivery' | 'long';
  origin?: Origin;
}
