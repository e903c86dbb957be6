import { PermanentError, SwitchyardError } from '../../protocols/errors.ts';

/** Code of the PermanentError that `act` throws; anything else thrown is thrown on, nothing thrown is 'nothing'. */
export function permanentCode(act: () => unknown): string {
  try {
    act();
  } catch (thrown) {
    if (thrown instanceof PermanentError) return thrown.code;
    throw thrown;
  }
  return 'nothing';
}

/** The house error that `act` throws. */
export function errorOf(act: () => unknown): SwitchyardError {
  try {
    act();
  } catch (thrown) {
    if (thrown instanceof SwitchyardError) return thrown;
    throw thrown;
  }
  throw new Error('nothing was thrown');
}
