/** Every step of the house, by name. Adding a step is: one file, one line here. */
import type { Step } from './step.ts';
import { beginReread } from './dmarc/begin-reread.ts';
import { clearImport } from './dmarc/clear-import.ts';
import { clearReread } from './dmarc/clear-reread.ts';
import { enrich } from './dmarc/enrich.ts';
import { extractReports } from './dmarc/extract-reports.ts';
import { importSome } from './dmarc/import-some.ts';
import { parseReport } from './dmarc/parse-report.ts';
import { publishReport } from './dmarc/publish-report.ts';
import { quarantineReport, releaseQuarantined } from './dmarc/quarantine.ts';
import { rereadSome } from './dmarc/reread-some.ts';
import { storeReport } from './dmarc/store-report.ts';
import { summarize } from './dmarc/summarize.ts';
import { endJob } from './jobs/end-job.ts';
import { lookAfterJob } from './jobs/look-after-job.ts';
import { takeJob } from './jobs/take-job.ts';
import { bounce } from './mail/bounce.ts';
import { closeActivity } from './mail/close-activity.ts';
import { composeMessageStep } from './mail/compose-message.ts';
import { decide } from './mail/decide.ts';
import { deliver } from './mail/deliver.ts';
import { parse } from './mail/parse.ts';
import { relay } from './mail/relay.ts';
import { resolveMx } from './mail/resolve-mx.ts';
import { rewriteSenderStep } from './mail/rewrite-sender.ts';
import { send } from './mail/send.ts';
import { dkimSign, sealArc } from './mail/sign.ts';
import { verify } from './mail/verify.ts';
import { notify } from './triggers/notify.ts';
import { PermanentError } from '../protocols/errors.ts';

export const steps: readonly Step[] = [
  parse,
  verify,
  decide,
  dkimSign,
  sealArc,
  rewriteSenderStep,
  resolveMx,
  composeMessageStep,
  send,
  deliver,
  bounce,
  relay,
  closeActivity,
  extractReports,
  storeReport,
  parseReport,
  enrich,
  publishReport,
  quarantineReport,
  releaseQuarantined,
  summarize,
  notify,
  beginReread,
  rereadSome,
  clearReread,
  importSome,
  clearImport,
  takeJob,
  lookAfterJob,
  endJob,
];

/** The steps with every face. */
export const publicSteps: readonly Step[] = steps.filter(({ internal }) => !internal);

/** @throws PermanentError `step.unknown` */
export function findStep(name: string): Step {
  const step = publicSteps.find((one) => one.name === name);
  if (step) return step;
  throw new PermanentError({
    code: 'step.unknown',
    message: `There is no step ${JSON.stringify(name)}.`,
    fix: `The steps are: ${publicSteps.map((one) => one.name).join(', ')}.`,
  });
}
