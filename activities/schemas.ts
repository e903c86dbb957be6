/** Schemas that several steps share. They only grow: a run started by an older build must stay readable. */
import { z } from 'zod';

/** Reference to stored bytes; see `stores/blobs/port.ts`. */
export const BlobRef = z
  .object({
    key: z
      .string()
      .regex(/^[\w.-]+(\/[\w.-]+)*$/)
      .describe('Where it is stored.'),
    sha256: z
      .string()
      .regex(/^[0-9a-f]{64}$/)
      .describe('SHA-256 of the bytes, in hex.'),
    size: z.number().int().nonnegative().describe('Bytes.'),
  })
  .describe('Reference to stored bytes, as an upload or another step answered it.');

export const SmtpReply = z
  .object({
    code: z.number().int().describe('SMTP reply code, such as 250 or 550.'),
    enhanced: z.string().nullable().describe('Enhanced status code, such as 5.1.1.'),
    text: z.string().describe('What the server said.'),
  })
  .describe('Answer of an SMTP server.');

const Result = z.string().max(20);
/** What verification found; the type is `Authentication` of `stores/records/port.ts`. */
export const Authentication = z
  .object({
    spf: z
      .object({
        result: z
          .enum(['pass', 'fail', 'softfail', 'neutral', 'none', 'temperror', 'permerror'])
          .describe('Result of SPF.'),
        domain: z.string().describe('The domain whose SPF record was asked.'),
        scope: z.enum(['mfrom', 'helo']).describe('Whether it is that of the envelope sender or of the HELO name.'),
      })
      .describe('Whether the sending host may use the domain of the envelope sender.'),
    dkim: z
      .array(
        z.object({
          result: z
            .enum(['pass', 'fail', 'neutral', 'none', 'policy', 'temperror', 'permerror'])
            .describe('Result of this signature.'),
          domain: z.string().describe('The domain that signed.'),
          selector: z.string().describe('Selector of its key.'),
          algorithm: Result.describe('Algorithm of the signature.'),
          aligned: z.boolean().describe('Whether the domain fits that of From.'),
          underSized: z.number().describe('Bytes of the body that the signature does not cover.'),
        }),
      )
      .describe('The DKIM signatures, in their order.'),
    dmarc: z
      .object({
        result: z.enum(['pass', 'fail', 'none', 'temperror', 'permerror']).describe('Result of DMARC.'),
        domain: z.string().describe('The domain of From.'),
        policy: z.enum(['none', 'quarantine', 'reject']).nullable().describe('The policy that the domain publishes.'),
        disposition: z.enum(['none', 'quarantine', 'reject']).describe('What that policy asks for this message.'),
      })
      .describe('Whether the message is from the domain that From names, and what that domain asks otherwise.'),
    arc: z
      .object({
        result: z.enum(['none', 'pass', 'fail', 'temperror', 'permerror']).describe('Result of the chain.'),
        instance: z.number().int().describe('How many seals it has.'),
      })
      .describe('The ARC seals of the hosts that forwarded it.'),
    authenticationResults: z.string().max(8_192).describe('The same as the value of an Authentication-Results field.'),
  })
  .describe('What the verification of a message found, as mail.verify answers it.');

/** The envelope and the connection a message came with. */
export const Envelope = z
  .object({
    sourceAddress: z.string().describe('IP address that the message came from.'),
    helo: z.string().describe('Name that the sending host gave in HELO or EHLO.'),
    sender: z.string().describe('Envelope sender; empty for the null sender of a bounce.'),
  })
  .describe('How the message came: from which host and with which envelope sender.');
