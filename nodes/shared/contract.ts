/** The HTTP contract as far as the nodes know it: what Switchyard answers, and what it posts to a callback. */
import type { IDataObject } from 'n8n-workflow';

/** Reference to a stored message or file. */
export interface BlobRef extends IDataObject {
  key: string;
  /** Hex. */
  sha256: string;
  /** Bytes. */
  size: number;
}

/** RFC 9457 problem details. */
export interface Problem {
  status: number;
  code: string;
  detail: string;
  fix: string;
  /** What else is known of it, such as the reply of a mail server. */
  [fact: string]: IDataObject[string];
}

export interface Run extends IDataObject {
  id: string;
  workflow: string;
  status: string;
  /** Page of the run in the Temporal UI, where somebody knows it. */
  url: string | null;
}

/** What a callback gets when all runs that an execution waits for are closed. */
export interface ResumeMessage {
  type: 'resume';
  runs: ClosedRun[];
}

export interface ClosedRun {
  id: string;
  status: string;
  result: unknown;
  /** The result was too large to send along. */
  truncated?: boolean;
  error: { code: string; message: string; fix?: string } | null;
  runUrl: string | null;
}

/** Why a step or a run did not do what it was asked for. */
export interface Trouble {
  code: string;
  message: string;
  fix: string;
  /** HTTP status; undefined where nobody answered. */
  status?: number;
  /** What else is known of it; the error output has it beside the code. */
  facts?: IDataObject;
}
