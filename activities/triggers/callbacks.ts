/** Calls to those who registered: the port. The address rules and the signature are applied behind it and only there. */
import type { Trigger } from '../../stores/records/port.ts';

export interface CallbackAnswer {
  status: number;
  /** Names in lower case. */
  headers: Record<string, string | undefined>;
  body: string;
}

export interface CallbackMessage {
  /** The same for every repeat of one message. */
  id: string;
  /** Plain JSON; `type` says what it is. */
  body: { type: string } & Record<string, unknown>;
}

export interface Callbacks {
  /** Where the API is, for the receiver to come back to. */
  api: string;
  /**
   * Posts one signed message to a trigger and reads the whole answer, whatever its status.
   * @throws TemporaryError `trigger.unreachable` (no answer; `sent` in the details says whether it may have been read),
   *   `trigger.answer_too_large`, `trigger.key_missing`, `dns.unavailable`
   * @throws PermanentError `trigger.origin_not_allowed`, `network.address_refused`; the signal's reason when it aborts
   */
  post(
    trigger: Pick<Trigger, 'callbackUrl' | 'tokenId'>,
    message: CallbackMessage,
    signal: AbortSignal,
  ): Promise<CallbackAnswer>;
  /**
   * Whether anything answers HTTP at the callback's origin; nothing is called.
   * @throws PermanentError `trigger.origin_not_allowed`, `trigger.callback_unreachable`
   */
  check(callbackUrl: string, signal: AbortSignal): Promise<void>;
}
