/**
 * Search over what was said: all words of a query must be in a message, or in the conversation's title.
 */

/** More results than this are not shown. */
export const RESULTS_MAX = 100;

/** The words of a query, as they are compared. */
export function wordsOf(query) {
  return fold(query)
    .split(/\s+/)
    .filter((word) => word !== "");
}

/** A text as it is compared: without case and without accents, and of the same length. */
function fold(text) {
  return Array.from(text, foldChar).join("");
}

function foldChar(char) {
  const folded = char.normalize("NFD")[0]?.toLowerCase() ?? char;
  return folded.length === char.length ? folded : char;
}

/** Whether a text has all words. */
export function hasAll(text, words) {
  const folded = fold(text);
  return words.every((word) => folded.includes(word));
}

/**
 * The part of a text around its first word that was searched for.
 * @returns {{ text: string, isFound: boolean }[]} pieces, in their order
 */
export function excerpt(text, words, length = 120) {
  const flat = text.replace(/\s+/g, " ");
  const folded = fold(flat);
  const places = words.map((word) => folded.indexOf(word)).filter((at) => at !== -1);
  const from = Math.max(0, Math.min(...places, flat.length) - Math.floor(length / 4));
  const part = flat.slice(from, from + length);
  const pieces = marked(part, words);
  if (from > 0) pieces.unshift({ text: "…", isFound: false });
  if (from + length < flat.length) pieces.push({ text: "…", isFound: false });
  return pieces;
}

/** A text in pieces: what was searched for, and what lies between. */
export function marked(text, words) {
  const folded = fold(text);
  const pieces = [];
  let at = 0;
  while (at < text.length) {
    const next = words
      .map((word) => ({ from: folded.indexOf(word, at), length: word.length }))
      .filter(({ from }) => from !== -1)
      .sort((a, b) => a.from - b.from || b.length - a.length)[0];
    if (!next) break;
    if (next.from > at) pieces.push({ text: text.slice(at, next.from), isFound: false });
    pieces.push({ text: text.slice(next.from, next.from + next.length), isFound: true });
    at = next.from + next.length;
  }
  if (at < text.length) pieces.push({ text: text.slice(at), isFound: false });
  return pieces;
}
