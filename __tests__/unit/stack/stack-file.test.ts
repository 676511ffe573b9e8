import { readFileSync } from "node:fs";
import { describe, expect, test } from "@jest/globals";
import { type Problem, StackFileError, describe as inWords } from "../../../src/errors.ts";
import { parseStackFile, printStackFile } from "../../../src/stack/stack-file.ts";
import { resolveTemplate, scopeOf } from "../../../src/stack/template.ts";
import { type Node, clone, ensureMapping, entriesOf, get, isNull, textOf } from "../../../src/stack/tree.ts";

function stack(name: string): string {
  return readFileSync(`__tests__/stacks/${name}`, "utf8");
}

/** What the tree says, without places; a plain scalar shows without quotes. */
function plainly(node: Node | undefined): unknown {
  if (node === undefined) return undefined;
  if (node.kind === "scalar")
    return `${node.tag === undefined ? "" : `${node.tag} `}${node.plain ? node.text : JSON.stringify(node.text)}`;
  if (node.kind === "sequence") return node.items.map(plainly);
  return Object.fromEntries(
    node.entries.map((entry) => [`${entry.key.plain ? "" : "'"}${entry.key.text}`, plainly(entry.value)]),
  );
}

function mistakes(text: string): string[] {
  try {
    parseStackFile(text, "stack.yml");
    return [];
  } catch (error) {
    expect(error).toBeInstanceOf(StackFileError);
    return error instanceof StackFileError
      ? error.problems.map(({ message, place }) => `${place?.line}:${place?.column} ${message}`)
      : [];
  }
}

describe("aliases and merge keys", () => {
  const root = parseStackFile(stack("anchors.yml"), "stack.yml");

  test("an alias stands for what it names", () => {
    expect(plainly(get(root, "services", "web", "logging"))).toEqual({
      driver: "json-file",
      options: { "max-size": "10m", "max-file": '"3"' },
    });
  });

  test("a mapping's own key beats a merged one", () => {
    expect(plainly(get(root, "services", "web", "environment"))).toEqual({
      TZ: "Europe/Berlin",
      LOG_LEVEL: "debug",
    });
    expect(plainly(get(root, "services", "web", "deploy", "replicas"))).toBe("4");
  });

  test("the first of several merged mappings wins", () => {
    expect(plainly(get(root, "services", "worker", "deploy"))).toEqual({
      mode: "global",
      replicas: "2",
      update_config: { order: "start-first", delay: "5s", parallelism: "0" },
    });
    expect(plainly(parseStackFile("a: &a {x: 1}\nb: &b {x: 2, y: 3}\nc: {<<: [*a, *b]}", "f"))).toMatchObject(
      { c: { x: "1", y: "3" } },
    );
  });

  test("changing what an alias became does not change its anchor", () => {
    const text = parseStackFile("a: &a {x: 1}\nb: *a\nc: {<<: *a}", "f");
    const b = get(text, "b", "x");
    if (b?.kind === "scalar") b.text = "2";
    const c = get(text, "c", "x");
    if (c?.kind === "scalar") c.text = "3";
    expect(plainly(text)).toEqual({ a: { x: "1" }, b: { x: "2" }, c: { x: "3" } });
  });

  test("a quoted << is a key like any other", () => {
    expect(plainly(parseStackFile('a: {"<<": x}', "f"))).toEqual({ a: { "'<<": "x" } });
  });

  test.each([
    ["an alias without anchor", "a: *b", ["1:4 The alias *b names no anchor."]],
    ["an alias within its own anchor", "a: &a\n  b: *a", ["2:6 The alias *a contains itself."]],
    ["merging text", "a:\n  <<: x", ["2:7 A merge key (<<) takes a mapping or a list of mappings."]],
    [
      "merging a list with text in it",
      "a: &a {x: 1}\nb:\n  <<: [*a, y]",
      ["3:12 A merge key (<<) takes a mapping or a list of mappings."],
    ],
  ])("%s is a mistake at its place", (_fact, text, expected) => {
    expect(mistakes(text)).toEqual(expected);
  });

  test("a file that unfolds into millions of nodes is refused", () => {
    const levels = Array.from(
      { length: 9 },
      (_, level) =>
        `l${level + 1}: &l${level + 1} [${Array.from({ length: 10 }, () => `*l${level}`).join(", ")}]`,
    );
    expect(mistakes(["l0: &l0 [x, x]", ...levels].join("\n"))).toEqual([
      expect.stringContaining("unfold into more than 500000 nodes"),
    ]);
  });
});

