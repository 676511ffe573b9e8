import { describe, expect, test } from "@jest/globals";
import { parseKeyValues } from "../../../src/inputs/key-values.ts";

function values(text: string): Record<string, string> {
  const parsed = parseKeyValues("variables", text);
  expect(parsed.problems).toEqual([]);
  return Object.fromEntries(parsed.values);
}

function problems(text: string): string[] {
  return parseKeyValues("secrets", text).problems.map(({ message }) => message);
}

describe("lines", () => {
  test.each([
    ["nothing", "", {}],
    ["a pair", "A=b", { A: "b" }],
    ["several, with blank lines and comments", "A=b\n\n# no\n  # no\nC=d\n", { A: "b", C: "d" }],
    ["an end further in than its block is part of the value", "A<<EOF\n  EOF\nEOF", { A: "  EOF" }],
    ["the carriage returns of a value", "A<<EOF\nb\r\nc\nEOF", { A: "b\r\nc" }],
    ["Windows line ends", "A=b\r\nC=d\r\n", { A: "b", C: "d" }],
    ["indented lines", "  A=b\n\tC=d", { A: "b", C: "d" }],
    ["blanks around the sign", "A = b", { A: "b" }],
    ["an empty value", "A=", { A: "" }],
    ["equals signs in a value", "A=b=c==", { A: "b=c==" }],
    ["<< in a value", "A=1<<2", { A: "1<<2" }],
    ["dollars stay", "A=$2b$10$x ${B} $$", { A: "$2b$10$x ${B} $$" }],
    ["a comment behind a value", "A=b # why", { A: "b" }],
    ["a number sign inside a value", "A=b#c", { A: "b#c" }],
    ["a value of a number sign", "A=#1", { A: "#1" }],
    ["single quotes keep everything", "A=' b # \\n $X '", { A: " b # \\n $X " }],
    ["double quotes know escapes", String.raw`A="a\nb\t\"c\"\\d\q # e"`, { A: 'a\nb\t"c"\\d\\q # e' }],
    ["a comment behind quotes", "A='b' # why", { A: "b" }],
    ["quotes inside a value", `A=it's "so"`, { A: `it's "so"` }],
    ["emoji", "A=🐳", { A: "🐳" }],
  ])("%s", (_fact, text, expected) => {
    expect(values(text)).toEqual(expected);
  });

  test.each([
    ["a line without a sign", "A", ['"secrets", line 1: expected KEY=value, KEY<<EOF or a comment.']],
    ["a name that is none", "1A=b", ['"secrets", line 1: expected KEY=value, KEY<<EOF or a comment.']],
    ["export", "A=b\nexport B=c", ['"secrets", line 2: expected KEY=value, KEY<<EOF or a comment.']],
    ["a name given twice", "A=b\nA=c", ['"secrets", line 2: A is given twice.']],
    [
      "an open single quote",
      "A='b",
      ['"secrets", line 1: the quotes of A don\'t close, or text follows them.'],
    ],
    [
      "an open double quote",
      'A="b\\"',
      ['"secrets", line 1: the quotes of A don\'t close, or text follows them.'],
    ],
    [
      "text behind quotes",
      "A='b'c",
      ['"secrets", line 1: the quotes of A don\'t close, or text follows them.'],
    ],
    [
      "every bad line is named",
      "x\ny",
      [expect.stringContaining("line 1"), expect.stringContaining("line 2")],
    ],
  ])("%s is a problem", (_fact, text, expected) => {
    expect(problems(text)).toEqual(expected);
  });
});

describe("blocks", () => {
  test.each([
    ["a block", "A<<EOF\nb\nc\nEOF", { A: "b\nc" }],
    [
      "a block keeps blanks, quotes, comments and pairs",
      "A<<X\n  'b' # c\n\nD=e\nX\nF=g",
      { A: "  'b' # c\n\nD=e", F: "g" },
    ],
    ["an empty block", "A<<EOF\nEOF", { A: "" }],
    ["an indented end", "  A<<EOF\n  b\n  EOF", { A: "  b" }],
    ["the end of an earlier block is not its own", "A<<E\n1\nE\nB<<E\n2\nE", { A: "1", B: "2" }],
    ["an end further in than its block is part of the value", "A<<EOF\n  EOF\nEOF", { A: "  EOF" }],
    ["the carriage returns of a value", "A<<EOF\nb\r\nc\nEOF", { A: "b\r\nc" }],
    ["Windows line ends", "A<<EOF\r\nb\r\nEOF\r\n", { A: "b" }],
  ])("%s", (_fact, text, expected) => {
    expect(values(text)).toEqual(expected);
  });

  test.each([
    ["a word", "A=1\nB<<EOF\nsecret"],
    ["what may be the value itself", "A=1\nB<<hunter2"],
    ["what may be the value itself, behind three signs", "A=1\nB<<<hunter2"],
  ])("a block that never ends is named by its first line, without %s behind the <<", (_fact, text) => {
    expect(problems(text)).toEqual(['"secrets", line 2: the block of B has no closing line.']);
  });

  test("a block needs a word to end with", () => {
    expect(problems("A<<\nb")).toHaveLength(1);
  });
});

