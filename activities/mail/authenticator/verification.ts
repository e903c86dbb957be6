/** SPF, DKIM, DMARC and ARC of one message by mailauth, strictly by the RFCs. */
import type { Readable } from 'node:stream';
import mailauth from 'mailauth';
import type { AuthenticateResult } from 'mailauth';
import type { Resolver } from '../../network/resolver.ts';
import type { Verified, VerifyRequest } from './port.ts';
import { readVerdicts } from './verdicts.ts';

/** @param ours our name, which opens Authentication-Results, and where the records are looked up */
export async function verifyMessage(
  message: Buffer | Readable,
  { sourceAddress, helo, sender }: Omit<VerifyRequest, 'key' | 'bytes'>,
  { hostname, resolver }: { hostname: string; resolver: Pick<Resolver, 'resolve'> },
): Promise<Verified> {
  const result: AuthenticateResult = await mailauth.authenticate(message, {
    ip: sourceAddress,
    helo,
    sender,
    mta: hostname,
    resolver: (name, type) => resolver.resolve(name, type),
    disableBimi: true,
    strict: true,
  });
  return readVerdicts(result, hostname);
}
