/** What the operations have in common: one call, and its answer as items. */
import { NodeOperationError, type IDataObject, type IExecuteFunctions } from 'n8n-workflow';
import { callApi, type Call } from '../../shared/api.ts';
import type { Acted } from '../../shared/items.ts';
import { filtersOf, listAll } from '../../shared/list.ts';

/** @throws NodeApiError, NodeOperationError */
export type Ask = (context: IExecuteFunctions, itemIndex: number) => Promise<Acted>;

/** A page of the domain that the item names, such as `/v1/dmarc/domains/example.com/days`. */
export function domainPath(context: IExecuteFunctions, itemIndex: number, page: string): string {
  return `/v1/dmarc/domains/${encodeURIComponent(domainOf(context, itemIndex))}${page}`;
}

export const domainOf = (context: IExecuteFunctions, itemIndex: number): string =>
  wanted(context, itemIndex, 'domain', 'It is not said which domain.', 'Fill in Domain, such as example.com.');

/**
 * A field that cannot be empty, as an expression that finds nothing would make it.
 * @throws NodeOperationError
 */
export function wanted(
  context: IExecuteFunctions,
  itemIndex: number,
  name: string,
  message: string,
  description: string,
): string {
  const value = String(context.getNodeParameter(name, itemIndex) ?? '').trim();
  if (value !== '') return value;
  throw new NodeOperationError(context.getNode(), message, { itemIndex, description });
}

/** One call whose answer is an object. */
export async function ask(
  context: IExecuteFunctions,
  itemIndex: number,
  call: Pick<Call, 'path'> & Partial<Call>,
): Promise<IDataObject> {
  return ((await callApi(context, { method: 'GET', itemIndex, ...call })).body ?? {}) as IDataObject;
}

/** One call whose answer has rows; they are the items, and say which domain they are about. */
export async function askRows(
  context: IExecuteFunctions,
  itemIndex: number,
  path: string,
  query: IDataObject = {},
): Promise<Acted> {
  const { items } = await ask(context, itemIndex, { path, query: { ...filtersOf(context, itemIndex), ...query } });
  return toItems(items as IDataObject[], itemIndex, domainOf(context, itemIndex));
}

/** A list page by page, as far as Return All and Limit say. */
export async function askPages(
  context: IExecuteFunctions,
  itemIndex: number,
  list: { path: string; cursor: string },
  domain?: string,
): Promise<Acted> {
  return toItems(await listAll(context, itemIndex, list), itemIndex, domain);
}

export function toItems(rows: IDataObject[], itemIndex: number, domain?: string): Acted {
  const items = rows.map((row) => ({
    json: domain === undefined ? row : { domain, ...row },
    pairedItem: { item: itemIndex },
  }));
  return { items };
}
