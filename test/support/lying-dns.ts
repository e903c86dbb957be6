/** Answers of a name server that lies, as bytes for `startDnsServer`'s `lie`. */
import * as packet from 'dns-packet';
import type { Answer, Packet, Question } from 'dns-packet';
import type { DnsServerOptions } from '../../cli/demo/dns-server.ts';

export type Lie = (question: Question, query: Packet) => Buffer | undefined;

/** RFC 1035, 4.2.1: what fits without EDNS. */
const PLAIN_UDP_LIMIT = 512;

/** A reply in good form, whatever the answers are about. */
export const reply = (query: Packet, answers: Answer[]): Buffer =>
  packet.encode({
    type: 'response',
    id: query.id,
    flags: packet.AUTHORITATIVE_ANSWER,
    questions: query.questions,
    answers,
  });

export const alias = (name: string, data: string): Answer => ({ type: 'CNAME', name, ttl: 1, data });

export const many = <T>(count: number, make: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => make(i));

/**
 * @param below the domain that lies
 * @param lies by the label before it: `other-id` for `other-id.liar.test` and all names below
 */
export function liar(below: string, lies: Record<string, Lie>): NonNullable<DnsServerOptions['lie']> {
  return (question, query, transport) => {
    const name = question.name.toLowerCase();
    if (!name.endsWith(`.${below}`)) return undefined;
    const key =
      name
        .slice(0, -below.length - 1)
        .split('.')
        .at(-1) ?? '';
    const lie = lies[key]?.(question, query);
    // What UDP has no room for is told over TCP.
    return transport === 'udp' && (lie?.length ?? 0) > PLAIN_UDP_LIMIT
      ? packet.encode({ type: 'response', id: query.id, flags: packet.TRUNCATED_RESPONSE, questions: query.questions })
      : lie;
  };
}
