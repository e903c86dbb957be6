/** One mail server under the bench. */
import type { World } from './world.ts';

export interface Candidate {
  name: string;
  /** What it does with a message, for the table. */
  does: string;
  /** @throws where it is not installed, with the sentence that says so */
  start(world: World, folder: string): Promise<Running>;
}

export interface Running {
  port: number;
  /** Process ids by part; each stands for itself and all below it. */
  parts: Record<string, number[]>;
  close(): Promise<void>;
}
