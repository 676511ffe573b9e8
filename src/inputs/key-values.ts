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
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    // The parser's own message quotes the text, which may hold secrets.
    return {
      values,
      problems: [{ message: `"${input}" starts like JSON but is none.`, hint: "Use toJSON(…)." }],
    };
  }
  const problems: Problem[] = [];
  for (const [key, value] of Object.entries(parsed as Record<string, unknown>)) {
    if (!KEY.test(key)) problems.push({ message: `"${input}": "${key}" is no variable name.` });
    else if (typeof value === "string") values.set(key, value);
    else if (typeof value === "number" || typeof value === "boolean") values.set(key, String(value));
    else problems.push({ message: `"${input}": the value of ${key} is neither text, number nor boolean.` });
  }
  return { values, problems };
}

function parseLines(input: string, text: string): KeyValues {
  const values = new Map<string, string>();
  const problems: Problem[] = [];
  const lines = text.split(/\r?\n/);
  for (let index = 0; index < lines.length; index += 1) {
    const line = lines[index] ?? "";
    const complain = (message: string): void => {
      problems.push({ message: `"${input}", line ${index + 1}: ${message}` });
    };
    if (/^\s*(#|$)/.test(line)) continue;
    const head = /^\s*([^=<\s]*)\s*(=|<<)(.*)$/s.exec(line);
    const [, key = "", separator, rest = ""] = head ?? [];
    if (!KEY.test(key)) {
      complain("expected KEY=value, KEY<<EOF or a comment.");
      continue;
    }
    if (values.has(key)) complain(`${key} is given twice.`);
    if (separator === "=") {
      const value = unquote(rest);
      if (value === undefined) complain(`the quotes of ${key} don't close, or text follows them.`);
      else values.set(key, value);
      continue;
    }
    const delimiter = rest.trim();
    const end = lines.findIndex((candidate, at) => at > index && candidate.trim() === delimiter);
    if (delimiter === "" || end === -1) {
      complain(`the block of ${key} has no closing line "${delimiter}".`);
      break;
    }
    values.set(key, lines.slice(index + 1, end).join("\n"));
    index = end;
  }
  return { values, problems };
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
