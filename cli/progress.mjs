/**
 * How long steps are shown. Plain JavaScript: the launcher needs it on Node 18, before anything is installed.
 * Types and contract: progress.d.mts.
 */

/** A step shorter than this leaves no line on a terminal. */
const NOTICEABLE_MS = 2_000;
/** A log that is silent for longer looks hung. */
const PLAIN_EVERY_MS = 5_000;
const FRAME_MS = 120;
const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

export function createProgress(stream = process.stderr) {
  const moving = Boolean(stream.isTTY) && process.env.TERM !== 'dumb';
  let current;

  const clear = () => {
    if (moving && current) stream.write('\r\x1b[K');
  };
  const draw = () => {
    if (!moving || !current) return;
    const elapsed = Date.now() - current.since;
    const frame = FRAMES[Math.floor(elapsed / FRAME_MS) % FRAMES.length];
    const time = elapsed >= NOTICEABLE_MS ? `  ${elapsedText(elapsed)}` : '';
    const text = `  ${frame} ${current.title}${time}${current.detail ? `  ${current.detail}` : ''}`;
    stream.write(`\r\x1b[K${text.slice(0, (stream.columns || 80) - 1)}`);
  };

  return {
    step(title) {
      const step = { title, detail: '', since: Date.now() };
      current = step;
      let saidAt = Date.now();
      if (!moving) stream.write(`  ${title} ...\n`);
      draw();
      const timer = setInterval(
        () => {
          if (moving) return draw();
          if (Date.now() - saidAt < PLAIN_EVERY_MS) return;
          saidAt = Date.now();
          stream.write(`    ${elapsedText(saidAt - step.since)}${step.detail ? `  ${step.detail}` : ''}\n`);
        },
        moving ? FRAME_MS : 1_000,
      );
      timer.unref?.();
      const end = () => {
        clearInterval(timer);
        clear();
        if (current === step) current = undefined;
      };
      return {
        detail(text) {
          step.detail = text.replace(/\s+/g, ' ').trim();
        },
        done(text) {
          end();
          const elapsed = Date.now() - step.since;
          if (elapsed >= NOTICEABLE_MS) stream.write(`  ${text ?? title}: done in ${elapsedText(elapsed)}\n`);
        },
        fail: end,
      };
    },
    line(text) {
      clear();
      stream.write(`${text}\n`);
      draw();
    },
  };
}

const silentStep = { detail() {}, done() {}, fail() {} };
export const silentProgress = { step: () => silentStep, line() {} };

export function elapsedText(milliseconds) {
  const seconds = milliseconds / 1_000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}