describe("a JSON object", () => {
  test.each([
    ["texts", '{"A": "b", "C": "d\\ne"}', { A: "b", C: "d\ne" }],
    ["numbers and booleans", '{"A": 1.5, "B": true}', { A: "1.5", B: "true" }],
    [
      "numbers as they are written",
      '{"A": 1.50, "B": 12345678901234567890, "C": 1e400, "D":-0}',
      { A: "1.50", B: "12345678901234567890", C: "1e400", D: "-0" },
    ],
    ["names and texts with escapes", '{"\\u0041": "\\"x\\": {[,]}", "B" : "}"}', { A: '"x": {[,]}', B: "}" }],
    ["over several lines, as toJSON prints it", '{\n  "A": "b"\n}\n', { A: "b" }],
    ["an empty one", "{}", {}],
  ])("%s", (_fact, text, expected) => {
    expect(values(text)).toEqual(expected);
  });

  test.each([
    [
      "a value that is no text",
      '{"A": null, "B": ["x"]}',
      [expect.stringContaining("A is neither"), expect.stringContaining("B is neither")],
    ],
    ["a name that is none", '{"a-b": "x"}', [expect.stringContaining('"a-b" is no variable name')]],
    ["broken JSON", '{"A": ', ['"secrets", line 1: this starts like JSON but is none.']],
    [
      "JSON that breaks in a later line",
      '{\n  "A": "b",\n  "C": hunter2\n}',
      ['"secrets", line 3: this starts like JSON but is none.'],
    ],
    [
      "JSON that ends too early",
      '{\n  "A": "b",\n  "C": "d"\n',
      ['"secrets", line 3: this starts like JSON but is none.'],
    ],
    [
      "a name given twice",
      '{\n  "A": "b",\n  "\\u0041": "hunter2"\n}',
      ['"secrets", line 3: A is given twice.'],
    ],
    [
      "what is no text, and what stands within",
      '{"A": [{"B": "x"}], "C": {"D": [1, 2]}}',
      [expect.stringContaining("A is neither"), expect.stringContaining("C is neither")],
    ],
    ["a comma too many", '{\n  "A": "b",\n}', ['"secrets", line 3: this starts like JSON but is none.']],
    [
      "a string that breaks off",
      '{\n  "A": "b,\n  "C": "d"\n}',
      ['"secrets", line 2: this starts like JSON but is none.'],
    ],
    [
      "a value that is no text, at its line",
      '{\n  "A": "\\"B\\": x",\n  "B": null\n}',
      ['"secrets", line 3: the value of B is neither text, number nor boolean.'],
    ],
    ["a NUL", String.raw`{"A": "a\u0000b"}`, [expect.stringContaining("line 1: the value of A holds a NUL")]],
    ["half of a character", String.raw`{"A": "\ud83d"}`, [expect.stringContaining("half of a character")]],
  ])("%s is a problem", (_fact, text, expected) => {
    expect(problems(text)).toEqual(expected);
  });
});

test.each([
  ["a line", "hunter2 hunter2"],
  ["open quotes", "A='hunter2"],
  ["a doubled key", "A=hunter2\nA=hunter2"],
  ["an open block", "A<<EOF\nhunter2"],
  ["broken JSON", '{"A": "hunter2"'],
  ["a nested value", '{"A": {"b": "hunter2"}}'],
])("no problem quotes a value: %s", (_fact, text) => {
  expect(JSON.stringify(parseKeyValues("secrets", text).problems)).not.toContain("hunter2");
  expect(problems(text)).not.toEqual([]);
});
