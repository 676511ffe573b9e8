import { describe, expect, test } from "@jest/globals";
import { describe as inWords } from "../../../src/errors.ts";
import { objection } from "../../../src/stack/objection.ts";
import { cleanPath } from "../../../src/stack/paths.ts";
import { undefinedReferences } from "../../../src/stack/references.ts";
import { resolveStack } from "../../../src/stack/resolve.ts";
import { parseStackFile, printStackFile } from "../../../src/stack/stack-file.ts";
import { type Findings, once, scopeOf } from "../../../src/stack/template.ts";
import { type Mapping } from "../../../src/stack/tree.ts";

const VARIABLES: Readonly<Record<string, string>> = { TAG: "v1", N: "3", WORD: "three", PASSWORD: "hunter2" };

interface Given {
  readonly strict?: boolean;
  readonly variables?: Readonly<Record<string, string>>;
  readonly files?: Readonly<Record<string, string>>;
}

interface Outcome {
  readonly printed: string;
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
  /** The paths that were asked for. */
  readonly asked: readonly string[];
}

function resolveTrees(templates: readonly Mapping[], given: Given = {}): Outcome {
  const { strict = true, variables = VARIABLES, files = {} } = given;
  const asked: string[] = [];
  const read = (path: string): Uint8Array | undefined => {
    asked.push(path);
    return path in files ? Buffer.from(files[path] ?? "") : undefined;
  };
  const scope = scopeOf([new Map(Object.entries(variables))], { GITHUB_TOKEN: "runner's" });
  const findings: Findings = { problems: [], warnings: [] };
  const root = resolveStack(templates, scope, strict, read, findings);
  const problems = once(findings.problems).map(inWords);
  const warnings = once(findings.warnings).map(inWords);
  return { printed: problems.length === 0 ? printStackFile(root) : "", problems, warnings, asked };
}

/** `1.yml`, `2.yml` and so on. */
function resolve(texts: readonly string[], given: Given = {}): Outcome {
  return resolveTrees(
    texts.map((text, index) => parseStackFile(text, `${index + 1}.yml`)),
    given,
  );
}

test("one file gets its variables, its env file and its Compose-only keys, and nothing of ours", () => {
  const text = [
    "version: 3.8",
    "services:",
    "  web:",
    "    image: app:$TAG",
    "    scale: $N",
    "    env_file: .env",
    "    environment: {TAG: , B: x}",
    "",
  ].join("\n");
  expect(resolve([text], { files: { ".env": "A=$TAG\nB=2\n" } })).toEqual({
    printed: [
      'version: "3.8"',
      "services:",
      "  web:",
      '    image: "app:v1"',
      "    environment:",
      '      "A": "$$TAG" # from .env',
      '      TAG: "v1" # from the variable TAG',
      "      B: x",
      "    deploy:",
      "      replicas: 3 # from scale",
      "",
    ].join("\n"),
    problems: [],
    warnings: [expect.stringContaining(".env:1:3: A: variables are not replaced here.")],
    asked: [".env"],
  });
});

test("several files are merged when each has its variables and its env files", () => {
  const { printed, problems, warnings } = resolve(
    [
      "services: {web: {image: app, env_file: a.env, environment: {B: one, C: one}}}",
      "services: {web: {image: 'app:$TAG', env_file: b.env, environment: {C: two}}}",
    ],
    { files: { "a.env": "A=a\nB=a\n", "b.env": "B=b\nD=b\n" } },
  );
  expect({ problems, warnings }).toEqual({ problems: [], warnings: [] });
  expect(printed).toBe(
    [
      "services:",
      "  web:",
      '    image: "app:v1"',
      "    environment:",
      '      "A": "a" # from a.env',
      '      B: "b" # from b.env',
      "      C: two",
      '      "D": "b" # from b.env',
      "",
    ].join("\n"),
  );
});

describe("a later file", () => {
  test.each([
    [
      "may hold what a key of Compose stands below",
      "services: {web: {mem_limit: 1g}}",
      "services: {web: {deploy: {resources: {limits: {memory: 2g}}}}}",
      "memory: 2g\n",
      "1.yml:1:18: services.web.mem_limit is left out. deploy.resources.limits.memory decides.",
    ],
    [
      "may have the key of Compose",
      "services: {web: {deploy: {replicas: 2}}}",
      "services: {web: {scale: 3}}",
      "replicas: 2\n",
      "2.yml:1:18: services.web.scale is left out. deploy.replicas decides.",
    ],
    [
      "may switch off a check",
      "services: {web: {healthcheck: {test: x}}}",
      "services: {web: {healthcheck: {disable: true}}}",
      "disable: true\n",
      "1.yml:1:38: services.web.healthcheck.test is left out. healthcheck.disable decides.",
    ],
    [
      "may put a service into a profile",
      "services: {web: {image: i}, debug: {image: d}}",
      "services: {debug: {profiles: [debug]}}",
      "  web:\n    image: i\n",
      "2.yml:1:30: Service debug is left out: it belongs to the profile debug.",
    ],
  ])("%s, and both are one by then", (_fact, first, second, printed, warning) => {
    const outcome = resolve([first, second]);
    expect(outcome.printed).toContain(printed);
    expect(outcome.problems).toEqual([]);
    expect(outcome.warnings).toEqual([expect.stringContaining(warning)]);
  });
});

