/**
 * Compose interpolation: `$X`, `${X}`, `${X:-d}`, `${X-d}`, `${X:?why}`, `${X?why}`, `${X:+alt}`, `${X+alt}`, `$$`.
 * Defaults and alternatives nest. A value is inserted once and never read again, whatever it contains.
 */

type Operator = ":-" | "-" | ":?" | "?" | ":+" | "+";

type Segment =
  | { readonly kind: "literal"; readonly text: string }
  | {
      readonly kind: "variable";
      readonly name: string;
      /** Where its `$` stands in the template, in UTF-16 units. */
      readonly offset: number;
      readonly operator: Operator | undefined;
      /** What stands behind the operator; evaluated only where it is needed. */
      readonly operand: readonly Segment[];
    };

export type Lookup = (name: string) => string | undefined;

/** Something in a template that can't be resolved. */
export interface Unresolved {
  readonly kind: "undefined" | "required" | "malformed" | "unclosed";
  /** Of the `$` in the template. */
  readonly offset: number;
  /** The variable's name; for `malformed` and `unclosed` the text that is none. */
  readonly name: string;
  /** The author's own words behind `:?`; empty where there are none. */
  readonly why: string;
}

export interface Interpolated {
  readonly text: string;
  /** Whether anything was substituted: docker casts typed fields only then. */
  readonly changed: boolean;
  readonly unresolved: readonly Unresolved[];
  /** Whether something stands in for a variable without a value. */
  readonly assumed: boolean;
}

/** What a variable's value is, and what stands in where it has none and needs one; undefined where that is a mistake. */
interface Values {
  readonly lookup: Lookup;
  readonly standIn: Lookup;
}

/** Resolves every variable of `template`; what can't be resolved stands for nothing in the text and is listed. */
export function interpolate(
  template: string,
  lookup: Lookup,
  standIn: Lookup = () => undefined,
): Interpolated {
  if (!template.includes("$")) return { text: template, changed: false, unresolved: [], assumed: false };
  const unresolved: Unresolved[] = [];
  let assumed = false;
  const marked: Lookup = (name) => {
    const value = standIn(name);
    if (value !== undefined) assumed = true;
    return value;
  };
  const { segments } = parse(template, 0, 0, unresolved);
  const text = evaluate(segments, { lookup, standIn: marked }, unresolved);
  return { text, changed: true, unresolved, assumed };
}

const NAME = /[A-Za-z_][A-Za-z0-9_]*/y;
const OPERATORS: readonly Operator[] = [":-", ":?", ":+", "-", "?", "+"];

function nameAt(text: string, index: number): string | undefined {
  NAME.lastIndex = index;
  return NAME.exec(text)?.[0];
}

/** Braces within braces; nobody writes more, and each level is a call. */
const MOST_LEVELS = 1000;

