/**
 * The verdicts of verification as the house keeps them: SPF (RFC 7208), DKIM (RFC 6376), DMARC (RFC 9989)
 * and ARC (RFC 8617), in the result words of RFC 8601, section 2.7.
 */

export interface SpfVerdict {
  result: 'pass' | 'fail' | 'softfail' | 'neutral' | 'none' | 'temperror' | 'permerror';
  /** The domain that was checked. */
  domain: string;
  /** RFC 9990: which identity was checked. */
  scope: 'mfrom' | 'helo';
}
export interface DkimVerdict {
  result: 'pass' | 'fail' | 'neutral' | 'none' | 'policy' | 'temperror' | 'permerror';
  domain: string;
  selector: string;
  algorithm: string;
  /** Aligned with the author domain and covering the whole body. */
  aligned: boolean;
  /** Bytes of body that the signature does not cover (`l=`); over 0 is never aligned. */
  underSized: number;
}
export interface DmarcVerdict {
  result: 'pass' | 'fail' | 'none' | 'temperror' | 'permerror';
  /** The Organizational Domain of the author, by the tree walk of RFC 9989, 4.10; the author domain where it is not known. */
  domain: string;
  /** The policy that applies to the author domain, with `sp`, `np` and `t` reckoned in. */
  policy: 'none' | 'quarantine' | 'reject' | null;
  /** What was done about it. */
  disposition: 'none' | 'quarantine' | 'reject';
}
export interface ArcVerdict {
  result: 'none' | 'pass' | 'fail' | 'temperror' | 'permerror';
  /** Highest instance on the message as it came, 0 for none. */
  instance: number;
}
/** What verification found; small enough for a workflow input. */
export interface Authentication {
  spf: SpfVerdict;
  dkim: DkimVerdict[];
  dmarc: DmarcVerdict;
  arc: ArcVerdict;
  /** Payload of Authentication-Results after `authserv-id;`'s host: RFC 8601, folded with CRLF SP. At most 4 KB. */
  authenticationResults: string;
}
