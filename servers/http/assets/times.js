// Shows every time in the reader's own zone, with the UTC on hover. Without this script the page shows UTC.
const full = new Intl.DateTimeFormat(undefined, {
  day: 'numeric',
  month: 'short',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
});
const short = new Intl.DateTimeFormat(undefined, {
  day: 'numeric',
  month: 'short',
  hour: '2-digit',
  minute: '2-digit',
});
const hour = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const formats = { full, short, hour };

for (const element of document.querySelectorAll('time[data-format]')) {
  const moment = new Date(element.dateTime);
  const format = formats[element.dataset.format];
  if (Number.isNaN(moment.getTime()) || !format) continue;
  element.title = `${element.dateTime.slice(0, 19).replace('T', ' ')} UTC`;
  element.textContent = format.format(moment);
}
// The hours under a chart are text of the SVG, which has no time element.
for (const element of document.querySelectorAll('text[data-time]')) {
  element.textContent = hour.format(new Date(element.dataset.time));
}
