/** What a check of `switchyard doctor` is given and what it says. */
import type { Resolver } from '../../activities/network/resolver.ts';
import { SwitchyardError, messageOf } from '../../protocols/errors.ts';
import type { Addresses } from '../../stores/configuration/addresses.ts';
import type { Configuration } from '../../stores/configuration/schema.ts';
import type { RunFile } from '../up/run-file.ts';

export interface Finding {
  /** What was looked at, in a word or two. */
  name: string;
  state: 'ok' | 'warn' | 'fail';
  /** One sentence: what is there. */
  found: string;
  /** One sentence: what to do about it; null where nothing is to be done. */
  fix: string | null;
}

export interface DoctorContext {
  configuration: Configuration;
  addresses: Addresses;
  /** What runs on this state folder now; null when nothing does. */
  running: RunFile | null;
  resolver: Resolver;
  environment: NodeJS.ProcessEnv;
}

/** Looks at one thing and changes nothing. What it throws is a finding too. */
export type Check = (context: DoctorContext) => Promise<Finding[]>;

export const ok = (name: string, found: string): Finding => ({ name, state: 'ok', found, fix: null });
export const warn = (name: string, found: string, fix: string): Finding => ({ name, state: 'warn', found, fix });
export const fail = (name: string, found: string, fix: string): Finding => ({ name, state: 'fail', found, fix });

/** An error as a finding: errors of the house bring their fix. */
export function failed(name: string, thrown: unknown, fix: string): Finding {
  return fail(name, messageOf(thrown), thrown instanceof SwitchyardError ? thrown.fix : fix);
}