describe("everything that is wrong is told at once", () => {
  test("in each of the files, and by each of the rooms", () => {
    const { problems } = resolve(
      [
        "services:\n  web:\n    image: $NIL\n    env_file: no.env\n    environment: [GITHUB_TOKEN]\n    gpus: all\n",
        "version: '3.8'\nservices:\n  web:\n    deploy: {replicas: $WORD}\n    env_file: wrong.env\n    restart: never\n",
      ],
      { files: { "wrong.env": "=x" } },
    );
    expect(problems).toEqual([
      expect.stringContaining("1.yml:3:12: The variable NIL is not defined."),
      expect.stringContaining('1.yml:4:15: The env file "no.env" of service web can\'t be read.'),
      expect.stringContaining("2.yml:4:24: services.web.deploy.replicas must be a whole number"),
      "wrong.env:1:1: There is no name before the equals sign.",
      expect.stringContaining("2.yml:1:10: The files differ in their version"),
      expect.stringContaining("1.yml:6:5: services.web.gpus can't be deployed to a swarm."),
      expect.stringContaining('2.yml:6:14: services.web.restart is "never"'),
      expect.stringContaining("1.yml:5:19: The variable GITHUB_TOKEN belongs to the runner"),
    ]);
  });

  test("but once, where an alias repeats it", () => {
    const text =
      "x-a: &a {gpus: all, env_file: no.env}\nservices: {a: *a, b: {environment: &e [GITHUB_TOKEN]}, c: {environment: *e}}";
    const { problems } = resolve([text]);
    expect(problems.filter((each) => each.includes("GITHUB_TOKEN"))).toHaveLength(1);
  });

  test("but once, where several services read the same env file", () => {
    const text = "services: {a: {env_file: .env}, b: {env_file: .env}}";
    expect(resolve([text], { files: { ".env": "=x" } }).problems).toEqual([
      ".env:1:1: There is no name before the equals sign.",
    ]);
    expect(resolve([text], { files: { ".env": "A='x'" } }).warnings).toHaveLength(1);
  });
});

test("warnings are those of all rooms, in the order of the story", () => {
  const { warnings } = resolve(
    [
      "services:\n  web:\n    image: a$NIL\n    environment: [BARE]\n    env_file: a.env\n    ports: [80, 81]\n    build: .\n",
      "services: {web: {hostname: x}}",
    ],
    { strict: false, files: { "a.env": "A='x'" } },
  );
  expect(warnings).toEqual([
    "1.yml:3:13: The variable NIL is not defined and becomes empty.",
    expect.stringContaining("a.env:1:3: A: the quotes become part of the value."),
    expect.stringContaining("1.yml:6:13: Service web: docker loses this port"),
    expect.stringContaining("1.yml:7:5: services.web.build is left out."),
    expect.stringContaining("1.yml:4:19: BARE has no value here"),
  ]);
});

test("a service that its profile leaves out needs no env file", () => {
  const { problems, warnings } = resolve([
    "services: {web: {image: i}, debug: {image: d, env_file: no.env}}",
    "services: {debug: {profiles: [debug]}}",
  ]);
  expect(problems).toEqual([]);
  expect(warnings).toEqual([expect.stringContaining("Service debug is left out")]);
});

test("a bare name is told only where no file gives it a value", () => {
  const bare = "services: {web: {image: i, environment: [GITHUB_TOKEN, LATER]}}";
  const given = "services: {web: {environment: {GITHUB_TOKEN: abc, LATER: x}}}";
  for (const files of [
    [bare, given],
    [given, bare],
  ]) {
    expect(resolve(files)).toMatchObject({ problems: [], warnings: [] });
  }
});

test("what is wrong with a value of an env file stands at its line there", () => {
  const { warnings } = resolve(["services: {web: {image: i, env_file: a.env}}"], {
    files: { "a.env": "A=1\nHOME=\n" },
    variables: { HOME: "x" },
  });
  expect(warnings).toEqual([expect.stringMatching(/^a\.env:2:1: HOME is empty here/)]);
});

describe("an undefined variable", () => {
  test("is a mistake where the workflow is strict", () => {
    expect(resolve(["services: {web: {image: a$NIL}}"]).problems).toHaveLength(1);
  });

  test("is empty otherwise", () => {
    const { printed, problems } = resolve(["services: {web: {image: a$NIL}}"], { strict: false });
    expect(printed).toContain('image: "a"\n');
    expect(problems).toEqual([]);
  });
});

