/** Verification and signing of whole messages. CPU-bound and fed by strangers, hence in worker threads under a deadline. */
import type { Authentication } from '../../../stores/records/port.ts';

export interface VerifyRequest {
  /** Key of the message blob. */
  key: string;
  sourceAddress: string;
  helo: string;
  sender: string;
}

/** Verification, and the fields that people know a message by. */
export interface Verified {
  authentication: Authentication;
  headerFrom: string | null;
  headerMessageId: string | null;
  subject: string | null;
  /** Whether a DNS error hides a result that might have passed. */
  temporary: boolean;
  /** Set when DMARC cannot be evaluated: no author domain, or several (RFC 9989, 5.3.1). */
  authorProblem: string | null;
  /** Recipients for whom the message was taken here before, in the form of `normalizeAddress`. */
  takenBefore: string[];
}

export interface SignRequest {
  key: string;
  /** Header fields to put on top before signing, each ending in CRLF. */
  prepend: string;
  dkim: { domain: string; selector: string; privateKey: string } | null;
  arc: {
    domain: string;
    selector: string;
    privateKey: string;
    authenticationResults: string;
    cv: 'none' | 'pass' | 'fail';
  } | null;
}

export interface Signed {
  /** The new header fields in order, top first, `prepend` included; each ends in CRLF. Put them before the blob. */
  header: string;
  /** The ARC instance that was added, 0 for none. */
  instance: number;
}

export interface Authenticator {
  /**
   * @throws TemporaryError `mail.verification_timeout` when the deadline passes.
   * @throws PermanentError `mail.malformed`.
   */
  verify(request: VerifyRequest, signal?: AbortSignal): Promise<Verified>;
  /**
   * @throws PermanentError `arc.too_many_instances`, `arc.chain_broken`, `key.unusable`.
   * @throws TemporaryError `mail.verification_timeout`.
   */
  sign(request: SignRequest, signal?: AbortSignal): Promise<Signed>;
  close(): Promise<void>;
}
