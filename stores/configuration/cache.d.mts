/** The folder outside every checkout for what is slow to make: SWITCHYARD_CACHE, or XDG_CACHE_HOME/switchyard, or ~/.cache/switchyard. */
export function cacheFolder(): string;
