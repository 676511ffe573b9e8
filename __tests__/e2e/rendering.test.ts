import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { LEAN } from "../stacks/lean.ts";
import {
  buildable,
  cleanUp,
  docker,
  inContainer,
  inspect,
  pushImage,
  runAction,
  service,
  stackName,
} from "./rig.ts";

/** What a template means, seen from inside of the container and from the swarm. */

afterAll(cleanUp);

const REPOSITORY = "$REGISTRY_URL/$PROJECT_NAME:v1";
const stack = stackName("render");
const inputs = { "stack-name": stack, project: stack, version: "v1", build: "false" };

beforeAll(() => void pushImage(stack, "v1"));

/** The environment of the service's container, as the kernel holds it. */
function environmentOf(name: string): Record<string, string> {
  const bytes = Buffer.from(inContainer(name, ["/bin/busybox", "cat", "/proc/1/environ"]), "latin1");
  const pairs = bytes.toString("utf8").split("\0").filter(Boolean);
  return Object.fromEntries(
    pairs.map((pair) => [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)]),
  );
}

const VALUES: Readonly<Record<string, string>> = {
  DOLLAR: "pa$word",
  APR1: "admin:$apr1$ruca84Hq$mbjdMZBAG.KWn7vfN/SNK/",
  BCRYPT: "$2y$05$abcdefghijklmnopqrstuv.WXYZ0123456789abcdefghijklmnop",
  REPLACEMENT: "$& $` $' $1 $<x>",
  DOLLARS: "$$ $$$ ${HOME} ${NOT:-closed",
  OWN_NAME: "x$OWN_NAME",
  PERCENT: "100%41 %s %%",
  QUOTES: `it's "so" \`and\` so`,
  BACKSLASH: String.raw`\n C:\temp\ `,
  LINES: "-----BEGIN KEY-----\nabc\n\n  def\t\n-----END KEY-----\n",
  RETURNS: "a\r\nb\rc",
  BLANKS: "  both sides  ",
  EMOJI: "🐳 ünï\u2028cödé \u0085 \ufeff",
  CONTROL: "\u0001\u001b[31m\u007f",
  YAMLISH: "- a: [b, {c: d}] # e",
  YES: "yes",
  OCTAL: "0o17",
  TIME: "1:30",
  DATE: "2024-01-01",
  NOTHING: "~",
  LONG: "0123456789abcdef$".repeat(3855),
};

test("every value arrives in the container byte for byte, and again there is nothing to do", async () => {
  const names = Object.keys(VALUES);
  const file = [
    `${LEAN}services:`,
    "  web:",
    `    image: ${REPOSITORY}`,
    "    deploy: { update_config: { monitor: 1s } }",
    "    environment:",
    ...names.map((name) => `      ${name}: $${name}`),
    ...names.map((name) => `      ${name}_QUOTED: "\${${name}}"`),
    ...names.map((name) => `      ${name}_ELSE: '\${NOWHERE-$${name}}'`),
  ].join("\n");
  const cwd = buildable({ "stack.yml": file });
  // A name's own value in the container is what counts, so that half of them is a secret makes no difference.
  const half = names.length / 2;
  const pick = (from: number, to: number): string =>
    JSON.stringify(Object.fromEntries(Object.entries(VALUES).slice(from, to)));
  const given = { ...inputs, variables: pick(0, half), secrets: pick(half, names.length) };
  const run = await runAction({ cwd, inputs: given });
  expect(run.log).toContain("Status: deployed.");
  const found = environmentOf(`${stack}_web`);
  for (const [name, value] of Object.entries(VALUES)) {
    expect([name, found[name]]).toEqual([name, value]);
    expect([name, found[`${name}_QUOTED`]]).toEqual([name, value]);
    expect([name, found[`${name}_ELSE`]]).toEqual([name, value]);
  }
  expect((await runAction({ cwd, inputs: given })).outputs.status).toBe("unchanged");
});