describe("mistakes stand at their place", () => {
  test.each([
    [
      "a key given twice",
      "services:\n  web:\n    image: a\n    image: b",
      ['4:5 The key "image" is given twice in this mapping.'],
    ],
    ["a key given twice, once quoted", 'a: 1\n"a": 2', ['2:1 The key "a" is given twice in this mapping.']],
    [
      "every one of them",
      "a: 1\na: 2\nb: 1\nb: 2",
      [expect.stringContaining("2:1"), expect.stringContaining("4:1")],
    ],
    [
      "a service given twice",
      "services:\n  web: {}\n  db: {}\n  web: {}",
      ['4:3 The key "web" is given twice in this mapping.'],
    ],
    ["a list as key", "? [a]\n: b", ["1:3 A key is text, not a list or mapping."]],
    ["a list as file", "- a", ["1:1 A stack file is a mapping with services."]],
    ["text as file", "hello", ["1:1 A stack file is a mapping with services."]],
    ["an empty file", "", ["1:1 A stack file is a mapping with services."]],
    ["comments only", "# a\n", ["1:1 A stack file is a mapping with services."]],
    ["a tab", "services:\n\tweb: {}", [expect.stringMatching(/^2:1 .*[Tt]ab/)]],
    ["a flow mapping that never closes", "services: {web: {}\n", [expect.stringMatching(/^\d:\d+ /)]],
    ["an open quote", 'a: "b\n', [expect.stringMatching(/quote/)]],
    [
      "a lone half of a character",
      'a: "\\ud800"',
      ["1:4 This text has one half of a surrogate pair, which is no character."],
    ],
    ["a control character", "a: b\n# \u0007", ["2:3 The control character U+0007 is not allowed in YAML."]],
    [
      "more levels than anybody writes",
      `a: ${"[".repeat(300)}${"]".repeat(300)}`,
      expect.arrayContaining([expect.stringContaining("The YAML is nested deeper than 200 levels.")]),
    ],
    [
      "more levels than the parser can bear",
      "[".repeat(100_000),
      [expect.stringMatching(/^1:\d+ The nesting is too deep\.$/)],
    ],
  ])("%s", (_fact, text, expected) => {
    expect(mistakes(text)).toEqual(expected);
  });

  test("a syntax error is told once, not with its echoes", () => {
    expect(mistakes("a: [\nb: {\n c: ]")).toHaveLength(1);
  });

  test("a file with a byte order mark and Windows line ends keeps its places", () => {
    expect(mistakes("a: 1\r\nb: 2\r\na: 3\r\n")).toEqual(['3:1 The key "a" is given twice in this mapping.']);
    expect(plainly(parseStackFile("\uFEFFa: 1\r\nb: |\r\n  x\r\n", "f"))).toEqual({ a: "1", b: '"x\\n"' });
  });
});

