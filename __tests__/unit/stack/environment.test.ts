import { describe, expect, test } from "@jest/globals";
import { describe as inWords } from "../../../src/errors.ts";
import { resolveEnvironment, tellBareNames } from "../../../src/stack/environment.ts";
import { parseStackFile, printStackFile } from "../../../src/stack/stack-file.ts";
import { type Findings, scopeOf } from "../../../src/stack/template.ts";
import { type Node, entriesOf, get, isNull } from "../../../src/stack/tree.ts";

const VARIABLES: Readonly<Record<string, string>> = {
  TAG: "v1",
  N: "3",
  EMPTY: "",
  PASSWORD: "hunter2",
  DOLLARS: "$2y$10$TAG",
};
const STEP: Readonly<Record<string, string>> = { FROM_STEP: "step", GITHUB_TOKEN: "runner's", TAG: "step" };

interface Given {
  readonly variables?: Readonly<Record<string, string>>;
  readonly files?: Readonly<Record<string, string | Uint8Array>>;
  readonly folder?: string;
}

interface Resolved {
  /** The environment of the service web, `NAME=value` or a bare `NAME`; undefined without one. */
  readonly lines: string[] | undefined;
  readonly printed: string;
  readonly asked: string[];
  readonly problems: string[];
  readonly warnings: string[];
}

/** Keys of the service web, one a line. */
function resolve(service: string, given: Given = {}): Resolved {
  const { variables = VARIABLES, files = {}, folder = "" } = given;
  const lines = service.split("\n").map((line) => `    ${line}\n`);
  const root = parseStackFile(`services:\n  web:\n${lines.join("")}`, "stack.yml");
  const findings: Findings = { problems: [], warnings: [] };
  const asked: string[] = [];
  const read = (path: string): Uint8Array | undefined => {
    asked.push(path);
    const content = files[path];
    return typeof content === "string" ? Buffer.from(content) : content;
  };
  resolveEnvironment(
    root,
    scopeOf([new Map(Object.entries(variables))], STEP),
    folder,
    new Set(),
    read,
    findings,
  );
  tellBareNames(root, findings);
  return {
    lines: linesOf(get(root, "services", "web", "environment")),
    printed: printStackFile(root),
    asked,
    problems: findings.problems.map(inWords),
    warnings: findings.warnings.map(inWords),
  };
}

function linesOf(environment: Node | undefined): string[] | undefined {
  if (environment?.kind === "sequence")
    return environment.items.map((item) => (item.kind === "scalar" ? item.text : `a ${item.kind}`));
  if (environment?.kind !== "mapping") return undefined;
  return entriesOf(environment).map(({ key, value }) => {
    if (value.kind !== "scalar") return `${key.text}=a ${value.kind}`;
    return isNull(value) ? key.text : `${key.text}=${value.text}`;
  });
}

