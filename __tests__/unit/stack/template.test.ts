import { describe, expect, test } from "@jest/globals";
import { describe as inWords } from "../../../src/errors.ts";
import { parseStackFile } from "../../../src/stack/stack-file.ts";
import { type Node, get } from "../../../src/stack/tree.ts";
import { type Findings, resolveTemplate, scopeOf } from "../../../src/stack/template.ts";

const VALUES: Readonly<Record<string, string>> = {
  TAG: "v1",
  N: "3",
  EMPTY: "",
  ON: "yes",
  REGISTRY_URL: "r.io",
  PASSWORD: "hunter2",
};

function resolve(
  text: string,
  strict = true,
  environment: Readonly<Record<string, string>> = {},
): { root: Node; findings: Findings } {
  const root = parseStackFile(text, "stack.yml");
  const scope = scopeOf([new Map(Object.entries(VALUES))], environment);
  return { root, findings: resolveTemplate(root, scope, strict) };
}

/** As a scalar would be printed: with quotes unless it is plain. */
function spelling(root: Node, ...path: string[]): string | undefined {
  const node = get(root, ...path);
  if (node?.kind !== "scalar") return undefined;
  return node.plain ? node.text : JSON.stringify(node.text);
}

function problems(text: string): string[] {
  return resolve(text).findings.problems.map(inWords);
}

describe("the scope", () => {
  const scope = scopeOf(
    [
      new Map([["A", "secret"]]),
      new Map([
        ["A", "variable"],
        ["B", "variable"],
      ]),
      new Map([
        ["B", "own"],
        ["C", "own"],
      ]),
    ],
    { A: "env", B: "env", C: "env", D: "env", NONE: undefined },
  );

  test.each([
    ["A", "secret"],
    ["B", "variable"],
    ["C", "own"],
    ["D", "env"],
    ["NONE", undefined],
    ["toString", undefined],
    ["__proto__", undefined],
  ])("%s comes from the first layer that has it: %s", (name, value) => {
    expect(scope.lookup(name)).toBe(value);
  });

  test.each([
    "INPUT_SSH-PRIVATE-KEY",
    "INPUT_PASSWORD",
    "STATE_PRIVATE-FOLDER",
    "ACTIONS_RUNTIME_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "ACTIONS_CACHE_URL",
    "GITHUB_TOKEN",
    "GITHUB_ENV",
    "GITHUB_PATH",
    "GITHUB_OUTPUT",
    "GITHUB_STATE",
    "GITHUB_STEP_SUMMARY",
    "SSH_AUTH_SOCK",
  ])("%s of the environment is hidden", (name) => {
    const hiding = scopeOf([], { [name]: "x" });
    expect(hiding.lookup(name)).toBeUndefined();
    expect(hiding.suggest(name)).toBeUndefined();
  });

  test.each(["GITHUB_SHA", "GITHUB_REPOSITORY", "HOME", "MY_INPUT_X"])(
    "%s of the environment is visible",
    (name) => {
      expect(scopeOf([], { [name]: "x" }).lookup(name)).toBe("x");
    },
  );

  test("what the workflow gives by name is visible, whatever its name", () => {
    expect(
      scopeOf([new Map([["GITHUB_TOKEN", "given"]])], { GITHUB_TOKEN: "runner's" }).lookup("GITHUB_TOKEN"),
    ).toBe("given");
  });
});

