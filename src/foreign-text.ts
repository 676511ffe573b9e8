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
