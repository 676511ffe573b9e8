import { describe, expect, test } from "@jest/globals";
import { describe as inWords } from "../../../src/errors.ts";
import { readEnvFile } from "../../../src/stack/env-file.ts";
import { scopeOf } from "../../../src/stack/template.ts";

interface Read {
  readonly values: readonly (readonly [string, string])[];
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
}

function read(content: string | Uint8Array, variables: Readonly<Record<string, string>> = {}): Read {
  const bytes = typeof content === "string" ? Buffer.from(content) : content;
  const scope = scopeOf([new Map(Object.entries(variables))], { GITHUB_TOKEN: "runner's", HOME: "/root" });
  const { values, problems, warnings } = readEnvFile(bytes, "app.env", scope);
  const texts = [...values].map(([name, { text }]): [string, string] => [name, text]);
  return { values: texts, problems: problems.map(inWords), warnings: warnings.map(inWords) };
}

const AS_IT_IS = "docker stack deploy takes everything behind the = as it is.";

describe("a line", () => {
  test.each<[string, string, [string, string][]]>([
    [
      "is a name and a value",
      "A=1\nB=2\n",
      [
        ["A", "1"],
        ["B", "2"],
      ],
    ],
    ["may be the last one without its end", "A=1", [["A", "1"]]],
    [
      "may end as on Windows",
      "A=1\r\nB=2\r\n",
      [
        ["A", "1"],
        ["B", "2"],
      ],
    ],
    ["may end as on Windows at the file's end, too", "A=1\r", [["A", "1"]]],
    ["ends nowhere else", "A=1\rB=2\u2028C=3\u0085D=4\fE", [["A", "1\rB=2\u2028C=3\u0085D=4\fE"]]],
    ["ends its name at the first equals sign", "A=b=c==", [["A", "b=c=="]]],
    ["may say that a value is empty", "A=", [["A", ""]]],
    [
      "may have blanks in front",
      "  A=1\n\t B=2",
      [
        ["A", "1"],
        ["B", "2"],
      ],
    ],
    [
      "may have any of Unicode's blanks in front",
      "\u00a0A=1\n\u0085B=2\n\u3000C=3",
      [
        ["A", "1"],
        ["B", "2"],
        ["C", "3"],
      ],
    ],
    ["without a word in it says nothing", "\n  \n\t\nA=1\n\n", [["A", "1"]]],
    ["that starts with # is a comment", "# A=1\n  # B=2\n#\nC=3", [["C", "3"]]],
    [
      "may have a # where it is no comment",
      "A=b#c\nB=#c\nC#D=1",
      [
        ["A", "b#c"],
        ["B", "#c"],
        ["C#D", "1"],
      ],
    ],
    [
      "may have any name that docker takes",
      "a.b-c=1\n1=2\n$X=3",
      [
        ["a.b-c", "1"],
        ["1", "2"],
        ["$X", "3"],
      ],
    ],
    ["may have blanks within its value", "A=b c\td", [["A", "b c\td"]]],
    ["keeps an escape as it is written", String.raw`A=b\nc\"`, [["A", String.raw`b\nc\"`]]],
    [
      "keeps a lone dollar and a doubled one",
      "A=$\nB=$$\nC=a$1${",
      [
        ["A", "$"],
        ["B", "$$"],
        ["C", "a$1${"],
      ],
    ],
    [
      "keeps a quote within its value",
      "A=it's\nB=5\"",
      [
        ["A", "it's"],
        ["B", '5"'],
      ],
    ],
    ["may hold any character", "A=\u00e9\u{1f600}\ufffd\u0000", [["A", "\u00e9\u{1f600}\ufffd\u0000"]]],
    ["may be named export, which is a name then", "export=1", [["export", "1"]]],
  ])("%s", (_fact, content, values) => {
    expect(read(content)).toEqual({ values, problems: [], warnings: [] });
  });

  test("that comes later has the last word on its name, and the first one keeps its place", () => {
    expect(read("A=1\nB=2\nA=3").values).toEqual([
      ["A", "3"],
      ["B", "2"],
    ]);
  });

  test("with a byte order mark in front is read without it", () => {
    expect(read("\ufeffA=1\nB=2")).toEqual({
      values: [
        ["A", "1"],
        ["B", "2"],
      ],
      problems: [],
      warnings: [],
    });
  });

  test("with a byte order mark in front that is not the file's first has it in its name", () => {
    expect(read("A=1\n\ufeffF=6")).toEqual({
      values: [
        ["A", "1"],
        ["\ufeffF", "6"],
      ],
      problems: [],
      warnings: [
        "app.env:2:1: A byte order mark stands in front of this name, and becomes part of it. Take it away: only the first of a file is none of its text.",
      ],
    });
  });

  test("with a byte order mark may be a comment", () => {
    expect(read("\ufeff# A=1")).toEqual({ values: [], problems: [], warnings: [] });
  });
});

