/** A dialer on loopback and a message to send, for the tests of the network. */
import { Readable } from 'node:stream';
import type { Dialer, Transmission, TransmissionResult } from '../../activities/network/dialer.ts';
import { createResolver } from '../../activities/network/dns.ts';
import { createDialer, type DialerOptions } from '../../activities/network/smtp-dialer.ts';
import { Configuration, type ConfigurationInput } from '../../stores/configuration/schema.ts';

export const HOSTNAME = 'out.switchyard.test';
export const MESSAGE = 'From: a@a.test\r\nSubject: Dots\r\n\r\n.\r\n..\r\nEnd\r\n';

export function openDialer(configuration: ConfigurationInput, options: Partial<DialerOptions> = {}): Dialer {
  const checked = Configuration.parse(configuration);
  return createDialer({
    configuration: checked,
    resolver: createResolver(checked.dns),
    hostname: HOSTNAME,
    inbox: null,
    ...options,
  });
}

/** Routes and transmits; `log` gets every stage and the call before the final dot. */
export async function sendTo(
  dialer: Dialer,
  domain: string,
  options: Partial<Transmission> & { signal?: AbortSignal; text?: string; log?: string[] } = {},
): Promise<TransmissionResult> {
  const { signal = new AbortController().signal, text = MESSAGE, log = [], ...transmission } = options;
  const route = await dialer.route(domain, signal);
  return dialer.transmit(
    {
      route,
      sender: 'sender@a.test',
      recipient: `rcpt@${domain}`,
      open: async () => Readable.from([Buffer.from(text)]),
      size: Buffer.byteLength(text),
      utf8: false,
      eightBit: false,
      beforeFinalDot: async (host) => void log.push(`before final dot ${host}`),
      onStage: (stage) => void log.push(stage),
      ...transmission,
    },
    signal,
  );
}

/** Sockets of this process to or from the given port, as the operating system's handles show them. */
export function socketsTo(...ports: number[]): number {
  const handles = (process as unknown as { _getActiveHandles(): unknown[] })._getActiveHandles();
  return handles.filter((one) => ports.includes((one as { remotePort?: number }).remotePort ?? -1)).length;
}