describe("an entry without a value", () => {
  test.each([
    ["in a list", "environment: [TAG, FROM_STEP, A=b]", ["TAG=v1", "FROM_STEP=step", "A=b"]],
    ["in a mapping", "environment: {TAG: , PASSWORD: ~, A: b}", ["TAG=v1", "PASSWORD=hunter2", "A=b"]],
    ["in a mapping, spelled out", "environment: {TAG: null, N: Null}", ["TAG=v1", "N=3"]],
    ["empty in a list, where the variable is", "environment: [EMPTY]", ["EMPTY="]],
    ["empty in a mapping, where the variable is", "environment: {EMPTY: }", ["EMPTY="]],
    ["in quotes in a list", "environment: ['TAG']", ["TAG=v1"]],
  ])("takes it from the scope: %s", (_fact, service, lines) => {
    expect(resolve(service)).toMatchObject({ lines, problems: [], warnings: [] });
  });

  test("gets text, which no YAML reads as a number or as nothing", () => {
    const { printed } = resolve("environment: {N: , EMPTY: }");
    expect(printed).toContain(
      '      N: "3" # from the variable N\n      EMPTY: "" # from the variable EMPTY\n',
    );
    expect(resolve("environment: [N]").printed).toContain('- "N=3" # from');
  });

  test("gets a value that docker substitutes nothing in", () => {
    const { lines, printed } = resolve("environment: {DOLLARS: }");
    expect(lines).toEqual(["DOLLARS=$2y$10$TAG"]);
    expect(printed).toContain('DOLLARS: "$$2y$$10$$TAG" # from');
  });

  test.each([
    ["a list", "environment: [A=b, NIL]", ["A=b", "NIL"], "stack.yml:3:24"],
    ["a mapping", "environment: {A: b, NIL: }", ["A=b", "NIL"], "stack.yml:3:25"],
    ["a block", "environment:\n  A: b\n  NIL:", ["A=b", "NIL"], "stack.yml:5:7"],
  ])(
    "and without a variable of its name stays as it is in %s, with a warning at its place",
    (_fact, service, lines, place) => {
      expect(resolve(service)).toMatchObject({
        lines,
        problems: [],
        warnings: [
          `${place}: NIL has no value here, and no variable of that name is defined: the service does not get it. Give it in "variables" or "secrets".`,
        ],
      });
    },
  );

  test.each([
    ["a list", "environment: [GITHUB_TOKEN]", "stack.yml:3:19"],
    ["a mapping", "environment: {GITHUB_TOKEN: }", "stack.yml:3:19"],
    ["a block", "environment:\n  GITHUB_TOKEN:", "stack.yml:4:7"],
    ["a block list", "environment:\n  - GITHUB_TOKEN", "stack.yml:4:9"],
  ])(
    "of the runner's own credentials is refused in %s: docker would look it up in its own environment",
    (_fact, service, place) => {
      const { problems, warnings } = resolve(service);
      expect(problems).toEqual([
        `${place}: The variable GITHUB_TOKEN belongs to the runner, and no service gets it. If the service needs a value of this name, give it in "secrets".`,
      ]);
      expect(warnings).toEqual([]);
    },
  );

  test.each(["INPUT_PASSWORD", "STATE_X", "ACTIONS_RUNTIME_TOKEN", "SSH_AUTH_SOCK", "GITHUB_ENV"])(
    "is refused where its name is %s",
    (name) => {
      expect(resolve(`environment: [${name}]`).problems).toHaveLength(1);
    },
  );

  test("of a hidden name takes what the workflow gives by that name", () => {
    expect(resolve("environment: [GITHUB_TOKEN]", { variables: { GITHUB_TOKEN: "given" } })).toMatchObject({
      lines: ["GITHUB_TOKEN=given"],
      problems: [],
      warnings: [],
    });
  });
});

describe("an empty text", () => {
  test.each([
    ["in a list", "environment: [N=]", "N=3", "N", "stack.yml:3:19"],
    ["in a list, as one of many", "environment: [A=b, N=]", "N=3", "N", "stack.yml:3:24"],
    ["in a mapping", 'environment: {N: ""}', "N=3", "N", "stack.yml:3:19"],
    [
      "in a mapping, in single quotes",
      "environment: {FROM_STEP: ''}",
      "FROM_STEP=step",
      "FROM_STEP",
      "stack.yml:3:19",
    ],
  ])(
    "takes the value of a variable of its name, as docker does it, with a warning at its place: %s",
    (_fact, service, line, name, place) => {
      const { lines, problems, warnings } = resolve(service);
      expect(lines).toContain(line);
      expect(problems).toEqual([]);
      expect(warnings).toEqual([
        `${place}: ${name} is empty here, and takes the value of the variable ${name}, as docker does it. Define no variable of that name where it has to stay empty.`,
      ]);
    },
  );

  test.each([
    ["there is no variable of its name, in a list", "environment: [NIL=]", ["NIL="]],
    ["there is no variable of its name, in a mapping", 'environment: {NIL: ""}', ["NIL="]],
    ["the variable is empty, too, in a list", "environment: [EMPTY=]", ["EMPTY="]],
    ["the variable is empty, too, in a mapping", 'environment: {EMPTY: ""}', ["EMPTY="]],
    ["the variable is the runner's", 'environment: {GITHUB_TOKEN: ""}', ["GITHUB_TOKEN="]],
  ])("stays where %s", (_fact, service, lines) => {
    expect(resolve(service)).toMatchObject({ lines, problems: [], warnings: [] });
  });
});

describe("what has a value keeps it, whatever the variables say", () => {
  test.each([
    ["in a list", "environment: [TAG=x, N= , A=b=c]", ["TAG=x", "N=", "A=b=c"]],
    ["in a mapping", "environment: {TAG: x, N: 0, NIL: false}", ["TAG=x", "N=0", "NIL=false"]],
    ["of blanks", "environment: {TAG: ' '}", ["TAG= "]],
    ["that looks like a name in another's value", "environment: [A=TAG, B==]", ["A=TAG", "B=="]],
    ["that is the word null in quotes", "environment: {TAG: 'null', N: '~'}", ["TAG=null", "N=~"]],
  ])("%s", (_fact, service, lines) => {
    const { lines: kept, problems, warnings } = resolve(service, { variables: { TAG: "v1", A: "x" } });
    expect(kept).toEqual(lines);
    expect({ problems, warnings }).toEqual({ problems: [], warnings: [] });
  });

  test.each([
    ["a list in a mapping", "environment: {TAG: [a]}", ["TAG=a sequence"]],
    ["a mapping in a list", "environment: [{TAG: }]", ["a mapping"]],
    ["text", "environment: TAG", undefined],
    ["nothing", "environment:", undefined],
  ])("%s is docker's to judge", (_fact, service, lines) => {
    expect(resolve(service)).toMatchObject({ lines, problems: [], warnings: [] });
  });
});

