import { DIFFERENCES } from "./differences.ts";
import { type Random } from "./random.ts";

/** What a variable's value can stand for. */
export type Kind = "word" | "whole" | "port" | "size" | "duration" | "ratio" | "switch" | "odd";

/** Texts that a YAML printer, a substitution or a shell would like to change. */
const ODD: readonly string[] = [
  "$",
  "$$",
  "$HOME",
  "${HOME}",
  "$2b$10$abcdefghijklmnopqrstuv.wx/yz",
  "${X:-d}",
  "pa$$word",
  "%d %s 100%",
  "%YAML 1.1",
  `it's "so"`,
  "'single'",
  '"double"',
  "C:\\path\\new\\x41",
  "\\",
  "a\\nb",
  "one\ntwo",
  "one\ntwo\n",
  "\nfirst line empty",
  "ends with two\n\n",
  "  indented\n    deeper\nback\n",
  "tab\there",
  "\tstarts with a tab",
  "blank behind ",
  " blank before",
  " ",
  "\n",
  "🐳 日本 ñ",
  "nel\u0085here",
  "ls\u2028ps\u2029here",
  "\ufeffbom",
  "\u00a0nbsp\u00a0",
  "\u007fdel\u0001control\u001b[0m",
  "carriage\rreturn\r\n",
  "yes",
  "No",
  "on",
  "y",
  "true",
  "False",
  "~",
  "null",
  "Null",
  "0o17",
  "017",
  "0x1F",
  "0b11",
  "1e3",
  "1_000",
  "-0",
  "+1",
  ".5",
  "1.",
  ".inf",
  "-.INF",
  ".NaN",
  "1:30",
  "190:20:30",
  "2024-01-01",
  "2024-01-01T00:00:00Z",
  "12345678901234567890",
  "- a",
  "-",
  "--- a",
  "...",
  "? a",
  "a: b",
  "a:",
  ": a",
  "a #b",
  "#a",
  "&a",
  "*a",
  "!a",
  "!!str a",
  "|",
  "> a",
  "@a",
  "`a`",
  "[a",
  "{a}",
  "{{.Node.Hostname}}",
  "a, b",
  "a]",
  "<<",
  "=",
  "a=b=c",
  "=a",
  '{"json": ["a", 1, null]}',
  "-----BEGIN KEY-----\nMIIB\n-----END KEY-----\n",
  '#!/bin/sh\nset -e\necho "$$1"\n',
  "Host(`a.example.com`) && PathPrefix(`/x`)",
  "admin:$apr1$x$y",
];

/** Plain YAML scalars that mean something else than their letters, at least to some YAML. */
export const BARE: readonly string[] = [
  "0123",
  "0x1F",
  "0o17",
  "0b101",
  "1e3",
  "1_000",
  "1.50",
  "-0",
  "+12",
  ".5",
  "0.1",
  "1e-7",
  "123456789012",
  "yes",
  "No",
  "on",
  "OFF",
  "y",
  "2024-01-01",
  "1:30",
  "22:22",
  "~",
  "null",
  "",
  "!!str 0123",
  "!!str yes",
  "!!str",
  '!!int "12"',
  "! 12",
  "!!float 1",
  "08",
  "1__0",
  "0.10",
  "1.0",
  "a#b",
  "a:b",
  "http://x/?a=b&c=d#e",
  "-a",
  "?a",
  ":a",
  "a{b}",
  "a'b\"c",
  "\\n",
  "<<a",
  "=",
  ".",
  "12:34:56",
  "12e03",
  "0xZZ",
];

/** Plain in YAML, yet neither text nor number nor null to docker: it refuses them in labels and the like, and takes them in `x-`. */
export const BARE_ELSEWHERE: readonly string[] = [
  "true",
  "False",
  "2024-01-01T12:00:00Z",
  "2024-01-01 12:00:00.5 +1",
  "!!binary aGVsbG8=",
  "!!timestamp 2024-01-01",
];

/** What docker refuses wherever it stands. */
export const BARE_REFUSED: readonly string[] = [
  "1e400",
  "+.inf",
  ".nan",
  "!!bool yes",
  "!!int a",
  "@a",
  "`a",
  "%a",
  "*",
];

