/** Verification, signing and reading of whole messages. CPU-bound and fed by strangers, hence in worker threads under a deadline. */
import type { SwitchyardError } from '../../../protocols/errors.ts';
import type { Authentication } from '../../../stores/records/port.ts';
import type { ReadMessage } from '../read-message.ts';

/** The message: a blob, or its bytes where they are in memory. */
interface Message {
  /** Key of the message blob. */
  key: string;
  bytes?: Uint8Array;
}

export type ReadRequest = Message;

export interface VerifyRequest extends Message {
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

export interface SigningIdentity {
  domain: string;
  selector: string;
  /** PKCS#8 PEM. */
  privateKey: string;
}

export interface SignRequest extends Message {
  /** Header fields to put on top before signing, each ending in CRLF. */
  prepend: string;
  dkim: SigningIdentity | null;
  arc: (SigningIdentity & { authenticationResults: string; cv: 'none' | 'pass' }) | null;
}

export interface Signed {
  /** The new header fields in order, top first, `prepend` included; each ends in CRLF. Put them before the blob. */
  header: string;
  /** The ARC instance that was added, 0 for none. */
  instance: number;
}

export interface ForwardRequest extends VerifyRequest {
  /** Every recipient is an SRS address of ours: the policy is another one. */
  isSrsReturn: boolean;
  /** Our Received field, for the top. */
  received: string;
  signer: SigningIdentity;
}

export interface VerifiedForward {
  verified: Verified;
  /** What goes on top; null where the policy does not accept the message. */
  signed: Signed | SwitchyardError | null;
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
  /** `verify`, and `sign` for a message that the policy accepts, with one way to the thread. Throws what `verify` throws. */
  forward(request: ForwardRequest): Promise<VerifiedForward>;
  /**
   * The message as people read it.
   * @throws PermanentError `mail.malformed`, `mail.too_complex`
   * @throws TemporaryError `mail.verification_timeout`
   */
  read(request: ReadRequest, signal?: AbortSignal): Promise<ReadMessage>;
  close(): Promise<void>;
}
