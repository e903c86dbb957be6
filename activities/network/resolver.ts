/** DNS as the house asks for it: typed errors, a time-out, local zones before the network. */

/** Record types that the house asks for. */
export type RecordType = 'A' | 'AAAA' | 'MX' | 'TXT' | 'PTR' | 'CNAME';

export interface MxRecord {
  exchange: string;
  priority: number;
}

export interface Resolver {
  /** Addresses, IPv6 first; empty when the name has none. */
  addresses(name: string): Promise<string[]>;
  /** MX records by preference; empty when there are none. */
  mx(name: string): Promise<MxRecord[]>;
  /** TXT records, each as its strings joined; empty when there are none. */
  txt(name: string): Promise<string[]>;
  ptr(address: string): Promise<string[]>;
  /**
   * The shape mailauth injects: rejects with an Error whose `code` is `ENOTFOUND` or `ENODATA` where nothing is
   * there, and `ESERVFAIL`, `ETIMEOUT`, ... where it cannot be known.
   */
  resolve(name: string, type: string): Promise<string[][] | string[]>;
}
