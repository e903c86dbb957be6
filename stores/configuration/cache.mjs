/** Where slow things are kept between checkouts and runs. Plain JavaScript for the launcher. */
import { homedir } from 'node:os';
import { join } from 'node:path';

export function cacheFolder() {
  const { SWITCHYARD_CACHE, XDG_CACHE_HOME } = process.env;
  return SWITCHYARD_CACHE || join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'switchyard');
}
