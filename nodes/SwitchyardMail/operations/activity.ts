/** What became of the mail that came in, as Switchyard keeps it for a month. */
import { NodeOperationError, type IExecuteFunctions } from 'n8n-workflow';
import { callApi } from '../../shared/api.ts';
import type { Acted } from '../../shared/items.ts';
import { listAll } from '../../shared/list.ts';

const PATH = '/v1/mail/activity';

export const get = {
  async act(context: IExecuteFunctions, itemIndex: number): Promise<Acted> {
    const id = String(context.getNodeParameter('activityId', itemIndex) ?? '').trim();
    if (id === '')
      throw new NodeOperationError(context.getNode(), 'It is not said which mail.', {
        itemIndex,
        description: 'Fill in Activity ID, such as {{ $json.id }} of Receive Mail.',
      });
    const path = `${PATH}/${encodeURIComponent(id)}`;
    return { result: (await callApi(context, { method: 'GET', path, itemIndex })).body };
  },
};

export const getAll = {
  async act(context: IExecuteFunctions, itemIndex: number): Promise<Acted> {
    const records = await listAll(context, itemIndex, { path: PATH, cursor: 'before' });
    return { items: records.map((json) => ({ json, pairedItem: { item: itemIndex } })) };
  },
};
