/** Private keys for DKIM and ARC. They leave this store as PEM for one signature and are never in an input or a log. */

/** What may be shown of a key. */
export interface PublicKeyRecord {
  domain: string;
  selector: string;
  /** RSA 2048, as RFC 8301 asks of signers. */
  algorithm: 'rsa-sha256';
  /** Base64 of the DER SubjectPublicKeyInfo: the `p=` tag of the DNS record. */
  publicKey: string;
  /** ISO time. */
  createdAt: string;
}

export interface SigningKey extends PublicKeyRecord {
  /** PKCS#8 PEM. */
  privateKey: string;
}

export interface KeyStore {
  /** Makes a key pair for the domain, the newest of which signs from then on. */
  create(domain: string, selector?: string): Promise<PublicKeyRecord>;
  /**
   * The key a domain signs with now.
   * @throws PermanentError `key.missing`, with the command that makes one.
   * @throws PermanentError `key.unreadable` when the master key does not open it.
   */
  signingKey(domain: string): Promise<SigningKey>;
  list(): Promise<PublicKeyRecord[]>;
  /**
   * A secret that belongs to this installation (SRS, cookies, signatures of callbacks), made on first use.
   * 32 random bytes, the same for every process that shares the store.
   */
  secret(name: string): Promise<Buffer>;
}