test.each([
  ["an empty file", ""],
  ["one with comments only", "# nothing\n\n"],
])("%s has no values, and nothing is wrong with it", (_fact, content) => {
  expect(read(content)).toEqual({ values: [], problems: [], warnings: [] });
});

describe("a bare name", () => {
  test.each<[string, string, string]>([
    ["a variable", "A", "v"],
    ["an empty variable", "E", ""],
    ["the step's environment", "HOME", "/root"],
    ["a variable, behind blanks and before the end of a line on Windows", "  A\r\n", "v"],
  ])("takes its value from %s", (_fact, content, value) => {
    expect(read(content, { A: "v", E: "" })).toEqual({
      values: [[content.trim(), value]],
      problems: [],
      warnings: [],
    });
  });

  test("that names no variable is left out, with a warning at its place", () => {
    expect(read("A=1\n  NIL\nB=2")).toEqual({
      values: [
        ["A", "1"],
        ["B", "2"],
      ],
      problems: [],
      warnings: [
        "app.env:2:3: This line has no equals sign, and no variable of that name is defined: the service gets nothing from it. Write NAME=value. A value can't go on in the next line.",
      ],
    });
  });

  test("of a variable that belongs to the runner is left out, with a warning at its place", () => {
    expect(read("GITHUB_TOKEN")).toEqual({
      values: [],
      problems: [],
      warnings: [
        "app.env:1:1: This line has no equals sign, and no variable of that name is defined: the service gets nothing from it. Write NAME=value. A value can't go on in the next line.",
      ],
    });
  });

  test("of the runner's takes the value that the workflow gives it by that name", () => {
    expect(read("GITHUB_TOKEN", { GITHUB_TOKEN: "given" })).toEqual({
      values: [["GITHUB_TOKEN", "given"]],
      problems: [],
      warnings: [],
    });
  });
});

describe("what docker refuses is refused at its place", () => {
  const NO_NAME = "There is no name before the equals sign.";
  const EXPORT = 'Docker refuses "export" in an env file. Take the word away.';
  const BLANKS = "Docker refuses a name with blanks in it. Write NAME=value.";

  test.each([
    ["no name", "=x", `app.env:1:1: ${NO_NAME}`],
    ["no name, and no value either", "  =", `app.env:1:3: ${NO_NAME}`],
    ["export", "A=1\nexport B=2", `app.env:2:1: ${EXPORT}`],
    ["export and a tabulator", "\texport\tB=2", `app.env:1:2: ${EXPORT}`],
    ["export of a bare name", "export HOME", `app.env:1:1: ${EXPORT}`],
    ["a blank before the equals sign", "A =x", `app.env:1:1: ${BLANKS}`],
    ["a blank within a name", "A B=x", `app.env:1:1: ${BLANKS}`],
    ["a tabulator within a name", "A\tB=x", `app.env:1:1: ${BLANKS}`],
    ["a blank behind a bare name", "HOME ", `app.env:1:1: ${BLANKS}`],
    ["a name that only starts with export", "exported by=x", `app.env:1:1: ${BLANKS}`],
  ])("%s", (_fact, content, message) => {
    expect(read(content).problems).toEqual([message]);
    expect(read(content).warnings).toEqual([]);
  });

  test("and every mistake is told", () => {
    expect(read("=x\r\nexport A=1\r\n# fine\r\n B C=1\r\nD=1").problems).toEqual([
      `app.env:1:1: ${NO_NAME}`,
      `app.env:2:1: ${EXPORT}`,
      `app.env:4:2: ${BLANKS}`,
    ]);
  });

  test("a name with other blanks than these is one to docker", () => {
    expect(read("A\u00a0B=1")).toEqual({ values: [["A\u00a0B", "1"]], problems: [], warnings: [] });
  });
});

describe("bytes that are no UTF-8 are refused", () => {
  const bytes = (...parts: (string | number)[]): Uint8Array =>
    Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part) : Buffer.from([part]))));
  const NO_TEXT = "This line of the env file is no UTF-8 text.";

  test.each([
    ["in a value", bytes("A=1\nB=", 0xff, "\nC=3"), `app.env:2:1: ${NO_TEXT}`],
    ["behind blanks", bytes("  A=", 0xe9), `app.env:1:3: ${NO_TEXT}`],
    ["in a name", bytes("A", 0xc3, "=1"), `app.env:1:1: ${NO_TEXT}`],
    ["in a comment, which docker checks as well", bytes("# caf", 0xe9, "\nA=1"), `app.env:1:1: ${NO_TEXT}`],
    ["behind a byte order mark", bytes("\ufeffA=", 0xff), `app.env:1:1: ${NO_TEXT}`],
    ["of UTF-16", bytes(0xff, 0xfe, "A", 0, "=", 0, "1", 0), `app.env:1:1: ${NO_TEXT}`],
    ["of a character that is cut off", bytes("A=1\nB=", 0xe2, 0x82), `app.env:2:1: ${NO_TEXT}`],
  ])("%s", (_fact, content, message) => {
    expect(read(content).problems).toEqual([message]);
  });

  test("but the replacement character itself is a character", () => {
    expect(read("\ufeffA=\ufffd")).toEqual({ values: [["A", "\ufffd"]], problems: [], warnings: [] });
  });
});

