/**
 * Light, dark, or as the system has it. `early.js` sets what is kept before the page is drawn.
 */

const ORDER = ["system", "light", "dark"];

/** Turns to the next of the three; returns its name. */
export function nextTheme() {
  const { dataset } = document.documentElement;
  const next = ORDER[(ORDER.indexOf(dataset.theme ?? "system") + 1) % ORDER.length];
  if (next === "system") delete dataset.theme;
  else dataset.theme = next;
  try {
    localStorage.setItem("theme", next);
  } catch {
    // It then holds until the page is closed.
  }
  return next;
}
