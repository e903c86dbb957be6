/** How many rows of a list an answer has. */
import { z } from 'zod';

/** Rows without a wish. */
export const PAGE = 100;
const Rows = z.coerce.number().int().min(1).max(500);

export const Limit = z.object({ limit: Rows.default(PAGE).describe('Rows of the answer.') });
/** Of a list that may also be a file: a file is whole, unless it is asked for less. */
export const FileLimit = z.object({
  limit: Rows.optional().describe(`Rows of the answer; without it ${PAGE}, and all of them in CSV.`),
});
