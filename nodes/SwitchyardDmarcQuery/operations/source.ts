/** Where mail came from: addresses with their figures, and the records about one of them or of one report. */
import { askPages, askRows, domainOf, domainPath, wanted, type Ask } from './ask.ts';
import { reportPath } from './report.ts';

const getRows =
  (page: string): Ask =>
  async (context, i) =>
    askRows(context, i, domainPath(context, i, page), { limit: context.getNodeParameter('limit', i) as number });

export const source = { getAll: getRows('/sources'), getNew: getRows('/new-sources') };

export const record = {
  getAll: (async (context, i) => {
    if (context.getNodeParameter('of', i) === 'report')
      return askPages(context, i, { path: `${reportPath(context, i)}/records`, cursor: 'after' });
    const address = wanted(
      context,
      i,
      'source',
      'It is not said which source.',
      'Fill in Source: an IPv4 or IPv6 address, such as {{ $json.source }} of the operation Get Many of sources.',
    );
    const path = domainPath(context, i, `/sources/${encodeURIComponent(address)}/records`);
    return askPages(context, i, { path, cursor: 'before' }, domainOf(context, i));
  }) satisfies Ask,
};
