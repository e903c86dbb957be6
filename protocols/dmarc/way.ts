/** How a report came. Anyone can send by mail and HTTPS; by hand is whatever somebody with a right gives to a run or a node. */
export const WAYS = ['mail', 'https', 'import', 'hand'] as const;
export type Way = (typeof WAYS)[number];
