import { describe, expect, test } from "@jest/globals";
import { StackFileError, describe as inWords } from "../../../src/errors.ts";
import { type RenderRequest, type RenderedStack, printed, render } from "../../../src/stack/render.ts";
import { parseStackFile } from "../../../src/stack/stack-file.ts";
import { NOTHING_WITHHELD, StandIns, withoutAssumed } from "../../../src/stack/withheld.ts";
import { renderRequest } from "../../doubles/stack.ts";

const ALL = { hasName: () => true, hasFiles: true };

function rendered(text: string, changes: Partial<RenderRequest> = {}): RenderedStack {
  return render({
    ...renderRequest({ withheld: ALL, ...changes }),
    templates: [parseStackFile(text, "stack.yml")],
  });
}

function problems(text: string, changes: Partial<RenderRequest> = {}): string[] {
  try {
    rendered(text, changes);
    return [];
  } catch (error) {
    return error instanceof StackFileError ? error.problems.map(inWords) : [String(error)];
  }
}

const names = ({ standIns }: RenderedStack): string[] => standIns.names.map(({ name }) => name);
const service = (lines: string): string => `services:\n  web:\n    image: a\n${lines}\n`;

describe("what gets a stand-in", () => {
  test("each name once, and nothing where nothing is withheld", () => {
    const some = new StandIns(ALL);
    expect([some.forName("A"), some.forName("B"), some.forName("A")].every(Boolean)).toBe(true);
    expect(some.names).toEqual(["A", "B"]);
    const none = new StandIns(NOTHING_WITHHELD);
    expect([none.forName("A"), none.forFile("f", undefined), none.names, none.files]).toEqual([
      undefined,
      undefined,
      [],
      [],
    ]);
  });

  test("a file that is missing or empty, and no other", () => {
    const standIns = new StandIns(ALL);
    expect(standIns.forFile("whole", Buffer.from("x"))).toEqual(Buffer.from("x"));
    standIns.forFile("missing", undefined);
    standIns.forFile("empty", new Uint8Array());
    expect(standIns.files).toEqual(["missing", "empty"]);
  });

  test.each([
    ["$A", ["A"]],
    ["${A}", ["A"]],
    ["${A:?why}", ["A"]],
    ["${A?$WHY}", ["A"]],
    ["${A:-2}", []],
    ["${A-2}", []],
    ["${A:-${B}}", ["B"]],
    ["${A:+x}", ["A"]],
    ["$$A", []],
  ])("%s", (value, expected) => {
    expect(names(rendered(service(`    environment: { V: "${value}" }`)))).toEqual(expected);
  });

  test("a value that is empty is none, wherever it comes from, and a default stays", () => {
    const empty = new Map([["A", ""]]);
    const text = service('    environment: { ONE: "$A", TWO: "${A:-two}", THREE: "$B" }');
    for (const changes of [{ secrets: empty }, { variables: empty }, { environment: { A: "" } }]) {
      const stack = rendered(text, changes);
      expect(names(stack)).toEqual(["A", "B"]);
      expect(printed(stack)).toMatch(/TWO: "?two/);
    }
  });

  test("only what is withheld", () => {
    const withheld = { hasName: (name: string) => name === "A", hasFiles: false };
    expect(problems(service('    environment: { V: "$A$B" }'), { withheld })).toEqual([
      expect.stringContaining("The variable B is not defined."),
    ]);
  });

  test.each(["GITHUB_TOKEN", "INPUT_PASSWORD", "ENV_CONFIG"])("never $%s, which no secret can be", (name) => {
    expect(problems(service(`    environment: { V: "$${name}" }`))).toHaveLength(1);
  });

  test("a name alone in an environment, in a list and in an env file", () => {
    const read = (): Uint8Array => Buffer.from("C\n");
    const stack = rendered(
      service("    env_file: .env\n    environment: { A: }") + "  other: { image: a, environment: [B] }\n",
      {
        read,
      },
    );
    expect(names(stack).toSorted()).toEqual(["A", "B", "C"]);
    expect(stack.warnings).toEqual([]);
  });

  test("the content of a secret or config, also where only its name is known elsewhere", () => {
    const stack = rendered(
      `${service("    secrets: [a, b, c]\n    configs: [d]")}secrets:\n  a: { environment: A }\n  b: { environment: $B }\n  c: { file: key.pem }\nconfigs:\n  d: { content: "x $D" }\n`,
    );
    expect(names(stack).toSorted()).toEqual(["A", "B", "D"]);
    expect(stack.standIns.files).toEqual(["key.pem"]);
    expect(stack.objects).toHaveLength(4);
  });

  test("no config's file that is missing: it belongs to the repository", () => {
    const text = `${service("    configs: [d]")}configs: { d: { file: app.conf } }\n`;
    expect(problems(text)).toEqual([
      expect.stringContaining('The file "app.conf" of config d can\'t be read.'),
    ]);
    expect(problems(text, { read: () => new Uint8Array() })).toEqual([]);
  });
});

test.each([
  "replicas: $N",
  "replicas: ${N}0",
  "update_config: { max_failure_ratio: $N }",
  "placement: { max_replicas_per_node: $N, constraints: [$C] }",
  "update_config: { order: $O, failure_action: $F }",
  "mode: $M",
])("a value that is not known is wrong in no way: deploy %s", (deploy) => {
  const stack = rendered(service(`    deploy: { ${deploy.replaceAll(/(\$[\w{}]+)/g, '"$1"')} }`));
  expect(stack.warnings).toEqual([]);
});

test.each([
  'read_only: "$X"',
  'restart: "$X"',
  'ports: ["$X:80:80", "$Y:81", "$Z:82"]',
  'networks: ["$X"]',
  'volumes: ["$X:/data", "data:$X"]',
  'secrets: [{ source: "$X", mode: "0$X" }]',
  'stop_signal: "$X"',
  'mem_limit: "${X}Q"',
  'image: "r.io/A:$X"',
  'env_file: "$X"',
])("a value that is not known is wrong in no way: %s", (line) => {
  const stack = rendered(
    `services:\n  web: { image: a }\n  other: { ${line}${line.startsWith("image") ? "" : ", image: a"} }\n`,
  );
  expect(stack.warnings).toEqual([]);
});

test("a service that may belong to an active profile is looked at", () => {
  expect(problems(service('    profiles: ["$P"]\n    stop_signal: SIGTREM'))).toHaveLength(1);
  expect(rendered(service('    profiles: ["$P"]')).warnings).toEqual([]);
});

test.each([
  ["{ target: /x }", "volume"],
  ["{ target: /x, source: y }", "bind"],
  ["{ target: /x, source: y, volume: { nocopy: true } }", "volume"],
  ["{ target: /x, tmpfs: { size: 1 } }", "tmpfs"],
])("the kind of the volume %s is one that goes with it", (volume, kind) => {
  const { root } = rendered(
    `${service(`    volumes: [${volume.replace("{", '{ type: "$T",')}]`)}volumes: { y: {} }\n`,
  );
  expect(printed({ ...rendered(service("")), root: withoutAssumed(root) })).toContain(`type: "${kind}"`);
});

test.each([
  ["a misspelt signal", "stop_signal: SIGTREM", "stop_signal"],
  ["a secret that is not defined", "secrets: [nobody]", '"nobody"'],
  ["braces that don't close beside", 'hostname: "$X${Y"', "don't close"],
])("%s is told beside what is not known", (_fact, line, words) => {
  expect(problems(service(`    environment: { V: "$A" }\n    ${line}`))).toEqual([
    expect.stringContaining(words),
  ]);
});

test("what docker is asked about in the end has no value that is not known, and counts items as before", () => {
  const { root } = rendered(
    service(
      '    environment: { A: "$A", B: b }\n    ports: ["$P:80", "81"]\n    networks: ["$N"]\n    secrets: [{ source: "$S", target: x }]\n    volumes: [{ type: "$T", source: "$V", target: /x }]\n    deploy: { replicas: "$R", update_config: { delay: "$W" } }',
    ),
  );
  const text = printed({ ...rendered(service("")), root: withoutAssumed(root) });
  expect(text).toBe(`services:
  web:
    image: a
    environment:
      B: b
    ports:
      - "60000"
      - "81"
    networks: []
    secrets:
      - source: "12345"
        target: x
    volumes:
      - type: "bind"
        source: "12345"
        target: /x
    deploy:
      replicas: 12345
      update_config:
        order: start-first # set by Swarm Stack Deploy
        failure_action: rollback # set by Swarm Stack Deploy
      labels:
        swarm-stack-deploy.managed: "true" # set by Swarm Stack Deploy
      rollback_config:
        order: start-first # set by Swarm Stack Deploy
"secrets":
  "12345":
    "external": true
"volumes":
  "12345": {}
`);
});
