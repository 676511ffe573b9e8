import { describe, expect, test } from "@jest/globals";
import { interpolate, nearest } from "../../../src/stack/interpolate.ts";

const values = new Map([
  ["SET", "s"],
  ["EMPTY", ""],
  ["OTHER", "deep"],
  ["A1_b", "name"],
  ["REF", "$SET"],
]);
const lookup = (name: string): string | undefined => values.get(name);

describe("what a template becomes", () => {
  test.each([
    ["no dollar, no change", "plain {text}", "plain {text}"],
    ["a bare variable", "$SET", "s"],
    ["a braced variable", "${SET}", "s"],
    ["a name takes letters, digits and underscores", "$A1_b-x", "name-x"],
    ["a bare variable ends where its name ends", "img:$SET-alpine", "img:s-alpine"],
    ["an operator needs braces", "$SET:-x", "s:-x"],
    ["braces set a name apart", "${SET}SET", "sSET"],
    ["several in one value", "$SET/${SET}:$OTHER", "s/s:deep"],
    ["an empty value is a value", "[$EMPTY]", "[]"],
    ["two dollars are one", "$$SET $${SET} a$$", "$SET ${SET} a$"],
    ["three dollars are one and a variable", "$$$SET", "$s"],
    [":- replaces what is undefined", "${NONE:-d}", "d"],
    [":- replaces what is empty", "${EMPTY:-d}", "d"],
    [":- leaves a value", "${SET:-d}", "s"],
    ["- replaces what is undefined", "${NONE-d}", "d"],
    ["- leaves an empty value", "[${EMPTY-d}]", "[]"],
    ["a default may be empty", "[${NONE:-}${NONE-}]", "[]"],
    [":+ replaces a value", "${SET:+alt}", "alt"],
    [":+ gives nothing for what is empty", "[${EMPTY:+alt}]", "[]"],
    [":+ gives nothing for what is undefined", "[${NONE:+alt}]", "[]"],
    ["+ replaces an empty value", "${EMPTY+alt}", "alt"],
    ["+ gives nothing for what is undefined", "[${NONE+alt}]", "[]"],
    [":? leaves a value", "${SET:?why}", "s"],
    ["? leaves an empty value", "[${EMPTY?why}]", "[]"],
    ["a default may hold an operator's characters", "${NONE:-a:-b?c+d}", "a:-b?c+d"],
    ["a default may hold a URL", "${NONE:-http://h:80/?q=1}", "http://h:80/?q=1"],
    ["a default may hold line ends and quotes", "${NONE:-a\n\"b\"'c'}", "a\n\"b\"'c'"],
    ["a default may hold an opening brace", "${NONE:-{x}", "{x"],
    ["two dollars in a default are one", "${NONE:-a$$b}", "a$b"],
    ["a default may be a variable", "${NONE:-$SET}", "s"],
    ["defaults nest", "${NONE:-${NONE2:-${OTHER:-x}}}", "deep"],
    ["text stands around a nested default", "${NONE:-<${NONE2:-y}>}!", "<y>!"],
    ["alternatives nest", "${SET:+${EMPTY:-${OTHER}}}", "deep"],
    ["text after braces is text", "${SET}}", "s}"],
  ])("%s", (_fact, template, text) => {
    expect(interpolate(template, lookup)).toMatchObject({ text, unresolved: [] });
  });
});

describe("a value is never read again", () => {
  test.each([
    ["a variable in a value", "$SET"],
    ["braces in a value", "${SET:-x}"],
    ["doubled dollars", "$$"],
    ["the patterns of String.replace", "$& $1 $` $' $<a>"],
    ["a bcrypt digest", "$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"],
    ["lines", "-----BEGIN KEY-----\nabc\r\ndef\n"],
    ["emoji and other scripts", "🐳 日本 é"],
    ["braces that close", "a}b"],
    ["backslashes", "\\n \\$SET \\\\"],
    ["a NUL", "a\u0000b"],
  ])("%s", (_fact, value) => {
    const secret = (name: string): string | undefined => (name === "V" ? value : undefined);
    expect(interpolate("$V", secret).text).toBe(value);
    expect(interpolate("<${V}>", secret).text).toBe(`<${value}>`);
    expect(interpolate("${NONE:-${V}}", secret).text).toBe(value);
    expect(interpolate("${V:+${V}}", secret).text).toBe(value);
  });
});

