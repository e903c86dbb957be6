/** A real headless Chromium for a test file. Where none is installed the test skips: see `browserIsMissing`. */
import { existsSync } from 'node:fs';
import { chromium, type Browser } from 'playwright-core';

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
/** The machine may be a container, and tests run as root; what the browser does for itself would ask the network. */
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

const program = (): string | undefined => PLACES.find(existsSync);

/** Reason to skip, said in one plain line; false where a browser is there. */
export function browserIsMissing(): boolean {
  if (program()) return false;
  console.log('skipped: no Chromium is installed; on Debian apt-get install chromium brings it');
  return true;
}

export function startBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: program() ?? '', args: FLAGS });
}
