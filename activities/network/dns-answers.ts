/**
 * Answers of DNS that are kept for a moment: a burst of mail from one domain asks the same five questions for each
 * message. node:dns does not tell how long an answer may be kept, so it is seconds, which no zone is hurt by.
 */

/** Answers kept at once; the oldest go first. */
const MAX_ANSWERS = 1_000;
/** ms in which others join a question; after that its packet may be lost, and a new one is sooner answered. */
const JOINED_WITHIN = 100;
/** Characters of an answer that is kept; records for mail are a tenth of it. */
const MAX_CHARACTERS = 4_096;

/**
 * @param keepMs 0: an answer serves those who ask at the same time, and nobody after
 * @returns asks, or joins whoever asks the same now, or gives what was answered just before. Failures are not kept.
 */
export function createAnswers<T>(keepMs: number): (question: string, ask: () => Promise<T[]>) => Promise<T[]> {
  const underWay = new Map<string, { asking: Promise<T[]>; since: number }>();
  const kept = new Map<string, { answer: T[]; until: number }>();

  const keep = (question: string, answer: T[]): void => {
    if (keepMs === 0 || JSON.stringify(answer).length > MAX_CHARACTERS) return;
    const [oldest] = kept.keys();
    if (kept.size >= MAX_ANSWERS && oldest !== undefined) kept.delete(oldest);
    kept.set(question, { answer, until: Date.now() + keepMs });
  };

  return async (question, ask) => {
    const known = kept.get(question);
    if (known && known.until > Date.now()) return [...known.answer];
    kept.delete(question);
    let now = underWay.get(question);
    if (!now || now.since < Date.now() - JOINED_WITHIN) {
      const asked = { asking: ask(), since: Date.now() };
      underWay.set(question, asked);
      const over = (): void => {
        if (underWay.get(question) === asked) underWay.delete(question);
      };
      asked.asking.then((answer) => keep(question, answer)).then(over, over);
      now = asked;
    }
    // Whoever sorts their list leaves those of the others alone.
    return [...(await now.asking)];
  };
}
