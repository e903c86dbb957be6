/** Every workflow of the house: the entry of the bundle. */
export { importReports } from './dmarc/jobs/import-reports.ts';
export { rereadReports } from './dmarc/jobs/reread-reports.ts';
export { oneAtATime } from './jobs/one-at-a-time.ts';
export { ingestDmarcReport } from './dmarc/ingest-dmarc-report.ts';
export { routeMail } from './mail/route-mail.ts';
export { runStep } from './run-step.ts';
export { notifyTrigger } from './triggers/notify-trigger.ts';