describe("a line in the dialect of Compose is taken as docker takes it, with a warning at its value", () => {
  const QUOTES = "the quotes become part of the value.";
  const OPEN = "a quote opens here; a value can't go on in the next line.";
  const BOTH = "the quotes and the comment become part of the value.";
  const COMMENT = "what looks like a comment becomes part of the value.";
  const VARIABLES = "variables are not replaced here.";
  const BLANKS = "the blanks around the value become part of it.";

  test.each([
    ["double quotes", 'A="b c"', '"b c"', QUOTES],
    ["single quotes", "A='b'", "'b'", QUOTES],
    ["quotes around nothing", 'A=""', '""', QUOTES],
    ["quotes and blanks around them", "A= 'b' ", " 'b' ", QUOTES],
    ["quotes around a dollar", "A='$B'", "'$B'", QUOTES],
    ["quotes with others in between", `A="a'b"`, `"a'b"`, QUOTES],
    ["a quote that does not close", 'A="b', '"b', OPEN],
    ["a quote and nothing else", "A='", "'", OPEN],
    ["a quote that another one does not close", `A='b"`, `'b"`, OPEN],
    ["quotes and a comment", 'A="b" # c', '"b" # c', BOTH],
    ["a comment", "A=b # c", "b # c", COMMENT],
    ["a comment behind a tabulator", "A=b\t#c", "b\t#c", COMMENT],
    ["a comment and no value", "A= # c", " # c", COMMENT],
    ["a variable in braces, whether there is one or not", "A=a${NIL}", "a${NIL}", VARIABLES],
    ["a variable with a default", "A=${NIL:-b}", "${NIL:-b}", VARIABLES],
    ["a variable that is defined", "A=x$HOME/y", "x$HOME/y", VARIABLES],
    ["a variable that is defined, behind one that is not", "A=$NIL$HOME", "$NIL$HOME", VARIABLES],
    ["a blank in front", "A= b", " b", BLANKS],
    ["a blank at the end", "A=b ", "b ", BLANKS],
    ["a tabulator at the end", "A=b\t", "b\t", BLANKS],
  ])("%s", (_fact, content, value, why) => {
    expect(read(content)).toEqual({
      values: [["A", value]],
      problems: [],
      warnings: [`app.env:1:3: A: ${why} ${AS_IT_IS}`],
    });
  });

  test.each([
    ["the carriage return at the end of a line on Windows", "A=b\r\n"],
    ["a dollar before a name that is not defined: a hash has many", "A=$2y$10$NIL.abc"],
    ["a dollar before a blank", "A=a $ b"],
    ["quotes within the value", `A=say "x"`],
  ])("%s means the same to both", (_fact, content) => {
    expect(read(content).warnings).toEqual([]);
  });

  test("the warning counts lines and columns as an editor does", () => {
    expect(read("\ufeff# \u{1f600}\r\n\r\n  LONG_NAME='x'").warnings).toEqual([
      `app.env:3:13: LONG_NAME: ${QUOTES} ${AS_IT_IS}`,
    ]);
  });

  test("each line has its own", () => {
    expect(read("A='x'\nB=y\nC=z # c").warnings).toEqual([
      `app.env:1:3: A: ${QUOTES} ${AS_IT_IS}`,
      `app.env:3:3: C: ${COMMENT} ${AS_IT_IS}`,
    ]);
  });
});

test.each([
  ["in quotes", "A='hunter2'"],
  ["in quotes that don't close", 'A="hunter2'],
  ["with a comment", "A=hunter2 # hunter2"],
  ["in quotes, with a comment", "A='hunter2' # hunter2"],
  ["with a variable", "A=hunter2$HOME"],
  ["with a variable in braces", "A=hunter2${NIL:-hunter2}"],
  ["between blanks", "A= hunter2 "],
  ["behind no name", "=hunter2"],
  ["behind export", "export A=hunter2"],
  ["behind a blank", "A =hunter2"],
  ["with a byte that is no text", Buffer.from([...Buffer.from("A=hunter2"), 0xff])],
])("a value %s may be a secret, and is in no message", (_fact, content) => {
  const { problems, warnings } = read(content);
  expect(problems.length + warnings.length).toBe(1);
  expect([...problems, ...warnings].join()).not.toContain("hunter2");
});