describe("an env file is found from the folder of the first stack file", () => {
  const templates = [
    parseStackFile("services: {a: {env_file: a.env}}", "deploy/prod/stack.yml"),
    parseStackFile("services: {b: {env_file: [{path: b.env}, /etc/c.env]}}", "other/stack.yml"),
  ];

  test("by the path as it is written, whichever file it is in", () => {
    expect(resolveTrees(templates).asked).toEqual(["a.env", "b.env", "/etc/c.env"]);
  });

  test("and its mistakes are told by the path from the repository's root", () => {
    const files = { "a.env": "=x", "b.env": "=x", "/etc/c.env": "=x" };
    expect(resolveTrees(templates, { files }).problems).toEqual([
      expect.stringContaining("deploy/prod/a.env:1:1: "),
      expect.stringContaining("deploy/prod/b.env:1:1: "),
      expect.stringContaining("/etc/c.env:1:1: "),
    ]);
  });
});

describe("the templates stay as they are", () => {
  const texts = [
    "version: 3.8\nservices: {web: {image: $TAG, env_file: .env, scale: 2, ports: ['80:80']}, debug: {profiles: [x]}}\n",
    "version: '3.8'\nservices: {web: {ports: ['80:81'], environment: [TAG]}}\nvolumes: {a: }\n",
  ];
  const files = { ".env": "A=1" };

  test("and give the same each time", () => {
    const templates = texts.map((text) => parseStackFile(text, "stack.yml"));
    const before = templates.map(printStackFile);
    const first = resolveTrees(templates, { files });
    expect(resolveTrees(templates, { files })).toEqual(first);
    expect(templates.map(printStackFile)).toEqual(before);
    expect(first.problems).toEqual([]);
  });

  test("also where something is wrong", () => {
    const templates = texts.map((text) => parseStackFile(text, "stack.yml"));
    const before = templates.map(printStackFile);
    expect(resolveTrees(templates).problems).toHaveLength(1);
    expect(templates.map(printStackFile)).toEqual(before);
  });

  test("and what an anchor gives to two services is changed in each of them alone", () => {
    const { printed } = resolve([
      "x-a: &a {environment: [TAG], deploy: &d {mode: replicated}}\nservices: {a: {<<: *a, scale: 1}, b: {<<: *a, scale: 2}}",
    ]);
    expect(printed).toContain("mode: replicated\n      replicas: 1 # from scale\n");
    expect(printed).toContain("mode: replicated\n      replicas: 2 # from scale\n");
    expect(printed).toMatch(/^x-a:\n {2}environment:\n {4}- TAG\n {2}deploy:\n {4}mode: replicated\n/);
  });
});

test("no file at all is a mistake of ours", () => {
  expect(() => resolve([])).toThrow(RangeError);
});

test.each([
  ["of a number", "services: {web: {deploy: {replicas: $PASSWORD}}}"],
  ["of an environment", 'services: {web: {environment: {PASSWORD: ""}}}'],
  ["of an env file", "services: {web: {env_file: .env}}"],
])("a secret in the place %s is in no message", (_fact, text) => {
  const { problems, warnings } = resolve([text], { files: { ".env": "A='hunter2'" } });
  expect(problems.length + warnings.length).toBe(1);
  expect([...problems, ...warnings].join()).not.toContain("hunter2");
});

describe("what a hostile trial found", () => {
  const scope = scopeOf([new Map([["S", "hunter2:secret"]])], {});
  const resolved = (...files: string[]): { root: Mapping; told: string } => {
    const findings: Findings = { problems: [], warnings: [] };
    const roots = files.map((text, index) => parseStackFile(text, `${index}.yml`));
    const root = resolveStack(roots, scope, true, () => undefined, findings);
    return { root, told: findings.problems.map(inWords).join("\n") };
  };

  test("a carriage return alone ends a line, as with docker", () => {
    expect(resolved("services:\n  web: # note\r    hostname: $NOPE\n").told).toContain("NOPE is not defined");
  });

  test("a long text for a duration is read in no time", () => {
    const grace = (text: string): string => `services: {web: {image: a, stop_grace_period: "${text}"}}`;
    expect(() => resolved(grace("1s"), grace(`${"0".repeat(60_000)}!`))).not.toThrow();
  });

  test("docker's words about a value from a template are not repeated", () => {
    const { root } = resolved("services: {web: {image: a, deploy: {resources: {limits: {memory: $S}}}}}");
    const reason =
      "error decoding 'Deploy.Resources.Limits.memory': strconv.ParseFloat: parsing \"hunter2\": invalid syntax";
    expect(objection(reason, root).message).not.toContain("hunter2");
  });

  test("a reference made from a template is not repeated", () => {
    const { root } = resolved("services: {web: {image: a, volumes: ['$S']}}");
    expect(JSON.stringify(undefinedReferences(root))).not.toContain("hunter2");
  });

  test.each([
    ["", "./web.env", "web.env"],
    ["deploy/", "./web.env", "deploy/web.env"],
    ["deploy/", "../x//y/./z", "x/y/z"],
    ["deploy/", "/etc/../x", "/x"],
    ["", "../../x", "../../x"],
    ["a/", "..", "."],
  ])("paths are cleaned by their text, as docker does it: %j and %j", (folder, path, cleaned) => {
    expect(cleanPath(folder, path)).toBe(cleaned);
  });
});
