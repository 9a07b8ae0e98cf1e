/**
 * Tokens and how likely they were.
 */

/** The text of the first tokens. A character may be spread over several, so bytes are put together before they are read. */
export function textBefore(tokens, count) {
  const first = tokens.slice(0, count);
  if (first.some((token) => !token.bytes)) return first.map((token) => token.text).join("");
  return new TextDecoder().decode(Uint8Array.from(first.flatMap((token) => token.bytes)));
}

/**
 * Whether an answer can go on behind other tokens than its own: its tokens must be its text, and what they leave must be
 * whole characters.
 */
export function canBranch(message, at, alternative) {
  const { tokens, text } = message;
  if (!textBefore(tokens, tokens.length).startsWith(text.trimEnd())) return false;
  const before = textBefore([...tokens.slice(0, at), alternative], at + 1);
  return !before.includes("\ufffd") && before !== "" && !/^<\|.*\|>$/.test(alternative.text);
}

export const probability = (logprob) => Math.exp(logprob);

/** How likely a token was, in five steps: 0 for nearly certain to 4 for a surprise. */
export function surprise(logprob) {
  const steps = [0.9, 0.6, 0.3, 0.1];
  const found = steps.findIndex((step) => probability(logprob) >= step);
  return found === -1 ? steps.length : found;
}

/** The mean probability of tokens: the geometric one, which is the inverse of perplexity. */
export function meanProbability(tokens) {
  const sum = tokens.reduce((total, token) => total + Math.max(token.logprob, -50), 0);
  return Math.exp(sum / Math.max(1, tokens.length));
}

/** A token as it can be seen: what is invisible gets a sign. */
export function visible(text) {
  return text.replace(/ /g, "␣").replace(/\n/g, "⏎").replace(/\t/g, "⇥") || "∅";
}
