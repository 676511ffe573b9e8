import type { Problem } from "../errors.ts";

export interface KeyValues {
  readonly values: ReadonlyMap<string, string>;
  /** Each names the input and the line, never the value. */
  readonly problems: readonly Problem[];
}

const KEY = /^[A-Za-z_][A-Za-z0-9_]*$/;

/**
 * Reads `variables` and `secrets`: `KEY=value` lines, `KEY<<EOF` blocks, or one JSON object.
 * The values are bytes to us: nothing in them is expanded.
 */
export function parseKeyValues(input: string, text: string): KeyValues {
  return text.trimStart().startsWith("{") ? parseJson(input, text) : parseLines(input, text);
}

function parseJson(input: string, text: string): KeyValues {
  const values = new Map<string, string>();
  const problems: Problem[] = [];
  const complain = (line: number, message: string, hint?: string): void => {
    problems.push({ message: `"${input}", line ${line}: ${message}`, hint });
  };
  try {
    JSON.parse(text);
  } catch {
    // The parser's own message quotes the text, which may hold secrets.
    complain(lineOfError(text), "this starts like JSON but is none.", "Use toJSON(…).");
    return { values, problems };
  }
  for (const { key, source, line } of membersOf(text)) {
    if (values.has(key)) complain(line, `${key} is given twice.`);
    if (!KEY.test(key)) {
      complain(line, `"${key}" is no variable name.`);
    } else if (source.startsWith('"')) {
      const value = JSON.parse(source) as string;
      if (IMPOSSIBLE.test(value)) complain(line, `the value of ${key} ${HOLDS_NO_TEXT}`);
      else values.set(key, value);
    } else if (source === "null" || /^[{[]/.test(source)) {
      complain(line, `the value of ${key} is neither text, number nor boolean.`);
    } else values.set(key, source); // A number as it was written: `1.50` is a version to some.
  }
  return { values, problems };
}

interface Member {
  readonly key: string;
  /** The value as it is written, or how it starts. */
  readonly source: string;
  /** Of the key, from 1. */
  readonly line: number;
}

/** The members of an object, each time they are given, of a text that is JSON. */
function membersOf(text: string): Member[] {
  const members: Member[] = [];
  let level = 0;
  let line = 1;
  let key: { name: string; line: number } | undefined;
  let last = "";
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\]:,\n]|[^\s"{}[\]:,]+/g)) {
    if (token === "\n") {
      line += 1;
      continue;
    }
    if (level === 1 && key !== undefined && last === ":") {
      members.push({ key: key.name, source: token, line: key.line });
      key = undefined;
    } else if (level === 1 && token.startsWith('"')) key = { name: JSON.parse(token) as string, line };
    if (/^[{[]$/.test(token)) level += 1;
    if (/^[}\]]$/.test(token)) level -= 1;
    last = token;
  }
  return members;
}

/** What only JSON can spell, and no environment can hold: NUL, and half of a surrogate pair. */
// oxlint-disable-next-line no-control-regex
const IMPOSSIBLE = /\0|\p{Surrogate}/u;
const HOLDS_NO_TEXT = "holds a NUL or half of a character, which no variable can.";

/** The first line with which the text can't be the start of any JSON; V8 does not always tell the position. */
function lineOfError(text: string): number {
  const lines = text.trimEnd().split("\n");
  let good = 0;
  let bad = lines.length;
  while (bad - good > 1) {
    const middle = Math.floor((good + bad) / 2);
    if (couldGoOn(lines.slice(0, middle).join("\n").trimEnd())) good = middle;
    else bad = middle;
  }
  return bad;
}

function couldGoOn(start: string): boolean {
  try {
    JSON.parse(start);
    return false; // It is whole, and yet more follows.
  } catch (error) {
    const message = error instanceof Error ? error.message : "";
    const position = / at position (\d+)/.exec(message)?.[1];
    const brokenOff = /Unterminated string/.test(message); // No string goes on in the next line.
    return !brokenOff && (/end of JSON input/.test(message) || Number(position) >= start.length);
  }
}

function parseLines(input: string, text: string): KeyValues {
  const values = new Map<string, string>();
  const problems: Problem[] = [];
  const lines = text.split("\n");
  for (let index = 0; index < lines.length; index += 1) {
    // A carriage return is part of a line's end only here: in a block it may belong to the value.
    const [line = "", ending = ""] = /^(.*?)(\r?)$/s.exec(lines[index] ?? "")?.slice(1) ?? [];
    const complain = (message: string, hint?: string): void => {
      problems.push({ message: `"${input}", line ${index + 1}: ${message}`, hint });
    };
    if (/^\s*(#|$)/.test(line)) continue;
    const head = /^([^=<\s]*)\s*(=|<<)(.*)$/s.exec(line.trimStart());
    const [, key = "", separator, rest = ""] = head ?? [];
    if (!KEY.test(key)) {
      complain("expected KEY=value, KEY<<EOF or a comment.");
      continue;
    }
    if (values.has(key)) complain(`${key} is given twice.`);
    if (separator === "=") {
      const value = unquote(rest);
      if (value !== undefined) values.set(key, value);
      else
        complain(
          `the quotes of ${key} don't close, or text follows them.`,
          `For several lines write ${key}<<EOF.`,
        );
      continue;
    }
    const delimiter = rest.trim();
    const indent = /^\s*/.exec(line)?.[0] ?? "";
    const closings = [delimiter, indent + delimiter]; // At the margin, or as far in as the block's first line.
    let end = index + 1;
    while (end < lines.length && !closings.includes(withoutReturn(lines[end] ?? ""))) end += 1;
    if (delimiter === "" || end === lines.length) {
      // What stands there may be a secret whose author meant an equals sign.
      complain(`the block of ${key} has no closing line.`, "It repeats what stands behind the <<.");
      break;
    }
    const block = lines.slice(index + 1, end);
    values.set(key, (ending === "" ? block : block.map(withoutReturn)).join("\n"));
    index = end;
  }
  return { values, problems };
}

function withoutReturn(line: string): string {
  return line.replace(/\r$/, "");
}

const ESCAPES: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t", '"': '"', "\\": "\\" };

/** Single quotes keep everything; double quotes know \n \r \t \" \\; without quotes ` #` starts a comment. */
function unquote(rest: string): string | undefined {
  const text = rest.trim();
  if (text.startsWith("'")) return /^'([^']*)'\s*(?:#.*)?$/s.exec(text)?.[1];
  if (text.startsWith('"')) {
    const inner = /^"((?:[^"\\]|\\.)*)"\s*(?:#.*)?$/s.exec(text)?.[1];
    return inner?.replace(/\\(.)/gs, (whole, char: string) => ESCAPES[char] ?? whole);
  }
  return rest.replace(/\s#.*$/s, "").trim();
}
