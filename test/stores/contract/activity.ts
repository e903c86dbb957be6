/** An activity record as a session opens it, but for what is changed. */
import { uuidv7 } from '../../../stores/records/ids.ts';
import type { MailActivity } from '../../../stores/records/port.ts';

export function activity(change: Partial<MailActivity> = {}): MailActivity {
  return {
    id: uuidv7(),
    deliveryKey: uuidv7(),
    receivedAt: '2026-11-24T08:00:00.000Z',
    messageId: 'm1',
    sourceAddress: '192.0.2.1',
    helo: 'mx.sender.test',
    tls: null,
    sender: 'a@sender.test',
    recipient: 'b@demo.test',
    headerFrom: 'A <a@sender.test>',
    headerMessageId: '<1@sender.test>',
    subject: 'Grüße',
    blob: { key: `mail/${'0'.repeat(64)}`, sha256: '0'.repeat(64), size: 12 },
    authentication: {
      spf: { result: 'pass', domain: 'sender.test', scope: 'mfrom' },
      dkim: [
        { result: 'pass', domain: 'sender.test', selector: 's', algorithm: 'rsa-sha256', aligned: true, underSized: 0 },
      ],
      dmarc: { result: 'pass', domain: 'sender.test', policy: 'reject', disposition: 'none' },
      arc: { result: 'none', instance: 0 },
      authenticationResults: 'mx.demo.test; spf=pass',
    },
    ruleId: null,
    action: { type: 'forward', destinations: ['c@inbox.test'] },
    outcome: 'accepted',
    errorCode: null,
    errorText: null,
    reply: null,
    attempts: 0,
    resent: false,
    workflowId: 'mail/1',
    closedAt: null,
    ...change,
  };
}
