/** What Prometheus may know of the receiver. */
import { Counter, Gauge, Histogram } from 'prom-client';

export const sessions = new Gauge({ name: 'switchyard_smtp_sessions', help: 'Open SMTP sessions.' });

export const answers = new Counter({
  name: 'switchyard_smtp_answers_total',
  help: 'Answers to the final dot, by reply code.',
  labelNames: ['code'] as const,
});

export const refusedRecipients = new Counter({
  name: 'switchyard_smtp_refused_recipients_total',
  help: 'Recipients refused at RCPT, by error code.',
  labelNames: ['code'] as const,
});

/** From DATA to the answer: the store, the verification and the first delivery attempt. */
export const dataSeconds = new Histogram({
  name: 'switchyard_smtp_data_seconds',
  help: 'Seconds from DATA to the answer.',
  buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
});