describe("values", () => {
  test("are resolved wherever they stand, and keys are not", () => {
    const { root, findings } = resolve(
      "services:\n  $TAG:\n    image: $REGISTRY_URL/app:$TAG\n    command: [a, $TAG]\nx-y: $TAG",
    );
    expect(findings).toEqual({ problems: [], warnings: [] });
    expect(spelling(root, "services", "$TAG", "image")).toBe('"r.io/app:v1"');
    expect(spelling(root, "x-y")).toBe('"v1"');
  });

  test("stay text where docker makes text of them", () => {
    const { root } = resolve("services: {web: {environment: {A: $N, B: $ON, C: 3, D: a$$b}}}");
    expect(["A", "B", "C", "D"].map((key) => spelling(root, "services", "web", "environment", key))).toEqual([
      '"3"',
      '"yes"',
      "3",
      '"a$b"',
    ]);
  });

  test.each([
    ["deploy: {replicas: $N}", ["deploy", "replicas"], "3"],
    ["deploy: {replicas: '${N}'}", ["deploy", "replicas"], "3"],
    ["deploy: {replicas: '0${N}'}", ["deploy", "replicas"], "3"],
    ["deploy: {replicas: '+$N'}", ["deploy", "replicas"], "3"],
    ["deploy: {replicas: '${NONE:-2}'}", ["deploy", "replicas"], "2"],
    ["deploy: {update_config: {parallelism: $N}}", ["deploy", "update_config", "parallelism"], "3"],
    [
      "deploy: {update_config: {max_failure_ratio: '0.$N'}}",
      ["deploy", "update_config", "max_failure_ratio"],
      "0.3",
    ],
    ["deploy: {rollback_config: {parallelism: $N}}", ["deploy", "rollback_config", "parallelism"], "3"],
    ["deploy: {restart_policy: {max_attempts: $N}}", ["deploy", "restart_policy", "max_attempts"], "3"],
    [
      "deploy: {placement: {max_replicas_per_node: $N}}",
      ["deploy", "placement", "max_replicas_per_node"],
      "3",
    ],
    ["healthcheck: {retries: $N}", ["healthcheck", "retries"], "3"],
    ["healthcheck: {disable: $ON}", ["healthcheck", "disable"], "true"],
    ["ulimits: {nproc: $N}", ["ulimits", "nproc"], "3"],
    ["ulimits: {nofile: {soft: $N}}", ["ulimits", "nofile", "soft"], "3"],
    ["tty: $ON", ["tty"], "true"],
    ["read_only: ${NONE:-off}", ["read_only"], "false"],
    ["stdin_open: ${NONE:-N}", ["stdin_open"], "false"],
    // Not in docker's list: as text docker refuses them.
    ["init: $ON", ["init"], "true"],
    ["deploy: {resources: {limits: {pids: '1$N'}}}", ["deploy", "resources", "limits", "pids"], "13"],
    // A string in docker's schema.
    ["deploy: {resources: {limits: {cpus: '0.$N'}}}", ["deploy", "resources", "limits", "cpus"], '"0.3"'],
    ["oom_score_adj: -$N", ["oom_score_adj"], "-3"],
    // Compose allows quotes around a number, docker does not.
    ["deploy: {replicas: '3'}", ["deploy", "replicas"], "3"],
    ["healthcheck: {disable: 'true'}", ["healthcheck", "disable"], "true"],
    ["deploy: {replicas: !!str '3'}", ["deploy", "replicas"], '"3"'],
  ])("docker's casts: %s", (service, path, expected) => {
    const { root, findings } = resolve(`services:\n  web:\n    ${service}`);
    expect(findings.problems).toEqual([]);
    expect(spelling(root, "services", "web", ...path)).toBe(expected);
  });

  test("in lists too", () => {
    const { root } = resolve(
      "services: {web: {ports: [{target: $N, published: '80$N', protocol: $TAG}]}}\nnetworks: {n: {external: $ON}}",
    );
    const ports = get(root, "services", "web", "ports");
    const [port] = ports?.kind === "sequence" ? ports.items : [];
    expect(["target", "published", "protocol"].map((key) => port && spelling(port, key))).toEqual([
      "3",
      "803",
      '"v1"',
    ]);
    expect(spelling(root, "networks", "n", "external")).toBe("true");
  });

  test.each([
    [
      "a word for a number",
      "deploy: {replicas: $TAG}",
      'deploy.replicas must be a whole number; the template makes it "$TAG".',
    ],
    [
      "nothing for a number",
      "deploy: {replicas: $EMPTY}",
      'deploy.replicas must be a whole number; the template makes it "".',
    ],
    [
      "a fraction for a whole number",
      "deploy: {replicas: '1.$N'}",
      'deploy.replicas must be a whole number; the template makes it "1.$N".',
    ],
    [
      "a word for a fraction",
      "deploy: {update_config: {max_failure_ratio: $TAG}}",
      "deploy.update_config.max_failure_ratio must be a number",
    ],
    ["a word for a switch", "tty: $TAG", "tty must be true or false"],
    ["a number in a list", "ports: [{target: $TAG}]", "ports.target must be a whole number"],
  ])("%s is refused at its place", (_fact, service, message) => {
    expect(problems(`services:\n  web:\n    ${service}`)).toEqual([expect.stringContaining(message)]);
    expect(problems(`services:\n  web:\n    ${service}`)[0]).toMatch(/^stack\.yml:3:\d+: services\.web\./);
  });

  test("a refusal does not repeat a value, which may be a secret", () => {
    expect(problems("services: {web: {deploy: {replicas: $PASSWORD}}}").join()).not.toContain("hunter2");
  });
});

