/** Reports one by one: those that count, single failures, and what was refused. */
import type { IDataObject, IExecuteFunctions } from 'n8n-workflow';
import { ask, askPages, domainOf, domainPath, wanted, type Ask } from './ask.ts';

export const reportPath = (context: IExecuteFunctions, i: number): string =>
  `/v1/dmarc/reports/${encodeURIComponent(wanted(context, i, 'reportId', 'It is not said which report.', 'Fill in Report ID, such as {{ $json.id }} of a report.'))}`;

const entryPath = (context: IExecuteFunctions, i: number): string =>
  `/v1/dmarc/quarantine/${encodeURIComponent(wanted(context, i, 'entryId', 'It is not said which entry.', 'Fill in Entry ID, such as {{ $json.id }} of an entry.'))}`;

export const report = {
  get: (async (context, i) => ({ result: await ask(context, i, { path: reportPath(context, i) }) })) satisfies Ask,
  getAll: (async (context, i) =>
    askPages(context, i, { path: domainPath(context, i, '/reports'), cursor: 'before' })) satisfies Ask,
};

export const failure = {
  getAll: (async (context, i) =>
    askPages(
      context,
      i,
      { path: domainPath(context, i, '/failures'), cursor: 'before' },
      domainOf(context, i),
    )) satisfies Ask,
};

export const quarantine = {
  delete: (async (context, i) => {
    const path = entryPath(context, i);
    await ask(context, i, { method: 'DELETE', path });
    return { result: { id: decodeURIComponent(path.slice(path.lastIndexOf('/') + 1)), deleted: true } };
  }) satisfies Ask,
  get: (async (context, i) => ({ result: await ask(context, i, { path: entryPath(context, i) }) })) satisfies Ask,
  getAll: (async (context, i) =>
    askPages(context, i, { path: '/v1/dmarc/quarantine', cursor: 'before' })) satisfies Ask,
  read: (async (context, i) => {
    const domain = String(context.getNodeParameter('about', i) ?? '').trim();
    const path = `${entryPath(context, i)}/read`;
    const body = domain ? { domain } : {};
    const { run, result } = await ask(context, i, { method: 'POST', path, query: { wait: READ_WITHIN }, body });
    const { id, status, runUrl } = run as IDataObject;
    return { result: { run: id, status, runUrl, ...(result as IDataObject | null) } };
  }) satisfies Ask,
};

/** What the API waits for a run at most; a report takes a second or two. */
const READ_WITHIN = '60s';