test("every service has its turn", () => {
  const root = parseStackFile(
    "services:\n  a: {environment: [TAG]}\n  b: {environment: {N: }}\n  c: text\n  d:\n",
    "stack.yml",
  );
  const findings: Findings = { problems: [], warnings: [] };
  resolveEnvironment(
    root,
    scopeOf([new Map(Object.entries(VARIABLES))], {}),
    "",
    new Set(),
    () => undefined,
    findings,
  );
  expect(printStackFile(root)).toContain('- "TAG=v1" # from the variable TAG\n');
  expect(printStackFile(root)).toContain('N: "3" # from the variable N\n');
  expect(findings).toEqual({ problems: [], warnings: [] });
});

describe("an env file", () => {
  const files = { ".env": "A=1\nB=2\n", "b.env": "B=3\nC=4\n", "empty.env": "# nothing\n" };

  test.each([
    ["by its path", "env_file: .env", ["A=1", "B=2"]],
    ["in a list of one", "env_file: [.env]", ["A=1", "B=2"]],
    ["as an object", "env_file: [{path: .env}]", ["A=1", "B=2"]],
    ["as an object without a list", "env_file: {path: .env}", ["A=1", "B=2"]],
    ["in docker's own format by name", "env_file: [{path: .env, format: raw}]", ["A=1", "B=2"]],
    ["that is required by name", "env_file: [{path: .env, required: true}]", ["A=1", "B=2"]],
    ["that is not required, and there", "env_file: [{path: .env, required: false}]", ["A=1", "B=2"]],
    ["with others", "env_file: [.env, b.env]", ["A=1", "B=3", "C=4"]],
    ["with others in the other order", "env_file: [b.env, .env]", ["B=2", "C=4", "A=1"]],
    ["with others of either spelling", "env_file: [.env, {path: b.env}]", ["A=1", "B=3", "C=4"]],
    ["beside an empty mapping", "env_file: .env\nenvironment: {}", ["A=1", "B=2"]],
    ["beside an empty list", "env_file: .env\nenvironment: []", ["A=1", "B=2"]],
    ["beside nothing", "env_file: .env\nenvironment:", ["A=1", "B=2"]],
    ["without values", "env_file: empty.env", undefined],
    ["without values, with others", "env_file: [empty.env, b.env]", ["B=3", "C=4"]],
    ["that is no file at all in an empty list", "env_file: []", undefined],
  ])("%s becomes environment", (_fact, service, lines) => {
    const resolved = resolve(service, { files });
    expect(resolved).toMatchObject({ lines, problems: [], warnings: [] });
    expect(resolved.printed).not.toContain("env_file");
  });

  test.each([
    ["a mapping", "env_file: .env\nenvironment: {B: x, D: y}", ["A=1", "B=x", "D=y"]],
    ["a list", "env_file: .env\nenvironment: [B=x, D=y]", ["A=1", "B=x", "D=y"]],
    ["a mapping, above two files", "env_file: [.env, b.env]\nenvironment: {B: x}", ["A=1", "C=4", "B=x"]],
    ["a list, above two files", "env_file: [.env, b.env]\nenvironment: [B=x]", ["A=1", "C=4", "B=x"]],
    ["a list with an equals sign in a value", "env_file: .env\nenvironment: [B=A=x]", ["A=1", "B=A=x"]],
  ])("stands below what environment says itself in %s", (_fact, service, lines) => {
    expect(resolve(service, { files })).toMatchObject({ lines, problems: [], warnings: [] });
  });

  test.each([
    ["a mapping", "environment: {B: x}"],
    ["a list", "environment: [B=x]"],
  ])("may have more names than a call has arguments, above %s", (_fact, environment) => {
    const names = Array.from({ length: 150_000 }, (_, n) => `A${n}=1`).join("\n");
    const { lines, problems } = resolve(`env_file: .env\n${environment}`, { files: { ".env": names } });
    expect([lines?.length, lines?.at(-1), problems]).toEqual([150_001, "B=x", []]);
  });

  test("may have more mistakes than a call has arguments", () => {
    const { problems } = resolve("env_file: .env", { files: { ".env": "=x\n".repeat(150_000) } });
    expect(problems).toHaveLength(150_000);
  });

  test.each([
    ["a bare name in a list", "env_file: .env\nenvironment: [TAG]", ["A=1", "TAG=v1"]],
    ["a bare name in a mapping", "env_file: .env\nenvironment: {TAG: }", ["A=1", "TAG=v1"]],
  ])("stands below a variable that environment names: %s", (_fact, service, lines) => {
    expect(resolve(service, { files: { ".env": "A=1\nTAG=file" } })).toMatchObject({
      lines,
      problems: [],
      warnings: [],
    });
  });

  test.each([
    ["a list", "env_file: .env\nenvironment: [NIL]", ["A=1", "NIL"]],
    ["a mapping", "env_file: .env\nenvironment: {NIL: }", ["A=1", "NIL"]],
  ])(
    "does not fill what environment leaves without a value in %s, as with docker",
    (_fact, service, lines) => {
      const resolved = resolve(service, { files: { ".env": "A=1\nNIL=file" } });
      expect(resolved.lines).toEqual(lines);
      expect(resolved.warnings).toEqual([
        expect.stringContaining("NIL has no value here, and no variable of that name is defined"),
      ]);
    },
  );

  test("takes the value of a variable where it gives an empty one, as docker does it, with a warning", () => {
    expect(resolve("env_file: .env", { files: { ".env": "N=\nNIL=\n" } })).toMatchObject({
      lines: ["N=3", "NIL="],
      problems: [],
      warnings: [
        ".env:1:1: N is empty here, and takes the value of the variable N, as docker does it. Define no variable of that name where it has to stay empty.",
      ],
    });
  });

  test("takes the value of a variable for a bare name", () => {
    expect(resolve("env_file: .env", { files: { ".env": "TAG\nFROM_STEP\nEMPTY\n" } })).toMatchObject({
      lines: ["TAG=v1", "FROM_STEP=step", "EMPTY="],
      problems: [],
      warnings: [],
    });
  });

  test("leaves a mark behind each value that says where it comes from", () => {
    expect(resolve("env_file: [conf/.env, b.env]", { files: { ...files, "conf/.env": "A=1" } }).printed).toBe(
      [
        "services:",
        "  web:",
        "    environment:",
        '      "A": "1" # from conf/.env',
        '      "B": "3" # from b.env',
        '      "C": "4" # from b.env',
        "",
      ].join("\n"),
    );
  });

  test("leaves a mark in a list, too", () => {
    expect(resolve("env_file: .env\nenvironment: [X=y]", { files }).printed).toBe(
      [
        "services:",
        "  web:",
        "    environment:",
        '      - "A=1" # from .env',
        '      - "B=2" # from .env',
        "      - X=y",
        "",
      ].join("\n"),
    );
  });

  test("gives names and values that YAML reads as text, and docker substitutes nothing in", () => {
    const { lines, printed } = resolve("env_file: .env", {
      files: { ".env": "A=$2y$10$x\nB=yes\nC=0123\nD=a\\nb" },
    });
    expect(lines).toEqual(["A=$2y$10$x", "B=yes", "C=0123", String.raw`D=a\nb`]);
    expect(printed).toContain('"A": "$$2y$$10$$x" #');
    expect(printed).toContain('"B": "yes" #');
    expect(printed).toContain('"C": "0123" #');
    expect(printed).toContain(String.raw`"D": "a\\nb" #`);
  });

  test("is asked for by the path that the stack file has", () => {
    expect(resolve("env_file: [.env, ./b.env, /etc/c.env]").asked).toEqual([".env", "./b.env", "/etc/c.env"]);
  });
});

