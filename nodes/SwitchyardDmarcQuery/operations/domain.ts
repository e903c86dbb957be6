/** A domain: its figures, what to do next about its policy, and the address that its reports come to. */
import type { IDataObject } from 'n8n-workflow';
import { filtersOf } from '../../shared/list.ts';
import { ask, askRows, domainOf, domainPath, toItems, type Ask } from './ask.ts';

const add: Ask = async (context, i) => {
  const address = String(context.getNodeParameter('address', i) ?? '').trim();
  const body = { domain: domainOf(context, i), ...(address ? { address } : {}) };
  return { result: await ask(context, i, { method: 'POST', path: '/v1/dmarc/domains', body }) };
};

const remove: Ask = async (context, i) => {
  await ask(context, i, { method: 'DELETE', path: domainPath(context, i, '') });
  return { result: { domain: domainOf(context, i), removed: true } };
};

const getAll: Ask = async (context, i) => {
  const { items } = await ask(context, i, { path: '/v1/dmarc/domains', query: filtersOf(context, i) });
  return toItems(items as IDataObject[], i);
};

const getAdvice: Ask = async (context, i) => {
  const { advice, ...about } = await ask(context, i, { path: domainPath(context, i, '/advice') });
  return { result: { ...about, ...(advice as IDataObject) } };
};

const getWhatIf: Ask = async (context, i) => {
  const path = domainPath(context, i, '/what-if');
  const { from, to, whatIf } = await ask(context, i, { path, query: filtersOf(context, i) });
  return { result: { domain: domainOf(context, i), from, to, ...(whatIf as IDataObject) } };
};

/** Without a domain that is known there is nothing to write about, and so no item. */
const writeSummary: Ask = async (context, i) => {
  const domain = ((context.getNodeParameter('domain', i) as string | null) ?? '').trim();
  const query = { ...filtersOf(context, i), ...(domain ? { domain } : {}) };
  const summary = await ask(context, i, { path: '/v1/dmarc/summary', query });
  return (summary.domains as IDataObject[]).length > 0 ? { result: summary } : { items: [] };
};

const getOne =
  (page: string): Ask =>
  async (context, i) => ({
    result: await ask(context, i, { path: domainPath(context, i, page), query: filtersOf(context, i) }),
  });

const getRows =
  (page: string): Ask =>
  async (context, i) =>
    askRows(context, i, domainPath(context, i, page));

export const domain = {
  add,
  getAdvice,
  getAll,
  getDays: getRows('/days'),
  getDns: getRows('/dns'),
  getServices: getRows('/services'),
  getSummary: getOne('/summary'),
  getTls: getOne('/tls'),
  getWhatIf,
  remove,
  writeSummary,
};
