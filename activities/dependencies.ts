/** What steps may need. Each step names its own part in `needs`; nothing is global. */
import type { BlobStore } from '../stores/blobs/port.ts';
import type { KeyStore } from '../stores/keys/port.ts';
import type { Records } from '../stores/records/port.ts';
import type { Configuration } from '../stores/configuration/schema.ts';
import type { Resolver } from './network/resolver.ts';
import type { Authenticator } from './mail/authenticator/port.ts';
import type { Dialer } from './network/dialer.ts';
import type { Geo } from './dmarc/geo.ts';
import type { Callbacks } from './triggers/callbacks.ts';

export interface Dependencies {
  configuration: Configuration;
  blobs: BlobStore;
  records: Records;
  keys: KeyStore;
  resolver: Resolver;
  /** Verifies and signs in worker threads, under a deadline. */
  authenticator: Authenticator;
  /** Opens outbound SMTP and HTTPS connections, with the address rules applied. */
  dialer: Dialer;
  /** Calls those who registered a trigger, signed. */
  callbacks: Callbacks;
  /** Where addresses are, by the files of the configuration. */
  geo: Geo;
  /** Where people reach the pages, without a slash at the end: for links. */
  publicUrl: string;
}
