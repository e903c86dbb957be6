import { hold } from '../locks.ts';
import type { Database } from '../tables.ts';

/**
 * One publication, or change of the generation, at a time. What they write is small, and two that add to the same sums
 * would wait for each other anyway.
 */
export const holdReports = (transaction: Database): Promise<void> => hold(transaction, 'dmarc');