describe("an env file that can't be read", () => {
  test.each([
    ["by its path", "env_file: no.env", "stack.yml:3:15"],
    ["in a list", "env_file: [.env, no.env]", "stack.yml:3:22"],
    ["as an object", "env_file: [{path: no.env}]", "stack.yml:3:16"],
    ["as an object that requires it", "env_file: [{path: no.env, required: true}]", "stack.yml:3:16"],
    ["in a block", "env_file:\n  - .env\n  - path: no.env", "stack.yml:5:9"],
  ])("stops the deployment at its place: %s", (_fact, service, place) => {
    const { problems, warnings } = resolve(service, { files: { ".env": "A=1" } });
    expect(problems).toEqual([
      `${place}: The env file "no.env" of service web can't be read. Its path starts at the folder of the first stack file.`,
    ]);
    expect(warnings).toEqual([]);
  });

  test.each([
    ["plain", "required: false"],
    ["in quotes", 'required: "false"'],
  ])("and is not required is a warning at its place: %s", (_fact, required) => {
    const service = `env_file: [{path: no.env, ${required}}, .env]`;
    expect(resolve(service, { files: { ".env": "A=1" } })).toMatchObject({
      lines: ["A=1"],
      problems: [],
      warnings: [
        'stack.yml:3:16: The env file "no.env" of service web can\'t be read; the service gets nothing from it, since it is not required.',
      ],
    });
  });

  test("does not hide another one", () => {
    expect(resolve("env_file: [a.env, b.env]").problems).toEqual([
      expect.stringContaining('3:16: The env file "a.env"'),
      expect.stringContaining('3:23: The env file "b.env"'),
    ]);
  });
});

