// Shows every time in the reader's own zone, with the UTC on hover. Without this script the page shows UTC.
const hours = { hour: '2-digit', minute: '2-digit' };
const day = { day: 'numeric', month: 'short', ...hours };
const options = { full: { ...day, second: '2-digit' }, short: day, hour: hours };
const thisYear = new Date().getFullYear();

// With the year where it is another one.
function words(moment, name) {
  const year = name !== 'hour' && moment.getFullYear() !== thisYear ? { year: 'numeric' } : {};
  return new Intl.DateTimeFormat(undefined, { ...options[name], ...year }).format(moment);
}

for (const element of document.querySelectorAll('time[data-format]')) {
  const moment = new Date(element.dateTime);
  const name = element.dataset.format;
  if (Number.isNaN(moment.getTime()) || !(name in options)) continue;
  element.title = `${element.dateTime.slice(0, 19).replace('T', ' ')} UTC`;
  element.textContent = words(moment, name);
}
// The hours under a chart are text of the SVG, which has no time element.
for (const element of document.querySelectorAll('text[data-time]')) {
  element.textContent = words(new Date(element.dataset.time), 'hour');
}
