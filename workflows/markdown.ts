/** Where a run came from, in the markdown that the Temporal UI shows. */
import { link } from '../protocols/markdown.ts';
import type { Origin } from './contract.ts';

/** `, from [Sales](http://...)`, or nothing where nobody is known. */
export const fromLine = (origin: Origin | undefined): string =>
  origin ? `, from ${link(origin.name, origin.url)}` : '';
