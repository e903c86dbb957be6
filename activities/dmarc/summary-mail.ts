/**
 * The mail that a summary is sent as: subject, text, and HTML that mail clients show. They know little of CSS: tables
 * for the layout, styles in the elements, and classes only for what a client may leave out, which is the dark theme.
 */
import type { DomainOfSummary, Facts, Figures } from './summarize.ts';
import { ADVICE_DAYS } from '../../protocols/dmarc/advice.ts';
import { decimal, number, plural, share } from '../../protocols/figures.ts';
import { escapeHtml } from '../../protocols/html.ts';

const DAY = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric', timeZone: 'UTC' });
const day = (text: string): string => DAY.format(new Date(text));
const period = ({ from, to }: Facts): string => (from === to ? day(from) : `${day(from)} to ${day(to)}`);
const failing = ({ messages, passed }: Figures): number => messages - passed;
const passing = ({ messages, passed }: Figures): string => (messages === 0 ? 'no mail' : share(passed, messages));

export function subjectOf({ domains: [first, ...others], now, domainsMore }: Facts): string {
  if (!first) return 'DMARC: no domain is reported about yet';
  const whose = others.length === 0 ? first.domain : plural(others.length + domainsMore + 1, 'domain');
  const what = now.messages === 0 ? 'no mail reported' : `${passing(now)} of ${plural(now.messages, 'message')} pass`;
  return `DMARC of ${whose}: ${what}`;
}

/** `+12 %`, or nothing where there is nothing to compare with. */
function change(now: number, before: number): string | undefined {
  if (before === 0) return undefined;
  const rate = (100 * (now - before)) / before;
  return rate === 0 ? 'as many as before' : `${rate > 0 ? '+' : ''}${decimal(rate)} %`;
}

const NEW = 'New senders that fail';
const FIRST_WEEKS =
  'Reports have just begun, so every sender is new: those that fail are named once there is a week to compare with.';
const lostWords = (count: number): string =>
  `${plural(count, 'mail or file', 'mails and files')} came as ${count === 1 ? 'a report' : 'reports'} and could not be taken.`;
const moreWords = (count: number): string => `and ${number(count)} more`;
const END = `Messages are what receivers counted; pass is DKIM or SPF in alignment; days are in UTC. The advice is made from the last ${ADVICE_DAYS} days.`;

export function textOf(facts: Facts): string {
  const { domains, domainsMore, url } = facts;
  const head = `DMARC, ${period(facts)}`;
  if (domains.length === 0) return `${head}\n\nNo domain has a report address yet.\n\n${url}\n`;
  return `${[
    head,
    ...(domains.length > 1 ? [figuresLine(facts, facts.days)] : []),
    ...domains.map((one) => textOfDomain(one, facts.days)),
    ...(domainsMore > 0 ? [`${plural(domainsMore, 'further domain')} with fewer failing messages: ${url}`] : []),
    `${END}\nAll of it, down to the original reports: ${url}`,
  ].join('\n\n')}\n`;
}

function figuresLine({ now, before }: { now: Figures; before: Figures }, days: number): string {
  const more = change(now.messages, before.messages);
  return [
    `${plural(now.messages, 'message')}${more === undefined ? '' : ` (${more})`}`,
    `${passing(now)}${now.messages === 0 ? '' : ' pass'} (the ${plural(days, 'day')} before: ${passing(before)})`,
    `${number(failing(now))} failing`,
  ].join(', ');
}

function textOfDomain(one: DomainOfSummary, days: number): string {
  const { domain, policy, advice, isComparable, newFailing, newFailingMore, refused, url } = one;
  return [
    `${domain} (policy: ${policy ?? 'not known yet'})`,
    `  ${figuresLine(one, days)}`,
    `  ${advice.title}`,
    ...advice.reasons.map((reason) => `  - ${reason}`),
    ...(isComparable ? [] : [`  ${FIRST_WEEKS}`]),
    ...(newFailing.length > 0 ? [`  ${NEW}:`] : []),
    ...newFailing.map(
      (source) =>
        `    ${source.source}  ${aboutSource(source)}  ${number(source.failed)} of ${number(source.messages)}`,
    ),
    ...(newFailingMore > 0 ? [`    ${moreWords(newFailingMore)}`] : []),
    ...(refused > 0 ? [`  ${lostWords(refused)}`] : []),
    `  ${url}`,
  ].join('\n');
}

