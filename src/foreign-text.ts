/** What others wrote (containers, docker, servers) and we show. */

/** Without colours and other control characters. */
export function printable(line: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what this is about
  return line.replace(/\u001b\[[0-9;?]*[A-Za-z]/g, "").replace(/[\u0000-\u0008\u000b-\u001f\u007f]/g, "");
}

const MOST_CHARACTERS = 300;

/** As part of a sentence of ours: on one line, and not too much of it. */
export function cited(text: string): string {
  const line = printable(text.replace(/\s+/g, " ")).trim();
  return line.length > MOST_CHARACTERS ? `${line.slice(0, MOST_CHARACTERS)}…` : line;
}

const LONGEST_LINE = 1000;

/**
 * One line may be megabytes (a dump, a picture); the rest of it helps nobody who reads a log. For lines that are free of secrets
 * already: half a secret would be shown.
 */
export function shortened(line: string): string {
  if (line.length <= LONGEST_LINE) return line;
  return `${line.slice(0, LONGEST_LINE)}… (${line.length - LONGEST_LINE} more characters)`;
}

/** The same for lines that may still hold a secret, which has no blank in it as a rule: no word is cut in two. */
export function wholeWords(line: string): string {
  if (line.length <= MOST_CHARACTERS) return line;
  const kept = line
    .slice(0, MOST_CHARACTERS + 1)
    .replace(/\S*$/, "")
    .trimEnd();
  return `${kept}… (${line.length - kept.length} more characters)`;
}

const LONGEST_VALUE = 80;

/** One value of several in a line: no longer than it takes to know it by. For what is free of secrets already, as `shortened`. */
export function brief(value: string): string {
  const line = printable(value.replace(/[\s\u0085]+/g, " ")).trim();
  if (line.length <= LONGEST_VALUE) return line;
  return `${line.slice(0, LONGEST_VALUE).replace(/[\ud800-\udbff]$/, "")}…`; // No half of a letter that is two.
}