/** The variables of one case, by what they are good for, and names that have no value. */
export class Variables {
  readonly values: ReadonlyMap<string, string>;
  readonly unset: readonly string[];
  readonly #kinds: ReadonlyMap<Kind, readonly string[]>;
  readonly #empty: readonly string[];
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
    const values = new Map<string, string>();
    const kinds = new Map<Kind, string[]>();
    const names = new Set<string>();
    const name = (): string => {
      for (;;) {
        const made = random.pick(NAMES) + random.pick(["", "", "_URL", "_2", "x", "_"]);
        if (!names.has(made)) {
          names.add(made);
          return made;
        }
      }
    };
    const give = (kind: Kind, value: string): void => {
      const given = name();
      values.set(given, value);
      kinds.set(kind, [...(kinds.get(kind) ?? []), given]);
    };
    for (const kind of ["word", "whole", "port", "size", "duration", "ratio", "switch"] as const) {
      for (let count = random.whole(1, 2); count > 0; count -= 1) give(kind, sample(kind, random));
    }
    for (let count = random.whole(2, 5); count > 0; count -= 1) give("odd", odd(random));
    const empty = [name()];
    for (const each of empty) values.set(each, "");
    this.values = values;
    this.#kinds = kinds;
    this.#empty = empty;
    this.unset = [name(), name()];
  }

  names(kind: Kind): readonly string[] {
    return this.#kinds.get(kind) ?? [];
  }

  /** A template that docker resolves to a valid value of this kind. */
  typed(kind: Kind): string {
    const random = this.#random;
    const name = random.pick(this.names(kind));
    const fallback = sample(kind, random);
    const missing = random.pick(this.unset);
    const empty = random.pick(this.#empty);
    return random.pick([
      `$${name}`,
      `\${${name}}`,
      `\${${name}:-${fallback}}`,
      `\${${name}-${fallback}}`,
      `\${${name}:?${random.pick(REASONS)}}`,
      `\${${name}?${random.pick(REASONS)}}`,
      `\${${missing}:-${fallback}}`,
      `\${${missing}-${fallback}}`,
      `\${${empty}:-${fallback}}`,
    ]);
  }

  /** Some text with anything in it that docker and we read in the same way. */
  text(): string {
    for (;;) {
      const made = Array.from({ length: this.#random.pick([1, 1, 2, 3, 4]) }, () => this.#piece()).join("");
      // A value that starts a known difference by chance belongs to the few cases that are made for that.
      if (!DIFFERENCES.some(({ recognises }) => recognises?.(made, this.values))) return made;
    }
  }

  #piece(): string {
    const random = this.#random;
    const any = random.pick([...this.values.keys()]);
    const missing = random.pick(this.unset);
    const empty = random.pick(this.#empty);
    const reason = random.pick(REASONS);
    const plain = (): string => escaped(literal(random));
    return random.pick([
      plain,
      plain,
      plain,
      () => "$$",
      () => `$${any}`,
      () => `\${${any}}`,
      () => `\${${any}:-${operand(random)}}`,
      () => `\${${any}-${operand(random)}}`,
      () => `\${${missing}:-${operand(random)}}`,
      () => `\${${missing}-${operand(random)}}`,
      () => `\${${empty}:-${operand(random)}}`,
      () => `\${${empty}-${operand(random)}}`,
      () => `\${${empty}?${reason}}`,
      () => `\${${random.pick(this.names("word"))}:?${reason}}`,
      () => `\${${any}?${reason}}`,
      () => `$${missing}`,
      () => `\${${missing}}`,
      () => `\${${empty}}`,
    ])();
  }

  /** A template that stops docker. */
  broken(): string {
    const random = this.#random;
    const missing = random.pick(this.unset);
    const empty = random.pick(this.#empty);
    return random.pick([
      `\${${missing}:?must be set}`,
      `\${${missing}?must be set}`,
      `\${${empty}:?}`,
      "$1",
      "${}",
      "a$",
      "$(command)",
      "${a.b}",
      "${ A }",
      "${A",
      "$ A",
      "${9A}",
      "${A:=b}",
    ]);
  }
}

const NAMES: readonly string[] = [
  "TAG",
  "VERSION",
  "HOST_NAME",
  "DOMAIN",
  "REGISTRY",
  "DB_PASSWORD",
  "lower_case",
  "_under",
  "MiXed9",
  "A",
  "b",
  "LONG_NAME_OF_A_VARIABLE_THAT_SOMEBODY_LIKED",
  "REPLICAS",
  "N1",
  "MEM",
];

const REASONS: readonly string[] = [
  "",
  "set it",
  "must be set",
  "Wo ist es, bitte? Es fehlt!",
  "why\nnot",
  "{it}".slice(0, 3),
];

/** A valid value of this kind, without a `}` or a `$`. */
export function sample(kind: Kind, random: Random): string {
  switch (kind) {
    case "word":
      return random.pick(["web", "v1.2.3", "latest", "example.com", "prod", "a_b-c", "1.27-alpine"]);
    case "whole":
      return random.pick(["0", "1", "2", "3", "12", "007", "+4"]);
    case "port":
      return random.pick(["80", "443", "5432", "08080", "65535"]);
    case "size":
      return random.pick(["64M", "1g", "512k", "1073741824", "1.5GiB", "100mb", "2 GB", "0"]);
    case "duration":
      return random.pick(["10s", "1m30s", "500ms", "1h", "0s", "1.5s", "0", "90m"]);
    case "ratio":
      return random.pick(["0", "0.2", "1", ".5", "1e-1", "0.30"]);
    case "switch":
      return random.pick(["true", "false", "yes", "NO", "On", "off", "y", "n"]);
    case "odd":
      return random.pick(ODD).replaceAll(/[$}]/g, "");
  }
}

function odd(random: Random): string {
  if (random.chance(0.01)) return "0123456789abcdef$".repeat(random.whole(500, 3_800)); // Up to 64 KiB.
  return random.chance(0.3) ? random.pick(ODD) + random.pick(ODD) : random.pick(ODD);
}

function literal(random: Random): string {
  if (random.chance(0.003)) return "long text ".repeat(random.whole(100, 6_500));
  if (random.chance(0.3))
    return random.pick([" ", "-", ".", "/", ":", "=", "a", "b c", "}", "{", "?", "+", "_", "0"]);
  return random.pick(ODD);
}

/** So that docker reads it as that text. */
function escaped(text: string): string {
  return text.replaceAll("$", "$$$$");
}

/** What can stand behind the operator of a default, the same to docker and to us. */
function operand(random: Random): string {
  const text = random.chance(0.1) ? "" : literal(random).replaceAll(/[$}]/g, "");
  return text.includes(":-") ? "d" : text;
}