function aboutSource({ name, country, network }: DomainOfSummary['newFailing'][number]): string {
  return [name ?? 'no name', ...(network ? [network] : []), ...(country ? [country] : [])].join(', ');
}

const FONT = "font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif";
/** The tokens of the pages. */
const LIGHT = {
  text: '#1d1f1e',
  muted: '#62665f',
  line: '#e3e2dd',
  bg: '#f7f7f5',
  surface: '#ffffff',
  link: '#1f5fbf',
};
/** What the advice asks for, in a word and a colour. */
const STEPS = {
  wait: { word: 'not yet', tone: 'none', colour: LIGHT.muted },
  fix: { word: 'to do', tone: 'fail', colour: '#b3362c' },
  check: { word: 'open question', tone: 'warn', colour: '#9a5b00' },
  raise: { word: 'next step', tone: 'pass', colour: '#29734a' },
  stay: { word: 'all set', tone: 'pass', colour: '#29734a' },
} as const;
const DARK = `
  .page { background: #141615 !important; }
  .card { background: #1c1f1d !important; border-color: #2e322f !important; }
  .text { color: #e8eae6 !important; }
  .muted, .none { color: #a0a69c !important; }
  .line { border-color: #2e322f !important; }
  .link { color: #7fb0ff !important; }
  .pass { color: #62bd86 !important; }
  .warn { color: #e0a24a !important; }
  .fail { color: #ec7d72 !important; }`;

