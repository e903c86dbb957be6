/**
 * How long a session waits for its own delivery: `sessionWait` for the way there, and `finalDotWait` more while the
 * destination has the whole message and has not answered. To give up before the final dot costs nothing; after it, it
 * means to send the message twice.
 */
import type { Configuration } from '../../stores/configuration/schema.ts';
import { finalDotWait } from '../mail/direct-record.ts';

export interface DeliveryWait {
  /** Aborts when the session has waited long enough. */
  signal: AbortSignal;
  /** Is told each stage of the attempt (`Transmission.onStage`). Another host after the dot is on its way there again. */
  stage(name: string): void;
  end(): void;
}

/**
 * Begins now.
 * @param ending aborts when the process is about to end, and can wait for nobody
 */
export function startDeliveryWait(configuration: Configuration, ending: AbortSignal): DeliveryWait {
  const { sessionWait } = configuration.mail;
  const began = Date.now();
  const patience = new AbortController();
  const giveUp = (): void => patience.abort();
  let atDot = false;
  let timer = setTimeout(giveUp, sessionWait);
  return {
    signal: AbortSignal.any([patience.signal, ending]),
    stage(name) {
      if (atDot === (name === FINAL_DOT)) return;
      atDot = !atDot;
      clearTimeout(timer);
      const over = began + sessionWait + (atDot ? finalDotWait(configuration) : 0);
      timer = setTimeout(giveUp, Math.max(0, over - Date.now()));
    },
    end: () => clearTimeout(timer),
  };
}

const FINAL_DOT = 'final dot';