describe("an undefined variable", () => {
  test.each([
    ["plain", "image: a/$NIL", "stack.yml:1:10"],
    ["double-quoted", 'image: "a/$NIL"', "stack.yml:1:11"],
    ["single-quoted", "image: 'a/${NIL}'", "stack.yml:1:11"],
    ["in a flow list", "a: [x, $NIL]", "stack.yml:1:8"],
    ["behind others", "a: $TAG-$TAG-$NIL", "stack.yml:1:14"],
    ["behind a doubled dollar", "a: $$-$NIL", "stack.yml:1:7"],
    ["in a literal block", "a: |\n  one\n  two $NIL", "stack.yml:3:7"],
    ["in a folded block", "a: >\n  one $TAG\n  two $NIL", "stack.yml:3:7"],
    ["in a plain text of several lines", "a: one\n  two $NIL", "stack.yml:2:7"],
    ["in a default", "a: ${NONE:-$NIL}", "stack.yml:1:12"],
    ["behind a comment with a dollar", "a: b # $X\nb: $NIL", "stack.yml:2:4"],
    ["behind escapes", 'a: "\\t\\n$NIL"', "stack.yml:1:9"],
    ["behind a dollar that is an escape", 'a: "\\x24TAG $NIL"', "stack.yml:1:13"],
    ["that is itself an escape", 'a: "\\\\ \\u0024NIL"', "stack.yml:1:8"],
    ["in a block whose header has a comment with a dollar", "a: | # $x\n  b\n  $NIL\n", "stack.yml:3:3"],
  ])("%s is found at its dollar", (_fact, text, place) => {
    expect(problems(text)).toEqual([expect.stringContaining(`${place}: The variable NIL is not defined.`)]);
  });

  test("every one is told, each at its place", () => {
    expect(problems("a: $NIL\nb: [$NIX]")).toEqual([
      expect.stringContaining("1:4: The variable NIL"),
      expect.stringContaining("2:5: The variable NIX"),
    ]);
  });

  test("behind an anchor it is told once, however many aliases repeat it", () => {
    expect(problems("a: &a {x: $NIL}\nb: *a\nc: {<<: *a}")).toHaveLength(1);
  });

  test.each([
    ["near a name that is defined", "$REGISTRY_ULR", "Did you mean REGISTRY_URL?"],
    [
      "near none",
      "$SOMETHING_ELSE",
      'Give it in "variables" or "secrets", or a default: ${SOMETHING_ELSE:-…}.',
    ],
  ])("gets a hint: %s", (_fact, template, hint) => {
    expect(problems(`a: ${template}`)).toEqual([expect.stringContaining(hint)]);
  });

  test("becomes empty with a warning where the workflow wants it so", () => {
    const { root, findings } = resolve("a: x${NIL}y", false);
    expect(spelling(root, "a")).toBe('"xy"');
    expect(findings.problems).toEqual([]);
    expect(findings.warnings.map(inWords)).toEqual([
      "stack.yml:1:5: The variable NIL is not defined and becomes empty.",
    ]);
  });

  test("is allowed in keys and comments", () => {
    expect(problems("$NIL: a # ${NIL}")).toEqual([]);
  });
});

test.each([
  [
    "a requirement, in its author's words",
    "a: ${NIL:?set it}",
    "stack.yml:1:4: The variable NIL is required: set it.",
  ],
  ["a requirement without words", "a: ${EMPTY:?}", "stack.yml:1:4: The variable EMPTY is required."],
  ["no variable at all", "a: b$(c)", 'stack.yml:1:5: "$(" is no variable. Write $$ for a dollar sign.'],
])("%s stops, strict or not", (_fact, text, message) => {
  expect(resolve(text, true).findings.problems.map(inWords)).toEqual([message]);
  expect(resolve(text, false).findings.problems.map(inWords)).toEqual([message]);
});
