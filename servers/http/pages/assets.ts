/** The stylesheet, the script and the icon: read once, served under a name that changes with their content. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Hono } from 'hono';
import type { HttpEnv } from '../context.ts';

interface Asset {
  path: string;
  type: string;
  text: string;
}

function load(name: string, type: string): Asset {
  const text = readFileSync(join(import.meta.dirname, '..', 'assets', name), 'utf8');
  const tag = createHash('sha256').update(text).digest('hex').slice(0, 10);
  return { path: `/assets/${name.replace('.', `-${tag}.`)}`, type, text };
}

const stylesheet = load('switchyard.css', 'text/css; charset=utf-8');
const script = load('times.js', 'text/javascript; charset=utf-8');
const icon = load('icon.svg', 'image/svg+xml');

export const ASSETS = { stylesheet: stylesheet.path, script: script.path, icon: icon.path } as const;

export function mountAssets(app: Hono<HttpEnv>): void {
  for (const { path, type, text } of [stylesheet, script, icon]) {
    app.get(path, (http) =>
      http.body(text, 200, { 'content-type': type, 'cache-control': 'public, max-age=31536000, immutable' }),
    );
  }
}