describe("what can't be resolved", () => {
  test.each([
    ["an undefined variable", "a$NONE", [{ kind: "undefined", offset: 1, name: "NONE", why: "" }]],
    ["in braces", "ab${NONE}", [{ kind: "undefined", offset: 2, name: "NONE", why: "" }]],
    [
      "each one is listed",
      "$NONE ${NIL}",
      [
        { kind: "undefined", offset: 0, name: "NONE", why: "" },
        { kind: "undefined", offset: 6, name: "NIL", why: "" },
      ],
    ],
    ["in a default", "${NONE:-${NIL}}", [{ kind: "undefined", offset: 8, name: "NIL", why: "" }]],
    [
      "in an alternative that is taken",
      "${SET:+$NIL}",
      [{ kind: "undefined", offset: 7, name: "NIL", why: "" }],
    ],
    [
      ":? tells the author's words",
      "${NONE:?set it}",
      [{ kind: "required", offset: 0, name: "NONE", why: "set it" }],
    ],
    [
      ":? refuses an empty value",
      "${EMPTY:?set it}",
      [{ kind: "required", offset: 0, name: "EMPTY", why: "set it" }],
    ],
    ["? refuses what is undefined", "${NONE?}", [{ kind: "required", offset: 0, name: "NONE", why: "" }]],
    [
      "a dash in the words is no default",
      "${NONE:?must - be set}",
      [{ kind: "required", offset: 0, name: "NONE", why: "must - be set" }],
    ],
    [
      "a later variable does not make up for it",
      "${NONE:?boom}${SET}",
      [{ kind: "required", offset: 0, name: "NONE", why: "boom" }],
    ],
    [
      "the words may hold a variable",
      "${NONE:?see $OTHER}",
      [{ kind: "required", offset: 0, name: "NONE", why: "see deep" }],
    ],
    ["two dollars before it count", "$$${NONE}", [{ kind: "undefined", offset: 2, name: "NONE", why: "" }]],
    [
      "an emoji before it counts twice, as in JavaScript",
      "🐳$NONE",
      [{ kind: "undefined", offset: 2, name: "NONE", why: "" }],
    ],
  ])("%s", (_fact, template, unresolved) => {
    expect(interpolate(template, lookup).unresolved).toEqual(unresolved);
  });

  test.each([
    ["a dollar at the end", "a$", 1, "$"],
    ["a dollar before a blank", "a $ b", 2, "$ "],
    ["a digit", "$1", 0, "$1"],
    ["a command substitution", "$(SET)", 0, "$("],
    ["blanks in braces", "${ SET }", 0, "${ SET }"],
    ["empty braces", "${}", 0, "${}"],
    ["a dot in the name", "${a.b}", 0, "${a.b}"],
    ["a colon without operator", "${SET:x}", 0, "${SET:x}"],
    ["bash's own operators", "${SET//a/b}", 0, "${SET//a/b}"],
  ])("%s is malformed", (_fact, template, offset, name) => {
    expect(interpolate(template, lookup).unresolved).toEqual([{ kind: "malformed", offset, name, why: "" }]);
  });

  test.each([
    ["no operator", "x${SET", "${SET"],
    ["a default", "x${SET:-d", "${SET:-d"],
    ["a default that closes", "x${SET:-${NONE:-d}", "${SET:-${NONE:-d}"],
    ["a mistake within", "x${SET:-${}$1", "${SET:-${}$1"],
    ["much text behind", `x\${SET:-${"y".repeat(50)}`, `\${SET:-${"y".repeat(33)}…`],
  ])("braces that never close are one mistake, whatever they hold: %s", (_fact, template, name) => {
    expect(interpolate(template, lookup).unresolved).toEqual([
      { kind: "unclosed", offset: 1, name, why: "" },
    ]);
  });

  test("braces that open without end are read once, however many there are", () => {
    expect(interpolate("${A:-".repeat(20_000), lookup).unresolved).toMatchObject([{ kind: "unclosed" }]);
    expect(interpolate("${".repeat(20_000), lookup).unresolved).toMatchObject([{ kind: "unclosed" }]);
  });

  test("malformed text in a default is found though the default is not needed", () => {
    expect(interpolate("${SET:-${}}", lookup).unresolved).toMatchObject([{ kind: "malformed", offset: 7 }]);
  });

  test.each([
    ["${NONE:-a$}", "a$"],
    ["${NONE:-^[a-z]+$}", "^[a-z]+$"],
    ["${NONE:-$ 5}", "$ 5"],
    ["${NONE:-$1}", "$1"],
  ])("a dollar in a default that starts no variable is a dollar, as with docker: %s", (template, text) => {
    expect(interpolate(template, lookup)).toMatchObject({ text, unresolved: [] });
  });
});

describe("defaults are evaluated only where they are needed", () => {
  test.each([
    ["a value makes its default irrelevant", "${SET:-$NONE}"],
    ["also with -", "${EMPTY-${NONE:?never}}"],
    ["an alternative of nothing is not read", "${NONE:+$NIL}"],
    ["the words of a requirement that is met are not read", "${SET:?$NIL}"],
  ])("%s", (_fact, template) => {
    const asked: string[] = [];
    const { unresolved } = interpolate(template, (name) => {
      asked.push(name);
      return values.get(name);
    });
    expect(unresolved).toEqual([]);
    expect(asked).toHaveLength(1);
  });
});

test("a thousand levels of defaults are read, and no more", () => {
  const deep = (levels: number) => interpolate("${N:-".repeat(levels) + "x" + "}".repeat(levels), lookup);
  expect(deep(1000).text).toBe("x");
  expect(deep(1001).unresolved).toMatchObject([{ kind: "unclosed", offset: 0 }]);
  expect(deep(20_000).unresolved).toHaveLength(1);
});

describe("the name that was meant", () => {
  test.each([
    ["a letter too few", "VERSIN", "VERSION"],
    ["letters swapped", "REGISTRY_ULR", "REGISTRY_URL"],
    ["two neighbours of a short name swapped", "HOEM", "HOME"],
    ["two neighbours swapped at the start", "OHME", "HOME"],
    ["another case", "version", "VERSION"],
    ["far off", "PASSWORD", undefined],
    ["one letter, to which everything is near", "A", undefined],
    ["two letters", "HO", undefined],
    ["three", "HOM", "HOME"],
  ])("%s", (_fact, name, meant) => {
    expect(nearest(name, ["REGISTRY_URL", "VERSION", "HOME"])).toBe(meant);
  });
});