describe("a spelling is kept", () => {
  const environment = plainly(
    get(parseStackFile(stack("spellings.yml"), "f"), "services", "web", "environment"),
  ) as Record<string, string>;

  test.each([
    ["OCTAL", "0123"],
    ["OCTAL_QUOTED", '"0123"'],
    ["HEX", "0x1F"],
    ["EXPONENT", "1e3"],
    ["FRACTION", "1.50"],
    ["UNDERSCORE", "1_000"],
    ["BASE60", "1:30"],
    ["BASE60_QUOTED", '"1:30"'],
    ["DATE", "2024-01-01"],
    ["YES", "yes"],
    ["NO_QUOTED", '"no"'],
    ["TILDE", "~"],
    ["NULL_WORD", "null"],
    ["NOTHING", ""],
    ["EMPTY", '""'],
    ["MULTI", "one two\nthree"],
    ["DOUBLE_MULTI", '"one two"'],
    ["LITERAL", '"line 1\\n  line 2\\n\\nline 3\\n"'],
    ["LITERAL_STRIP", "\"#!/bin/sh\\necho 'x: y'\""],
    ["LITERAL_KEEP", '"end\\n\\n"'],
    ["FOLDED", '"some words\\n"'],
    ["ESCAPES", '"a\\nb\\\\cé A"'],
    ["TAGGED", "tag:yaml.org,2002:str 12"],
  ])("%s", (name, spelling) => {
    expect(environment[name]).toBe(spelling);
  });

  test.each([
    ["", true],
    ["~", true],
    ["null", true],
    ["NULL", true],
    ['""', false],
    ["'null'", false],
    ["nil", false],
    ["!!str", false],
  ])("%j is nothing: %s", (text, expected) => {
    const value = get(parseStackFile(`a: ${text}`, "f"), "a");
    expect(value !== undefined && isNull(value)).toBe(expected);
  });
});

describe("printing", () => {
  test.each(["spellings.yml", "anchors.yml", "hyperf.yml", "everything.yml"])(
    "%s means the same when parsed again, with every $ doubled",
    (name) => {
      const root = parseStackFile(stack(name), "f");
      const again = parseStackFile(printStackFile(root), "f");
      const undoubled = JSON.parse(JSON.stringify(plainly(again)).replaceAll("$$", "$")) as unknown;
      expect(undoubled).toEqual(plainly(root));
    },
  );

  test("every $ of a value is doubled, and none of a key", () => {
    expect(printStackFile(parseStackFile("$a: $b $$ ${c}", "f"))).toBe("$a: $$b $$$$ $${c}\n");
    expect(printStackFile(parseStackFile('a: ["$b", $c]\n', "f"))).toBe('a:\n  - "$$b"\n  - $$c\n');
  });

  test("text stays on one line, whatever is in it", () => {
    const root = parseStackFile("a: |\n  one\n  two\n", "f");
    expect(printStackFile(root)).toBe('a: "one\\ntwo\\n"\n');
  });

  test.each([
    ["a delete character", "a\u007fb"],
    ["the next-line character, which older YAML takes for a line end", "a\u0085b"],
    ["the line and paragraph separators, too", "a\u2028b\u2029c"],
    ["a byte order mark in the middle", "a\uFEFFb"],
    ["control characters", "a\u0000\u0007\u001b\u009fb"],
    ["a carriage return", "a\rb"],
    ["trailing and leading blanks", " a "],
  ])("%s is escaped, since docker's YAML would change or refuse it", (_fact, value) => {
    const root = parseStackFile("a: x", "f");
    const node = get(root, "a");
    if (node?.kind === "scalar") Object.assign(node, { text: value, plain: false });
    const printed = printStackFile(root);
    expect(printed).toMatch(/^[\n\x20-\x7e]*$/);
    expect(textOf(get(parseStackFile(printed, "f"), "a"))).toBe(value);
  });

  test("a comment of ours stands behind its entry", () => {
    const root = parseStackFile("a: b\nc: [d]", "f");
    for (const node of [get(root, "a"), entriesOf(root)[1]?.value])
      Object.assign(node?.kind === "sequence" ? (node.items[0] ?? {}) : (node ?? {}), {
        comment: "set by us",
      });
    expect(printStackFile(root)).toBe("a: b # set by us\nc:\n  - d # set by us\n");
  });
});

