/**
 * Questions to a page, asked inside of it: load with `page.addInitScript({ path })`, then `page.evaluate('inPage.width()')`.
 */
const luminance = ({ r, g, b }) => {
  const [R, G, B] = [r, g, b].map((value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * R + 0.7152 * G + 0.0722 * B;
};

const parse = (color) => {
  const [r = 0, g = 0, b = 0, a = 1] = (/rgba?\(([^)]+)\)/.exec(color)?.[1] ?? '').split(/[ ,/]+/).map(Number);
  return { r, g, b, a };
};

const backgroundOf = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const color = parse(getComputedStyle(at).backgroundColor);
    if (color.a === 1) return color;
  }
  return { r: 255, g: 255, b: 255 };
};

globalThis.inPage = {
  width: () => document.documentElement.scrollWidth,

  openDetails: () => document.querySelectorAll('details').forEach((one) => (one.open = true)),

  /** What only a page that was broken into has, and its text. */
  content: () => ({
    scripts: [...document.scripts].map(({ src }) => new URL(src).pathname),
    strange: document.querySelectorAll('main script, img, iframe, object, style, [onerror], [onload], [onfocus]')
      .length,
    links: [...document.links].filter(({ protocol }) => protocol !== 'http:').length,
    text: document.body.innerText,
  }),

  focused: () => {
    const element = document.activeElement;
    const { outlineStyle, outlineWidth } = getComputedStyle(element);
    return {
      text: element.textContent.trim(),
      tag: element.tagName,
      seen: outlineStyle !== 'none' && outlineWidth !== '0px',
    };
  },

  /** What is to be touched and is lower than 40 px. */
  small: () =>
    [...document.querySelectorAll('nav.tabs a, button, select, .button, td.n a, .tile, .advice > a')]
      .map((element) => {
        const box = element.matches('td.n a') ? element.parentElement : element;
        return { text: element.textContent.trim(), height: box.getBoundingClientRect().height };
      })
      .filter(({ height }) => height > 0 && height < 40),

  /** Texts with less contrast than WCAG 2.2 asks for (1.4.3: 4.5 to 1, large ones 3 to 1). */
  tooFaint: () => {
    const faint = new Set();
    for (const element of document.querySelectorAll('body *')) {
      const own = [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE);
      const text = own.map((node) => node.textContent.trim()).join('');
      if (text === '' || element.closest('title, option') || element.getClientRects().length === 0) continue;
      const style = getComputedStyle(element);
      const colors = [parse(element.closest('svg') ? style.fill : style.color), backgroundOf(element)];
      const [light, dark] = colors.map(luminance).sort((one, other) => other - one);
      const size = parseFloat(style.fontSize);
      const needed = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
      const ratio = (light + 0.05) / (dark + 0.05);
      if (ratio < needed) faint.add(`${ratio.toFixed(2)} ${element.tagName}.${element.className} ${text.slice(0, 30)}`);
    }
    return [...faint];
  },
};

document.addEventListener('securitypolicyviolation', (event) => console.error(`CSP ${event.violatedDirective}`));
