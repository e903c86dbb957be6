/** Schemas that several steps share. They only grow: a run started by an older build must stay readable. */
import { z } from 'zod';

/** Reference to stored bytes; see `stores/blobs/port.ts`. */
export const BlobRef = z.object({
  key: z.string().regex(/^[\w.-]+(\/[\w.-]+)*$/),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  size: z.number().int().nonnegative(),
});

export const SmtpReply = z.object({ code: z.number().int(), enhanced: z.string().nullable(), text: z.string() });

const Result = z.string().max(20);
/** What verification found; the type is `Authentication` of `stores/records/port.ts`. */
export const Authentication = z.object({
  spf: z.object({
    result: z.enum(['pass', 'fail', 'softfail', 'neutral', 'none', 'temperror', 'permerror']),
    domain: z.string(),
    scope: z.enum(['mfrom', 'helo']),
  }),
  dkim: z.array(
    z.object({
      result: z.enum(['pass', 'fail', 'neutral', 'none', 'policy', 'temperror', 'permerror']),
      domain: z.string(),
      selector: z.string(),
      algorithm: Result,
      aligned: z.boolean(),
      underSized: z.number(),
    }),
  ),
  dmarc: z.object({
    result: z.enum(['pass', 'fail', 'none', 'temperror', 'permerror']),
    domain: z.string(),
    policy: z.enum(['none', 'quarantine', 'reject']).nullable(),
    disposition: z.enum(['none', 'quarantine', 'reject']),
  }),
  arc: z.object({ result: z.enum(['none', 'pass', 'fail', 'temperror', 'permerror']), instance: z.number().int() }),
  authenticationResults: z.string().max(8_192),
});

/** The envelope and the connection a message came with. */
export const Envelope = z.object({
  sourceAddress: z.string(),
  helo: z.string(),
  /** '' is the null sender. */
  sender: z.string(),
});