describe("the tree", () => {
  test("a clone can be changed without changing the original", () => {
    const root = parseStackFile("a: {b: [c]}", "f");
    const copy = clone(root);
    const list = get(copy, "a", "b");
    if (list?.kind === "sequence") list.items.pop();
    expect(plainly(root)).toEqual({ a: { b: ["c"] } });
  });

  test.each([
    ["where there is none", "x: 1", true],
    ["where there is an empty value", "a:", true],
    ["where there is one", "a: {b: c}", true],
    ["not where there is something else", "a: [b]", false],
    ["not where there is text", "a: b", false],
  ])("a mapping is made: %s", (_fact, text, made) => {
    expect(ensureMapping(parseStackFile(text, "f"), "a")?.kind === "mapping").toBe(made);
  });
});

describe("odd spellings keep docker's reading", () => {
  test.each([
    ["a comment right behind a quote", 'a: "x"#c\nb: 1\n', ["x", "1"]],
    ["a block in which the file ends", "a: |\n  x", ["x"]],
    ["a folded block in which the file ends", "a: >\n  x\n  y", ["x y"]],
    ["a block with a line of blanks at its end", "a: |\n  x\n  ", ["x\n"]],
    ["binary content that is text", "a: !!binary JFNFVA==", ["$SET"]],
  ])("%s", (_fact, text, values) => {
    const root = parseStackFile(text, "f");
    expect(root.entries.map(({ value }) => textOf(value))).toEqual(values);
  });

  test("a variable in binary content is one", () => {
    const root = parseStackFile("a: !!binary JFNFVA==", "f");
    resolveTemplate(root, scopeOf([new Map([["SET", "s"]])], {}), true);
    expect(printStackFile(root)).toBe('a: "s"\n');
  });

  test("a tag that docker ignores is told", () => {
    const warnings: Problem[] = [];
    parseStackFile("a: !reset []\nb: &x !mine c\nd: *x\ne: !!str f\n", "f", warnings);
    expect(warnings.map(inWords)).toEqual([
      expect.stringContaining(
        "f:1:11: Docker ignores the tag !reset. Files are merged as docker stack deploy",
      ),
      "f:2:13: Docker ignores the tag !mine.",
    ]);
  });
});

describe("a quoted text may go on at the margin, as with docker", () => {
  test.each([
    ['services:\n  web:\n    command: "echo one\n    two"\n    x: $A\n', "echo one two", 5],
    ["services:\n  web:\n    command: 'it''s one\n\ntwo'\n    x: $A\n", "it's one\ntwo", 6],
    ['services:\n  web:\n    command: "a\\\n    \\"b"\n    x: $A\n', 'a"b', 5],
    ['services:\n  web:\n    command: "a\n\tb"\n    x: $A\n', "a b", 5],
  ])("%j", (text, command, line) => {
    const web = get(parseStackFile(text, "f"), "services", "web");
    expect(textOf(get(web, "command"))).toBe(command);
    const x = get(web, "x");
    expect(x?.place).toEqual({ file: "f", line, column: 8 });
    expect(x).toMatchObject({ dollars: [{ line, column: 8 }] });
  });

  test("in a list, whose other items keep their places", () => {
    const list = get(
      parseStackFile("entrypoint:\n  - sh\n  - '\n  echo a;\n  echo b\n  ' # why\n  - $A\n", "f"),
      "entrypoint",
    );
    const items = list?.kind === "sequence" ? list.items : [];
    expect(items.map(textOf)).toEqual(["sh", " echo a; echo b ", "$A"]);
    expect(items[2]?.place).toEqual({ file: "f", line: 7, column: 5 });
  });

  test("and what stands behind it in its last line keeps its column", () => {
    const list = get(parseStackFile('a: ["x\ny", "$B"]\n', "f"), "a");
    expect(list).toMatchObject({ items: [{ text: "x y" }, { place: { line: 2, column: 5 } }] });
  });
});

describe("a quote that does not close is found where it opens", () => {
  test.each([
    ['a: "x', "f:1:4"],
    ["a:\n  b: 'x\n  c: d\n", "f:2:6"],
    ['a: "x\nb: "y"\n', "f:1:4"],
  ])("%j", (text, place) => {
    expect(() => parseStackFile(text, "f")).toThrow(`${place}: The quote that opens here does not close.`);
  });
});
