/** An error as a page: what happened, what it means, what to do. */
import type { Context } from 'hono';
import { html } from 'hono/html';
import type { HttpEnv } from '../context.ts';
import type { Problem } from '../problem.ts';
import { head, page, panel } from './layout.ts';

export function showProblem(http: Context<HttpEnv>, problem: Problem): Response | Promise<Response> {
  const body = html`${head(problem.title, `Status ${problem.status}, code ${problem.code}.`)}
    ${panel(
      'What happened',
      html`<div class="body">
        <p>${problem.detail}</p>
        <p>${problem.fix}</p>
        <p class="quiet">Request ${problem.instance}</p>
      </div>`,
    )}
    <p><a href="/">Back to the overview</a></p>`;
  return http.html(page({ title: problem.title, body, current: null }), problem.status as 400);
}
