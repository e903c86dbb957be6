/** Lists of Switchyard, page by page: the fields that every list has, and the calls. */
import type { IDataObject, IExecuteFunctions, INodeProperties } from 'n8n-workflow';
import { callApi } from './api.ts';

/** What one page holds at most. */
const PAGE = 200;

/** Return All and Limit, for the operations that list. */
export function listFields(...resource: string[]): INodeProperties[] {
  const show = { resource, operation: ['getAll'] };
  return [
    {
      displayName: 'Return All',
      name: 'returnAll',
      type: 'boolean',
      default: false,
      displayOptions: { show },
      description: 'Whether to return all results or only up to a given limit',
    },
    {
      displayName: 'Limit',
      name: 'limit',
      type: 'number',
      typeOptions: { minValue: 1 },
      default: 50,
      displayOptions: { show: { ...show, returnAll: [false] } },
      description: 'Max number of results to return',
    },
  ];
}

/**
 * The entries of a list, as many as Return All and Limit of the item say. Filters left empty are left out; several
 * values of one are one with commas between them.
 * @param list.cursor the query parameter that takes the `next` of the page before
 * @throws NodeApiError
 */
export async function listAll(
  context: IExecuteFunctions,
  itemIndex: number,
  { path, cursor }: { path: string; cursor: string },
): Promise<IDataObject[]> {
  const filters = filtersOf(context, itemIndex);
  const limit = context.getNodeParameter('returnAll', itemIndex)
    ? Infinity
    : (context.getNodeParameter('limit', itemIndex) as number);
  const entries: IDataObject[] = [];
  let page: string | number | undefined;
  do {
    const query = { ...filters, limit: Math.min(PAGE, limit - entries.length), ...(page ? { [cursor]: page } : {}) };
    const { body } = await callApi(context, { method: 'GET', path, query, itemIndex });
    const { items, next } = body as { items: IDataObject[]; next: string | number | null };
    entries.push(...items);
    page = next ?? undefined;
  } while (page !== undefined && entries.length < limit);
  return entries;
}

/** The filters of an item as a query: what was left empty is left out, several values are one with commas between. */
export function filtersOf(context: IExecuteFunctions, itemIndex: number): Record<string, string> {
  return Object.fromEntries(
    Object.entries(context.getNodeParameter('filters', itemIndex, {}) as Record<string, string | string[]>)
      .map(([name, value]) => [name, String(value ?? '')] as const)
      .filter(([, value]) => value !== ''),
  );
}