describe("several files", () => {
  const own = stackName("several");
  const cwd = buildable({
    "deploy/stack.yml": `
x-update: &update { monitor: 1s }
${LEAN}services:
  web:
    image: ${REPOSITORY}
    command: [/bin/busybox, sleep, "1000"]
    environment: { A: base, B: base, TOKEN: }
    env_file: web.env
    configs: [{ source: page, target: /page }]
    deploy: { replicas: 2, update_config: *update }
configs: { page: { file: ./page.txt } }
`,
    "deploy/web.env": "FROM_FILE='quoted' # kept\nB=file\n",
    "deploy/page.txt": "base\n\n",
    "prod/stack.yml": `
services:
  web:
    command: [/bin/busybox, sleep, "2000"]
    environment: [A=prod]
    deploy: { replicas: $N, labels: [tier=prod] }
  side:
    image: ${REPOSITORY}
    deploy: { update_config: { monitor: 1s } }
`,
  });
  const given = {
    ...inputs,
    "stack-name": own,
    "stack-file": "deploy/stack.yml\nprod/stack.yml",
    variables: "N=1",
    secrets: "TOKEN=hidden-token",
  };

  test("are merged in their order, with paths from the first one's folder", async () => {
    const run = await runAction({ cwd, inputs: given });
    expect(run.outputs.status).toBe("deployed");
    expect(environmentOf(`${own}_web`)).toMatchObject({
      A: "prod",
      B: "base",
      TOKEN: "hidden-token",
      FROM_FILE: "'quoted' # kept",
    });
    expect(inContainer(`${own}_web`, ["/bin/busybox", "cat", "/page"])).toBe("base\n\n");
    const { Spec } = service(`${own}_web`);
    expect(Spec).toMatchObject({
      Labels: { tier: "prod" },
      Mode: { Replicated: { Replicas: 1 } },
      TaskTemplate: { ContainerSpec: { Args: ["/bin/busybox", "sleep", "2000"] } },
    });
    expect(run.log).toMatch(
      /^::warning file=deploy\/web\.env,line=1,col=11::deploy\/web\.env:1:11: FROM_FILE: the quotes and the comment become part of the value\./m,
    );
  });

  test("that are the same again make nothing new", async () => {
    expect((await runAction({ cwd, inputs: given })).outputs.status).toBe("unchanged");
  });

  test("are rendered into one file that says which lines are ours", async () => {
    const run = await runAction({ cwd, inputs: given });
    const rendered = readFileSync(run.outputs["rendered-file"] ?? "", "utf8");
    expect(rendered).toMatch(/^ +order: start-first # set by Swarm Stack Deploy$/m);
    expect(rendered).toMatch(/^ +image: ".*@sha256:[0-9a-f]{64}" # pinned by Swarm Stack Deploy$/m);
    expect(rendered).toMatch(/^ +"FROM_FILE": "'quoted' # kept" # from web\.env$/m);
    expect(rendered).toMatch(/^ +name: ".*" # versioned by content$/m);
  });
});

test("a Compose file keeps what Swarm can do, and every key that it can't is named at its place", async () => {
  const own = stackName("compose");
  const file = `name: shop
services:
  web:
    image: ${REPOSITORY}
    build: .
    container_name: web
    restart: on-failure:3
    mem_limit: 64m
    cpus: 0.5
    pids_limit: 50
    scale: 2
    depends_on: { db: { condition: service_healthy } }
    env_file: [{ path: missing.env, required: false }]
    healthcheck: { test: [CMD, /bin/busybox, "true"], interval: 1s, retries: "2" }
  db:
    image: ${REPOSITORY}
  debug:
    image: ${REPOSITORY}
    profiles: [debug]
${LEAN}`;
  const run = await runAction({
    cwd: buildable({ "compose.yml": file }),
    inputs: { ...inputs, "stack-name": own },
  });
  expect(run.outputs.status).toBe("deployed");
  expect(service(`${own}_web`).Spec).toMatchObject({
    Mode: { Replicated: { Replicas: 2 } },
    TaskTemplate: {
      RestartPolicy: { Condition: "on-failure", MaxAttempts: 3 },
      Resources: { Limits: { MemoryBytes: 67_108_864, NanoCPUs: 500_000_000, Pids: 50 } },
    },
  });
  expect(docker(["service", "ls", "-q", "--filter", `name=${own}_debug`])).toBe("");
  const warnings = [...run.log.matchAll(/^::warning file=compose\.yml,line=(\d+),col=\d+::(.*)$/gm)];
  const ofFile = warnings.filter(
    ([, , message]) => message?.includes("[start-first-no-healthcheck]") === false,
  );
  expect(ofFile.map(([, line]) => Number(line)).toSorted((a, b) => a - b)).toEqual([1, 5, 6, 12, 13, 19]);
});

test("two stacks that come to the same name for a config get one each", async () => {
  const [long, short] = [`${stack}_b`, stack];
  const file = (key: string): string =>
    `${LEAN}services: { web: { image: ${REPOSITORY}, configs: [{ source: ${key}, target: /c }], deploy: { update_config: { monitor: 1s } } } }\nconfigs: { ${key}: { content: same } }\n`;
  try {
    for (const [name, key] of [
      [long, "c"],
      [short, "b_c"],
    ] as const) {
      const run = await runAction({
        cwd: buildable({ "stack.yml": file(key) }),
        inputs: { ...inputs, "stack-name": name },
      });
      expect(run.outputs.status).toBe("deployed");
    }
    const nameOf = (name: string): string =>
      service(`${name}_web`).Spec.TaskTemplate.ContainerSpec.Configs?.[0]?.ConfigName ?? "";
    const [first, second] = [nameOf(long), nameOf(short)];
    expect(first).toMatch(new RegExp(`^${stack}_b_c_[0-9a-f]{12}$`));
    expect(second).toMatch(new RegExp(`^${stack}_b_c_[0-9a-f]{8}_[0-9a-f]{12}$`));
    expect(inspect("config", second)).toMatchObject({
      Spec: { Labels: { "com.docker.stack.namespace": short } },
    });
  } finally {
    docker(["stack", "rm", long]);
  }
});