/** Reads segments from `start` to the end, or, at a level of braces, to the `}` that closes it. */
function parse(
  template: string,
  start: number,
  level: number,
  unresolved: Unresolved[],
): { segments: Segment[]; end: number; closed: boolean } {
  const inBraces = level > 0;
  const segments: Segment[] = [];
  let literal = "";
  let index = start;
  const flush = (): void => {
    if (literal !== "") segments.push({ kind: "literal", text: literal });
    literal = "";
  };
  while (index < template.length) {
    const char = template.charAt(index);
    if (inBraces && char === "}") {
      flush();
      return { segments, end: index, closed: true };
    }
    if (char !== "$") {
      const next = nextSpecial(template, index + 1, inBraces);
      literal += template.slice(index, next);
      index = next;
    } else if (template.charAt(index + 1) === "$") {
      literal += "$";
      index += 2;
    } else if (inBraces && !/[A-Za-z_{]/.test(template.charAt(index + 1))) {
      literal += "$"; // Docker does not look into a default: `${P:-^[a-z]+$}` is whole.
      index += 1;
    } else {
      flush();
      const { segment, end } = parseVariable(template, index, level, unresolved);
      if (segment !== undefined) segments.push(segment);
      index = end;
    }
  }
  flush();
  return { segments, end: index, closed: false };
}

function nextSpecial(template: string, from: number, inBraces: boolean): number {
  for (let index = from; index < template.length; index += 1) {
    const char = template.charAt(index);
    if (char === "$" || (inBraces && char === "}")) return index;
  }
  return template.length;
}

function parseVariable(
  template: string,
  offset: number,
  level: number,
  unresolved: Unresolved[],
): { segment: Segment | undefined; end: number } {
  const braced = template.charAt(offset + 1) === "{";
  const nameStart = offset + (braced ? 2 : 1);
  const name = nameAt(template, nameStart);
  if (name === undefined) return malformed(template, offset, unresolved);
  const afterName = nameStart + name.length;
  if (!braced) {
    return { segment: { kind: "variable", name, offset, operator: undefined, operand: [] }, end: afterName };
  }
  if (template.charAt(afterName) === "}") {
    return {
      segment: { kind: "variable", name, offset, operator: undefined, operand: [] },
      end: afterName + 1,
    };
  }
  const operator = OPERATORS.find((candidate) => template.startsWith(candidate, afterName));
  if (operator === undefined) return malformed(template, offset, unresolved);
  if (level === MOST_LEVELS) return unclosed(template, offset, unresolved);
  const known = unresolved.length;
  const operand = parse(template, afterName + operator.length, level + 1, unresolved);
  if (!operand.closed) {
    unresolved.length = known; // The braces within don't close either: one mistake.
    return unclosed(template, offset, unresolved);
  }
  return {
    segment: { kind: "variable", name, offset, operator, operand: operand.segments },
    end: operand.end + 1,
  };
}

function malformed(
  template: string,
  offset: number,
  unresolved: Unresolved[],
): { segment: undefined; end: number } {
  const braced = template.startsWith("${", offset);
  const close = braced ? template.indexOf("}", offset) : -1;
  if (braced && close === -1) return unclosed(template, offset, unresolved);
  const lone = template.charAt(offset + 1) === "}" ? 1 : 2; // A brace may close what stands around.
  const end = close === -1 ? Math.min(offset + lone, template.length) : close + 1;
  unresolved.push({ kind: "malformed", offset, name: cut(template.slice(offset, end)), why: "" });
  return { segment: undefined, end };
}

/** As much of it as a message can bear. */
function cut(text: string): string {
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}

/** All that follows was meant to stand in the braces, so there is nothing left to read. */
function unclosed(
  template: string,
  offset: number,
  unresolved: Unresolved[],
): { segment: undefined; end: number } {
  unresolved.push({ kind: "unclosed", offset, name: cut(template.slice(offset)), why: "" });
  return { segment: undefined, end: template.length };
}

function evaluate(segments: readonly Segment[], values: Values, unresolved: Unresolved[]): string {
  return segments
    .map((segment) => (segment.kind === "literal" ? segment.text : substitute(segment, values, unresolved)))
    .join("");
}

function substitute(
  segment: Extract<Segment, { kind: "variable" }>,
  values: Values,
  unresolved: Unresolved[],
): string {
  const value = values.lookup(segment.name);
  const operand = (): string => evaluate(segment.operand, values, unresolved);
  const missing = (kind: "undefined" | "required"): string => {
    const instead = values.standIn(segment.name);
    if (instead !== undefined) return instead;
    const why = kind === "required" ? operand() : "";
    unresolved.push({ kind, offset: segment.offset, name: segment.name, why });
    return "";
  };
  const without = (): string => {
    values.standIn(segment.name); // With a value there would be more.
    return "";
  };
  switch (segment.operator) {
    case undefined:
      return value ?? missing("undefined");
    case ":-":
      return value === undefined || value === "" ? operand() : value;
    case "-":
      return value ?? operand();
    case ":?":
      return value === undefined || value === "" ? missing("required") : value;
    case "?":
      return value ?? missing("required");
    case ":+":
      return value === undefined || value === "" ? without() : operand();
    case "+":
      return value === undefined ? without() : operand();
  }
}

/** The defined name that the author most likely meant, if one is near. */
export function nearest(name: string, defined: Iterable<string>): string | undefined {
  if (name.length < 3) return undefined; // Everything is near to a letter or two.
  const meant = name.toUpperCase();
  let best: { name: string; distance: number } | undefined;
  for (const candidate of defined) {
    const most = Math.min(Math.max(1, Math.floor(name.length / 3)), (best?.distance ?? Infinity) - 1);
    if (most < 0) break; // Nothing is nearer than the name itself in other letters.
    const distance = editDistance(meant, candidate.toUpperCase(), most);
    if (distance <= most) best = { name: candidate, distance };
  }
  return best?.name;
}

/**
 * Levenshtein's distance with a swap of neighbours as one step, or anything larger than `most` where it is. Only what is near the
 * diagonal can count.
 */
function editDistance(a: string, b: string, most: number): number {
  if (Math.abs(a.length - b.length) > most) return Infinity;
  let row = new Uint32Array(b.length + 1).map((_, index) => index);
  let next = new Uint32Array(b.length + 1);
  let before = new Uint32Array(b.length + 1);
  for (let i = 1; i <= a.length; i += 1) {
    const [from, to] = [Math.max(1, i - most), Math.min(b.length, i + most)];
    next.fill(most + 1);
    if (i <= most) next[0] = i;
    let least = most + 1;
    for (let j = from; j <= to; j += 1) {
      const replaced = (row[j - 1] ?? 0) + (a.charCodeAt(i - 1) === b.charCodeAt(j - 1) ? 0 : 1);
      const swap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swapped = swap ? (before[j - 2] ?? 0) + 1 : Infinity;
      const here = Math.min(replaced, swapped, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1);
      next[j] = here;
      least = Math.min(least, here);
    }
    if (least > most) return Infinity;
    [before, row, next] = [row, next, before];
  }
  return row[b.length] ?? Infinity;
}
