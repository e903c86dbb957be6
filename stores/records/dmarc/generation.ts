import { sql } from 'kysely';

/** The number of the generation that is asked, within a query. */
export const currentGeneration = sql<number>`(select number from dmarc_generations where state = 'current')`;