export function htmlOf(facts: Facts): string {
  const { domains, domainsMore, url } = facts;
  const cards =
    domains.length === 0
      ? card(paragraph('No domain has a report address yet.'))
      : [
          ...(domains.length > 1
            ? [
                card(
                  paragraph(`<strong>All ${number(domains.length + domainsMore)} domains</strong>`) +
                    figuresTable(facts, facts.days),
                ),
              ]
            : []),
          ...domains.map((one) => cardOfDomain(one, facts.days)),
        ].join('');
  const more =
    domainsMore > 0
      ? small(`${plural(domainsMore, 'further domain')} with fewer failing messages: ${link(url, 'see all')}.`)
      : '';
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="supported-color-schemes" content="light dark">
<title>${escapeHtml(subjectOf(facts))}</title>
<style>
:root { color-scheme: light dark; supported-color-schemes: light dark; }
@media (prefers-color-scheme: dark) {${DARK}
}
</style>
</head>
<body class="page" style="margin:0;padding:0;background:${LIGHT.bg}">
<table role="presentation" class="page" width="100%" cellpadding="0" cellspacing="0" style="background:${LIGHT.bg}"><tr><td align="center" style="padding:16px 8px">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" style="max-width:600px;text-align:left">
<tr><td class="text" style="${FONT};color:${LIGHT.text};padding:8px 8px 16px">
<h1 style="margin:0;font-size:20px;line-height:28px">DMARC</h1>
<div class="muted" style="font-size:14px;line-height:20px;color:${LIGHT.muted}">${escapeHtml(period(facts))}</div>
</td></tr>
${cards}
<tr><td style="${FONT};padding:8px">${more}${small(`${END} ${link(url, 'All of it, down to the original reports')}.`)}</td></tr>
</table>
</td></tr></table>
</body>
</html>
`;
}

/** @param content HTML, here and below */
function card(content: string): string {
  return `<tr><td style="padding:0 0 16px"><table role="presentation" class="card" width="100%" cellpadding="0" cellspacing="0" style="background:${LIGHT.surface};border:1px solid ${LIGHT.line};border-radius:8px"><tr><td class="text" style="${FONT};color:${LIGHT.text};padding:16px;font-size:15px;line-height:22px;word-break:break-word">${content}</td></tr></table></td></tr>\n`;
}

const paragraph = (content: string): string => `<p style="margin:0 0 8px">${content}</p>`;
const small = (content: string): string =>
  `<p class="muted" style="margin:0 0 8px;font-size:13px;line-height:19px;color:${LIGHT.muted}">${content}</p>`;
const link = (url: string, words: string): string =>
  `<a class="link" href="${escapeHtml(url)}" style="color:${LIGHT.link}">${escapeHtml(words)}</a>`;

/** Three figures side by side: none of them is wider than a third of a phone. */
function figuresTable({ now, before }: { now: Figures; before: Figures }, days: number): string {
  const earlier = `${plural(days, 'day')} before`;
  const more = change(now.messages, before.messages);
  const cells = [
    [
      'Messages',
      number(now.messages),
      `${earlier}: ${number(before.messages)}${more === undefined ? '' : ` (${more})`}`,
    ],
    ['DMARC pass', passing(now), `${earlier}: ${passing(before)}`],
    ['Failing', number(failing(now)), `${earlier}: ${number(failing(before))}`],
  ] as const;
  const cell = ([name, figure, note]: (typeof cells)[number]) =>
    `<td width="33%" valign="top" style="padding:0 8px 0 0"><div class="muted" style="font-size:12px;line-height:18px;color:${LIGHT.muted}">${name}</div><div style="font-size:20px;line-height:28px;font-variant-numeric:tabular-nums"><strong>${escapeHtml(figure)}</strong></div><div class="muted" style="font-size:12px;line-height:18px;color:${LIGHT.muted}">${escapeHtml(note)}</div></td>`;
  return `<table role="presentation" width="100%" cellpadding="0" cellspacing="0"><tr>${cells.map(cell).join('')}</tr></table>`;
}

function cardOfDomain(one: DomainOfSummary, days: number): string {
  const { domain, policy, url, advice, isComparable, newFailing, newFailingMore, refused } = one;
  const { word, tone, colour } = STEPS[advice.step];
  const reasons = advice.reasons.map((reason) => `<li style="margin:0 0 4px">${escapeHtml(reason)}</li>`).join('');
  return card(
    [
      `<h2 style="margin:0;font-size:17px;line-height:24px">${link(url, domain)}</h2>`,
      small(`policy: ${escapeHtml(policy ?? 'not known yet')}`),
      figuresTable(one, days),
      rule(),
      paragraph(
        `<span class="${tone}" style="color:${colour}"><strong>${word}</strong></span>&ensp;<strong>${escapeHtml(advice.title)}</strong>`,
      ),
      reasons === ''
        ? ''
        : `<ul style="margin:0 0 8px;padding:0 0 0 20px;font-size:14px;line-height:20px">${reasons}</ul>`,
      isComparable ? '' : `${rule()}${small(escapeHtml(FIRST_WEEKS))}`,
      newFailing.length > 0 ? `${rule()}${sourcesTable(newFailing, newFailingMore, url)}` : '',
      refused > 0 ? `${rule()}${small(escapeHtml(lostWords(refused)))}` : '',
    ].join('\n'),
  );
}

const rule = (): string =>
  `<div class="line" style="border-top:1px solid ${LIGHT.line};margin:12px 0;font-size:0;line-height:0">&nbsp;</div>`;

function sourcesTable(sources: DomainOfSummary['newFailing'], more: number, url: string): string {
  const row = (source: DomainOfSummary['newFailing'][number]) =>
    `<tr><td valign="top" style="padding:0 8px 6px 0;font-size:14px;line-height:20px">${escapeHtml(source.source)}<div class="muted" style="font-size:12px;line-height:18px;color:${LIGHT.muted}">${escapeHtml(aboutSource(source))}</div></td><td valign="top" align="right" style="padding:0 0 6px;font-size:14px;line-height:20px;white-space:nowrap;font-variant-numeric:tabular-nums">${number(source.failed)} of ${number(source.messages)}</td></tr>`;
  return `<table role="presentation" width="100%" cellpadding="0" cellspacing="0"><tr><td style="padding:0 8px 6px 0"><strong>${NEW}</strong></td><td class="muted" align="right" style="padding:0 0 6px;font-size:12px;color:${LIGHT.muted}">failing</td></tr>${sources.map(row).join('')}</table>${more > 0 ? small(link(url, moreWords(more))) : ''}`;
}