test.each([
  ["nothing", "env_file:", "stack.yml:3:14"],
  ["an object that has none", "env_file: [{required: false}]", "stack.yml:3:16"],
  ["an object whose path is empty", "env_file: [{path: }]", "stack.yml:3:16"],
  ["a list in a list", "env_file: [[.env]]", "stack.yml:3:16"],
])("an env_file without a path is refused at its place: %s", (_fact, service, place) => {
  const { problems, asked } = resolve(service);
  expect(problems).toEqual([`${place}: Service web has an env_file without a path.`]);
  expect(asked).toEqual([]);
});

describe("what is wrong in an env file is told at its place there", () => {
  const files = { "conf/a.env": "A=1\n=x\nB='y'\n", "/etc/b.env": "export C=1" };

  test.each([
    ["of a stack file in the root", "", "conf/a.env"],
    ["of a stack file in a folder", "deploy/", "deploy/conf/a.env"],
  ])("%s", (_fact, folder, path) => {
    const { problems, warnings } = resolve("env_file: conf/a.env", { files, folder });
    expect(problems).toEqual([`${path}:2:1: There is no name before the equals sign.`]);
    expect(warnings).toEqual([
      expect.stringContaining(`${path}:3:3: B: the quotes become part of the value.`),
    ]);
  });

  test("whose path is absolute", () => {
    expect(resolve("env_file: /etc/b.env", { files, folder: "deploy/" }).problems).toEqual([
      '/etc/b.env:1:1: Docker refuses "export" in an env file. Take the word away.',
    ]);
  });
});

test.each([
  ["in an empty text", 'environment: {PASSWORD: ""}'],
  ["in an empty value of a list", "environment: [PASSWORD=]"],
  ["in an env file's empty value", "env_file: empty.env"],
  ["in an env file's quotes", "env_file: quotes.env"],
  ["in an env file that docker refuses", "env_file: wrong.env"],
])("a secret %s is in no message", (_fact, service) => {
  const files = { "empty.env": "PASSWORD=", "quotes.env": "X='hunter2'", "wrong.env": "export X=hunter2" };
  const { problems, warnings } = resolve(service, { files });
  expect(problems.length + warnings.length).toBe(1);
  expect([...problems, ...warnings].join()).not.toContain("hunter2");
});

test.each([
  ["[EMPTY, EMPTY=]", ["EMPTY="]],
  ["[TAG, TAG=x, TAG=]", ["TAG=x", "TAG=v1"]],
  ["[TAG=v1, N=5, TAG]", ["N=5", "TAG=v1"]],
  ["[N=5, N=5]", ["N=5", "N=5"]],
])("no line is there twice once it is filled, but where its author wrote it so: %s", (list, lines) => {
  expect(resolve(`environment: ${list}`).lines).toEqual(lines);
});

test("a value that was filled in says where it comes from", () => {
  expect(resolve("environment: [TAG]").printed).toContain('- "TAG=v1" # from the variable TAG\n');
  expect(resolve("environment: {TAG: }").printed).toContain('TAG: "v1" # from the variable TAG\n');
});

test.each([
  ["format: compose", ["services.web.env_file.format is left out. An env file is read as docker reads it"]],
  ["format: raw", []],
  ["requird: false", ["services.web.env_file.requird is left out. Did you mean required?"]],
  ["required: maybe", ["services.web.env_file.required is left out. It is neither true nor false"]],
])("an env file with %s", (option, told) => {
  const { warnings, problems } = resolve(`env_file: [{path: .env, ${option}}]`, {
    files: { ".env": "A=b\n" },
  });
  expect(problems).toEqual([]);
  expect(warnings).toEqual(told.map((text) => expect.stringContaining(text)));
});
