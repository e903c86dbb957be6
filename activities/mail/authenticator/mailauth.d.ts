/**
 * The canonicalisation inside mailauth, which its own types leave out. The version is pinned, and the signatures made
 * over it are verified by a second implementation in the tests.
 */
declare module 'mailauth/lib/tools.js' {
  export interface HeaderRow {
    /** In lower case. */
    key: string;
    /** As it is written. */
    casedKey: string;
    /** The whole field without its last CRLF; strings hold one byte a character. */
    line: Buffer | string;
  }
  export interface SigningRows {
    keys: string;
    headers: HeaderRow[];
  }
  interface Tools {
    parseHeaders(header: Buffer): { parsed: HeaderRow[]; original: Buffer };
    getSigningHeaderLines(rows: HeaderRow[], fieldNames: string): SigningRows;
    formatSignatureHeaderLine(type: 'DKIM' | 'ARC' | 'AS', tags: object, folded: boolean): string;
    formatRelaxedLine(line: Buffer | string, suffix?: string): Buffer;
    stripSignatureValue(line: Buffer): Buffer;
    defaultDKIMFieldNames: string;
    defaultARCFieldNames: string;
  }
  const tools: Tools;
  export default tools;
}

declare module 'mailauth/lib/dkim/header/index.js' {
  import type { SigningRows } from 'mailauth/lib/tools.js';
  const header: {
    generateCanonicalizedHeader(
      type: 'DKIM' | 'ARC',
      rows: SigningRows,
      options: {
        signingDomain: string;
        selector: string;
        algorithm: string;
        canonicalization: string;
        bodyHash: string;
        timestamp: number;
        instance?: number;
      },
    ): { canonicalizedHeader: Buffer; dkimHeaderOpts: object };
  };
  export default header;
}

declare module 'mailauth/lib/dkim/body/index.js' {
  const body: {
    dkimBody(
      canonicalization: 'relaxed',
      algorithm: 'sha256',
      maxBodyLength: false,
    ): { update(chunk: Uint8Array): void; digest(encoding: 'base64'): string };
  };
  export default body;
}

declare module 'mailauth/lib/arc/index.js' {
  import type { HeaderRow } from 'mailauth/lib/tools.js';
  type Field = { original: Buffer };
  const arc: {
    /** The sets by instance, false for none. Throws for a chain that is not valid (RFC 8617, 5.2, steps 1 to 3). */
    getARChain(
      headers: { parsed: HeaderRow[] },
      options: { strict: boolean },
    ):
      | {
          i: number;
          'arc-seal': Field;
          'arc-message-signature': Field;
          'arc-authentication-results': Field;
        }[]
      | false;
  };
  export default arc;
}
