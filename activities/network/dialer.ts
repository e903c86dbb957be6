/** Outbound connections: where mail for a domain goes, and one SMTP delivery. The address rules are applied here and only here. */
import type { Readable } from 'node:stream';
import type { SmtpReply } from '../../stores/records/port.ts';

export interface RouteHost {
  /** Name for TLS and for the log. */
  host: string;
  port: number;
  /** Addresses that may be connected to, IPv6 first. */
  addresses: string[];
}

export interface Route {
  /** How the hosts were found: the transport map, MX records, or the domain's own address (RFC 5321, 5.1). */
  source: 'transport' | 'mx' | 'address';
  /** In the order to try; hosts of one preference are shuffled. */
  hosts: RouteHost[];
  /** The destination's MTA-STS policy (RFC 8461), null where it has none or for the transport map. */
  mtaSts: { mode: 'enforce' | 'testing' | 'none'; mx: string[] } | null;
}

export interface Transmission {
  route: Route;
  sender: string;
  recipient: string;
  /** Opens the message anew for each host that is tried. CRLF line ends. */
  open(): Promise<Readable>;
  /** Bytes, for SIZE= (RFC 1870). */
  size: number;
  /** The header or the envelope needs SMTPUTF8 (RFC 6531). */
  utf8: boolean;
  /** The body has bytes over 127: BODY=8BITMIME (RFC 6152). */
  eightBit: boolean;
  /** Awaited after the last byte of the message and before the final dot. */
  beforeFinalDot(host: string): Promise<void>;
  /** ms that it may wait for a connection to become free; what waits in a session waits as long as that. */
  slotWait?: number;
  /** Each stage, for heartbeats and logs: `connect mx1.b.example`, `data`, `final dot`. */
  onStage?(stage: string): void;
}

/** What came of it. Never thrown: all four are expected ends of an attempt. */
export type TransmissionResult =
  | { status: 'delivered'; host: string; reply: SmtpReply; tls: string | null }
  /** 4xx, connection trouble before the final dot, or our own cap on connections (`mail.destination_busy`). */
  | { status: 'deferred'; host: string | null; reply: SmtpReply | null; code: string; text: string }
  /** 5xx. */
  | { status: 'refused'; host: string | null; reply: SmtpReply; code: string; text: string }
  /** The connection broke after the final dot was sent and before the reply: nobody knows. */
  | { status: 'unknown'; host: string; code: 'mail.outcome_unknown'; text: string };

export interface Dialer {
  /**
   * Where mail for a domain goes.
   * @throws TemporaryError `dns.unavailable`
   * @throws PermanentError `mail.no_host` (neither MX nor address), `mail.null_mx` (RFC 7505), `mail.loop`,
   *   `network.address_refused`, `address.invalid`, `configuration.invalid`; the signal's reason when it aborts
   */
  route(domain: string, signal: AbortSignal): Promise<Route>;
  /** One attempt: tries the route's hosts and addresses in order until one takes or refuses the message. */
  transmit(transmission: Transmission, signal: AbortSignal): Promise<TransmissionResult>;
  close(): Promise<void>;
}
