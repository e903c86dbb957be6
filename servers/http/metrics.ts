/** Prometheus metrics of the http process: its own requests, and the state of mail as the records tell it. */
import { collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Records } from '../../stores/records/port.ts';

export interface HttpMetrics {
  observe(method: string, route: string, status: number, seconds: number): void;
  /** Text exposition format. */
  render(): Promise<{ contentType: string; text: string }>;
}

const DAY = 86_400_000;

export function createMetrics(records: Records): HttpMetrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const durations = new Histogram({
    name: 'switchyard_http_request_duration_seconds',
    help: 'Time to answer a request, by route.',
    labelNames: ['method', 'route', 'status'],
    buckets: [0.005, 0.02, 0.1, 0.5, 2, 10, 60],
    registers: [registry],
  });
  new Gauge({
    name: 'switchyard_mail_messages_last_day',
    help: 'Messages received in the last 24 hours, by outcome; accepted means that the run is still open.',
    labelNames: ['outcome'],
    registers: [registry],
    async collect() {
      this.reset();
      for (const [outcome, count] of Object.entries(
        await records.activity.count(new Date(Date.now() - DAY).toISOString()),
      ))
        this.set({ outcome }, count);
    },
  });
  new Gauge({
    name: 'switchyard_mail_oldest_open_seconds',
    help: 'Age of the oldest accepted message that is neither delivered nor bounced; 0 when there is none.',
    registers: [registry],
    async collect() {
      const [oldest] = await records.activity.openBefore(new Date().toISOString());
      this.set(oldest ? (Date.now() - Date.parse(oldest.receivedAt)) / 1_000 : 0);
    },
  });
  return {
    observe: (method, route, status, seconds) => durations.observe({ method, route, status: String(status) }, seconds),
    render: async () => ({ contentType: registry.contentType, text: await registry.metrics() }),
  };
}
