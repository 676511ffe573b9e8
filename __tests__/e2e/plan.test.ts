import { afterAll, describe, expect, test } from "@jest/globals";
import { LEAN } from "../stacks/lean.ts";
import { fakeGitHub } from "../doubles/github.ts";
import { offences } from "../doubles/schema.ts";
import {
  type Run,
  type RunOptions,
  buildable,
  cleanUp,
  docker,
  leavesNothing,
  removedLater,
  runAction,
  sandbox,
  service,
  stackName,
  workspace,
} from "./rig.ts";

/** Mode `plan`: what a deployment would do is told, and nothing is done. */

const stack = stackName("plan");
const TOKEN = "hunter2-and-more";
const base = (web: string, more = ""): string => `
services:
  web:
    image: $IMAGE
    environment: { PASSWORD: "$TOKEN" ${web} }
    configs: [{ source: env, target: /app/.env }]
    secrets: [token]
    deploy: { update_config: { monitor: 1s } }
${more}configs: { env: { external: true } }
secrets: { token: { environment: TOKEN } }
`;
const FIRST = base("", "  old:\n    image: $IMAGE\n");

interface Plan {
  readonly services: readonly { readonly name: string; readonly change: string; readonly image: string }[];
  readonly configs: readonly { readonly name: string; readonly change: string }[];
  readonly drift: readonly unknown[];
}

async function run(
  file: string,
  version: string,
  inputs: Readonly<Record<string, string>> = {},
  options: Partial<RunOptions> = {},
): Promise<Run> {
  return await runAction({
    cwd: buildable({ "stack.yml": file, ".env": "GREETING=hello\n" }),
    inputs: {
      "stack-name": stack,
      project: stack,
      version,
      "env-file": ".env",
      secrets: `TOKEN=${TOKEN}`,
      ...inputs,
    },
    ...options,
  });
}

/** Plans, and holds that nothing on the swarm was touched, nothing is left, no secret is told, and the JSON is as promised. */
async function plan(...[file, version, inputs, options]: Parameters<typeof run>): Promise<Run> {
  const before = everything();
  const planned = await run(file, version, { mode: "plan", ...inputs }, options);
  expect(everything()).toEqual(before);
  leavesNothing(planned);
  expect(planned.outputs).toMatchObject({ status: "planned", reason: "" });
  expect(planned.code).toBe(0);
  expect(planned.log).toContain("Status: planned.");
  expect(offences(planned.outputs.plan ?? "")).toEqual([]);
  for (const text of [planned.log, planned.summary, JSON.stringify(planned.outputs)])
    expect(text).not.toContain(TOKEN);
  return planned;
}

/** All that a deployment could change on the swarm. */
function everything(): unknown {
  const own = (kind: string): string[] =>
    docker([kind, "ls", "--format", "{{.ID}} {{.Name}}"])
      .split("\n")
      .filter((line) => line.includes(stack) || line.includes("swarm-stack-deploy_naming-key"));
  const services = own("service").map((line) => {
    const [id = ""] = line.split(" ");
    return [line, docker(["service", "inspect", "--format", "{{.Version.Index}}", id])];
  });
  return { services, configs: own("config"), secrets: own("secret"), networks: own("network") };
}

const planOf = (planned: Run): Plan => JSON.parse(planned.outputs.plan ?? "{}") as Plan;
const changesOf = (planned: Run): string[] =>
  planOf(planned).services.map(({ name, change }) => `${change} ${name}`);

afterAll(cleanUp);

describe("a stack from its first plan to its last", () => {
  let approved = "";

  test("the first deployment is planned before its image is built", async () => {
    const planned = await plan(FIRST, "v1");
    expect(changesOf(planned)).toEqual(["create old", "create web"]);
    expect(planOf(planned).services[0]?.image).toBe(`${sandbox.registry}/${stack}:v1`);
    expect(planned.outputs).toMatchObject({ digest: "", image: `${sandbox.registry}/${stack}:v1` });
    expect(planned.log).toMatch(/^\+ network .*_default$/m);
    expect(planned.log).toMatch(/^\+ config plan-\w+_env_/m);
    expect(planned.log).toContain("The deployment builds and pushes it.");
    approved = planned.outputs["plan-digest"] ?? "";
    expect(approved).toMatch(/^sha256:[0-9a-f]{64} .*service:web=[0-9a-f]{8}/);
  });

  test("what was approved is what is deployed, also where the image had no digest, and another stack's deployment brought the swarm its naming key", async () => {
    const other = stackName("other");
    await run(FIRST + LEAN, "v1", { "stack-name": other, project: other, "stable-for": "0s" });
    const deployed = await run(FIRST, "v1", { "plan-digest": approved });
    expect(deployed.log).toContain("Status: deployed.");
    expect(deployed.outputs["plan-digest"]).toBe(approved);
    expect(offences(deployed.outputs.plan ?? "")).toEqual([]);
  });

  test("planned again, nothing would change", async () => {
    const planned = await plan(FIRST, "v1", { build: "false" });
    expect(changesOf(planned)).toEqual(["unchanged old", "unchanged web"]);
    expect(planned.outputs.changes).toBe("0");
    expect(planOf(planned).drift).toEqual([]);
    expect(planned.summary).toContain("would change nothing");
  });

  test("a change tells every field, a secret's value never, and what becomes of the tasks", async () => {
    const planned = await plan(base(", COLOUR: green"), "v2", { secrets: `TOKEN=${TOKEN}!` });
    expect(planned.log).toMatch(/^~ web {2}\S+:v2 {2}\(.*image.*\)$/m);
    expect(planned.log).toMatch(/^ {4}~ image: \S+:v1@sha256:\w{12} → \S+:v2 \(new image\)$/m);
    expect(planned.log).toMatch(/^ {4}\+ environment\.COLOUR: green$/m);
    expect(planned.log).toMatch(/^ {4}~ environment\.PASSWORD: changed$/m);
    expect(planned.log).toMatch(/^ {4}~ secrets\.token: \S+_token_\w{12} → \S+_token_\w{12}$/m);
    expect(planned.log).toContain("each one's successor starts before it ends");
    expect(planned.log).not.toMatch(/placement|Platforms/);
  });

  test("a removal", async () => {
    const planned = await plan(base(""), "v1", { build: "false" });
    expect(changesOf(planned)).toEqual(["remove old", "unchanged web"]);
    expect(planned.outputs.changes).toBe("1");
    expect(planned.log).toMatch(/^- old .*no longer in the file/m);
  });

  test("what somebody did by hand is told, and a deployment of the plan before it stops", async () => {
    const before = await plan(FIRST, "v1", { build: "false" });
    docker(["service", "scale", "--detach", `${stack}_web=2`]);
    const version = service(`${stack}_web`).Version.Index;
    const stopped = await run(FIRST, "v1", {
      build: "false",
      "plan-digest": before.outputs["plan-digest"] ?? "",
    });
    expect(stopped.outputs).toMatchObject({ status: "failed", reason: "preflight" });
    expect(stopped.log).toContain(
      'another plan than the one that "plan-digest" names. Different: service web.',
    );
    expect(service(`${stack}_web`).Version.Index).toBe(version);

    const planned = await plan(FIRST, "v1", { build: "false" });
    expect(planned.log).toMatch(/^! web was changed on the swarm since the last release$/m);
    expect(planned.log).toMatch(/^ {4}~ deploy\.replicas: 1 → 2$/m);
    expect(planned.log).toMatch(/^ {4}~ deploy\.replicas: 2 → 1$/m);
    expect(planned.log).toContain("its tasks stay, or become more or fewer");
  });

  test("an image that can't be read is no failure of a plan", async () => {
    const planned = await plan(FIRST, "v9", { build: "false" });
    expect(planned.log).toContain("A deployment needs it: it builds nothing.");
  });
});

test("of a service on every node the plan tells what other constraints make of its tasks", async () => {
  const other = stackName("plan-global");
  const given = { "stack-name": other, project: other, "stable-for": "0s", "env-file": "", secrets: "" };
  const file = (constraint: string): string =>
    `services:\n  web: { image: $IMAGE, deploy: { mode: global, placement: { constraints: [${constraint}] } } }\n${LEAN}`;
  expect((await run(file("node.role == worker"), "v1", given)).log).toContain("Status: deployed.");
  const told = async (constraint: string): Promise<string> =>
    (await plan(file(constraint), "v1", { ...given, build: "false", "ignore-findings": "no-eligible-node" }))
      .log;
  expect(await told("")).toContain("→ its tasks stay, or become more or fewer");
  expect(await told("node.role == manager")).toContain(
    "→ its tasks end on nodes that are not meant any more",
  );
  expect(await told("node.labels.planet == mars")).toContain("→ its tasks are ended");
});

/** One after the other: each test goes on from what the one before it has left. */
describe("values that a plan does not show", () => {
  const other = stackName("plan-values");
  const given = { "stack-name": other, project: other, "stable-for": "0s", "env-file": "" };
  const file = (host: string, command: string, label: string, level = "info"): string => `
services:
  web:
    image: $IMAGE
    environment: { DB_PASS: ${host}, DIGEST: $IMAGE_DIGEST, PULLED: $IMAGE, LOG_LEVEL: ${level} }
    command: [--password, ${command}]
    labels: { auth: Host(${label}) }
    secrets: [token]
    deploy: { replicas: 0 }
  beside:
    image: $IMAGE
    deploy: { replicas: 0 }
secrets: { token: { environment: TOKEN } }
${LEAN}`;
  let approved = "";

  test("are approved with it", async () => {
    const first = await run(file("first", "first", "first"), "v1", given);
    expect(first.log).toContain("Status: deployed.");
    const planned = await plan(file("approved", "approved", "approved"), "v1", given);
    approved = planned.outputs["plan-digest"] ?? "";
    expect(approved).toMatch(
      /^sha256:[0-9a-f]{64} .*definition:web=[0-9a-f]{8} .*service:web=[0-9a-f]{8}( |$)/,
    );
  });

  test.each([
    ["a variable", file("other", "approved", "approved")],
    ["a command", file("approved", "other", "approved")],
    ["a label", file("approved", "approved", "other")],
  ])("%s of another value stops the deployment", async (_fact, changed) => {
    const version = service(`${other}_web`).Version.Index;
    const stopped = await run(changed, "v1", { ...given, "plan-digest": approved });
    expect(stopped.outputs).toMatchObject({ status: "failed", reason: "preflight" });
    expect(stopped.log).toContain("Different: service web (in what a plan does not show).");
    expect(service(`${other}_web`).Version.Index).toBe(version);
  });

  test("one that it shows does so, too", async () => {
    const shown = file("approved", "approved", "approved", "debug");
    const stopped = await run(shown, "v1", { ...given, "plan-digest": approved });
    expect(stopped.outputs).toMatchObject({ status: "failed", reason: "preflight" });
    expect(stopped.log).toMatch(/Different: service web\.(%0A|\s)/);
  });

  test("as they were approved are deployed, also with the digest of an image that is built only then", async () => {
    const deployed = await run(file("approved", "approved", "approved"), "v1", {
      ...given,
      "plan-digest": approved,
    });
    expect(deployed.log).toContain("Status: deployed.");
    expect(deployed.outputs["plan-digest"]).toBe(approved);
  });
});

/** One after the other, too: a secret in a variable whose name tells nobody, beside plain ones. */
describe("values that a plan shows", () => {
  const other = stackName("plan-shown");
  const OLD = "old-and-quiet";
  const NEW = "new-and-quiet";
  const LENT = "lent by the step";
  const given = { "stack-name": other, project: other, "stable-for": "0s", "env-file": "" };
  const file = (greeting: string, level: string, more = ""): string => `
services:
  web:
    image: $IMAGE
    environment:
      GREETING: ${greeting}
      LOG_LEVEL: ${level}
      LENT: $LENT
      TEXT: |
        ${level}
        ::error::${level} <b>
    labels: { rule: Host(\`${level}.example.com\`) }
    healthcheck: { test: [CMD, "true", "${level} level"] }
    deploy: { replicas: 0 }
${more}${LEAN}`;
  const secret = (value: string): Record<string, string> => ({ ...given, secrets: `GREETING=${value}` });
  const environment = { LENT };
  const saidBy = (done: Run): string => [done.log, done.summary, JSON.stringify(done.outputs)].join("\n");
  const hides = (done: Run, ...texts: string[]): void => {
    for (const text of [...texts, LENT]) expect(saidBy(done)).not.toContain(text);
  };

  test("are no secrets, in the first plan and its deployment", async () => {
    const first = await plan(file("$GREETING", "info"), "v1", secret(OLD), { environment });
    expect(first.log).toContain("+ web");
    const deployed = await run(file("$GREETING", "info"), "v1", secret(OLD), { environment });
    expect(deployed.log).toContain("Status: deployed.");
    hides(first, OLD);
    hides(deployed, OLD);
  });

  test("are those of plain variables, labels and commands, before and after", async () => {
    const planned = await plan(
      file("$GREETING", "debug"),
      "v1",
      { ...secret(OLD), build: "false" },
      { environment },
    );
    for (const line of [
      "~ environment.LOG_LEVEL: info → debug",
      "~ environment.TEXT: info ::error::info <b> → debug ::error::debug <b>",
      "~ labels.rule: Host(`info.example.com`) → Host(`debug.example.com`)",
      '~ healthcheck.test: CMD true "info level" → CMD true "debug level"',
    ]) {
      expect(planned.log).toContain(`    ${line}\n`);
      expect(planned.summary).toContain(`    ${line}\n`);
    }
    expect(planned.log).not.toMatch(/^::error::/m);
    expect(planned.log).not.toContain("environment.GREETING");
    hides(planned, OLD);
  });

  test("are neither the old text of a secret that is rotated nor the new one", async () => {
    const planned = await plan(
      file("$GREETING", "info"),
      "v1",
      { ...secret(NEW), build: "false" },
      { environment },
    );
    expect(planned.log).toMatch(/^ {4}~ environment\.GREETING: changed$/m);
    hides(planned, OLD, NEW);
  });

  test("are not the old text of a secret that a plain value replaces, nor what it was lent", async () => {
    const lent = { environment: { LENT: "lent anew" } };
    const planned = await plan(file("hello", "info"), "v1", { ...given, secrets: "", build: "false" }, lent);
    expect(planned.log).toMatch(/^ {4}~ environment\.GREETING: \(not shown\) → hello$/m);
    expect(planned.log).toMatch(/^ {4}~ environment\.LENT: changed$/m);
    hides(planned, OLD, "lent anew");
  });

  test("are not what somebody has put there by hand", async () => {
    docker(["service", "update", "--detach", "--env-add", "LOG_LEVEL=typed by hand", `${other}_web`]);
    const planned = await plan(
      file("$GREETING", "info"),
      "v1",
      { ...secret(OLD), build: "false" },
      { environment },
    );
    expect(planned.log).toMatch(/^ {4}~ environment\.LOG_LEVEL: info → \(not shown\)$/m);
    expect(planned.log).toMatch(/^ {4}~ environment\.LOG_LEVEL: \(not shown\) → info$/m);
    hides(planned, OLD, "typed by hand");
  });

  test("are not the secrets of a release that is returned to", async () => {
    const deployed = await run(file("hello", "debug"), "v2", { ...given, secrets: "" }, { environment });
    expect(deployed.log).toContain("Status: deployed.");
    hides(deployed, OLD);
    const back = await run("", "", { ...given, mode: "rollback", secrets: "" });
    expect(back.log).toMatch(/^ {4}~ environment\.GREETING: hello → \(not shown\)$/m);
    expect(back.log).toMatch(/^ {4}~ environment\.LOG_LEVEL: debug → info$/m);
    hides(back, OLD);
    const planned = await plan(
      file("hello", "info"),
      "v1",
      { ...given, secrets: "", build: "false" },
      { environment },
    );
    expect(planned.log).toMatch(/^ {4}~ environment\.GREETING: \(not shown\) → hello$/m);
    hides(planned, OLD);
  });
});

describe("without a manager", () => {
  const FORK = {
    GITHUB_EVENT_NAME: "pull_request",
    GITHUB_REF: "refs/pull/7/merge",
    GITHUB_REF_NAME: "7/merge",
    GITHUB_REF_TYPE: "branch",
  };
  const bare = {
    mode: "plan",
    project: "shop",
    registry: "r.example.com",
    username: "u",
    password: "",
    "ssh-host": "",
  };

  test("the files are checked, with no secret given", async () => {
    const checked = await runAction({
      cwd: buildable({
        "stack.yml":
          'services:\n  web:\n    image: $IMAGE\n    environment: { A: "${TOKEN:?}" }\n    secrets: [token]\nsecrets:\n  token: { environment: TOKEN }\n',
      }),
      inputs: { ...bare, secrets: "TOKEN=" },
      bare: true,
      environment: FORK,
    });
    expect(checked.outputs).toMatchObject({ status: "planned", plan: "{}", changes: "", "plan-digest": "" });
    expect(checked.code).toBe(0);
    expect(checked.summary).toContain("are in order");
  });

  /** Each service has one thing that needs no swarm to be told of; the last one's would need a swarm. */
  const RISKY = `
services:
  stubborn:
    image: busybox
    deploy: { update_config: { failure_action: continue } }
  blind:
    image: busybox
    healthcheck: { disable: true }
  db:
    image: postgres:17
    volumes: [data:/var/lib/postgresql/data]
    deploy: { update_config: { order: start-first } }
  hasty:
    image: busybox
    healthcheck: { test: [CMD, "true"], interval: 60s, retries: 5 }
    deploy: { update_config: { monitor: 1s } }
  nowhere:
    image: busybox
    networks: [front]
    deploy: { replicas: 9, placement: { constraints: [node.labels.none == yes], max_replicas_per_node: 1 } }
networks: { front: { external: true } }
volumes: { data: {} }
`;

  test("what the files alone have has its annotation, and is in the summary and the JSON", async () => {
    const checked = await runAction({
      cwd: workspace({ "stack.yml": RISKY }),
      inputs: { ...bare, build: "false", "ignore-findings": "start-first-single-writer" },
      bare: true,
      environment: FORK,
    });
    expect(checked.log).toContain("Status: planned.");
    expect(checked.outputs).toMatchObject({ status: "planned", changes: "", "plan-digest": "" });
    const expected = [
      ["start-first-no-healthcheck", 8],
      ["monitor-too-short", 16],
      ["failure-action-continue", 5],
    ] as const;
    for (const [id, line] of expected) {
      expect(checked.log).toMatch(new RegExp(`^::warning file=stack\\.yml,line=${line},.*\\[${id}\\]`, "m"));
      expect(checked.summary).toMatch(new RegExp(`^- ⚠️ stack\\.yml:${line}:.*${id}`, "m"));
    }
    const json = JSON.parse(checked.outputs.plan ?? "") as { findings: { id: string; line: number }[] };
    const told = json.findings.map(({ id, line }) => [id, line]);
    expect(told).toEqual(expected);
    expect(offences(checked.outputs.plan ?? "")).toEqual([]);
    expect(checked.log).toMatch(/^Passed over, .*stack\.yml:12:\d+: .*start-first-single-writer/m);
    expect(checked.log).not.toContain("nothing is wrong");
  });

  test("a mistake has its annotation", async () => {
    const checked = await runAction({
      cwd: workspace({
        "stack.yml": 'services:\n  web:\n    image: $IMAGE\n    environment: { A: "$TOKEN" }\n',
      }),
      inputs: { ...bare, build: "false" },
      bare: true,
      environment: FORK,
    });
    expect(checked.outputs).toMatchObject({ status: "failed", reason: "render" });
    expect(checked.log).toMatch(/^::error file=stack\.yml,line=4,col=\d+::.*TOKEN/m);
    expect(checked.code).toBe(1);
  });
});

describe("without a manager, for somebody who gets no secrets", () => {
  /** One variable of each kind of field. */
  const NEEDY = `services:
  web:
    image: ghcr.io/acme/web:\${TAG}
    read_only: \${RO}
    environment: { A: "$A", B: "\${B:?why}", C: "\${X:-2}" }
    ports: ["\${PORT}:80", "\${ADDRESS}:81:81"]
    secrets: [token, { source: "\${SECRET}", target: x }]
    networks: ["\${NETWORK}"]
    volumes: ["\${DATA}:/data", { type: "\${KIND}", source: x, target: /x }]
    healthcheck: { test: [CMD, "true"], interval: "\${EVERY}s" }
    stop_grace_period: \${GRACE}
    deploy:
      replicas: \${REPLICAS}
      update_config: { delay: "\${WAIT}", monitor: 1s }
      resources: { limits: { memory: "\${MEM}", cpus: "\${CPUS}" } }
secrets: { token: { environment: TOKEN }, key: { file: key.pem } }
`;
  const NEEDED =
    "TAG RO A B PORT ADDRESS SECRET NETWORK DATA KIND EVERY GRACE REPLICAS WAIT MEM CPUS TOKEN".split(" ");
  const bare = { mode: "plan", project: "shop", registry: "r.example.com", "ssh-host": "", build: "false" };
  const asJson = { ...bare, secrets: '{"github_token":"x"}', variables: "{}" };
  const repo = (full_name: string): unknown => ({ full_name, fork: full_name !== "acme/shop" });

  async function check(
    file: string,
    inputs: Readonly<Record<string, string>>,
    event: "a fork" | "Dependabot" | "own" | "push",
  ): Promise<Run> {
    const head = event === "a fork" ? repo("stranger/shop") : repo("acme/shop");
    const payload =
      event === "push"
        ? {}
        : { pull_request: { number: 7, head: { repo: head }, base: { repo: repo("acme/shop") } } };
    return await runAction({
      cwd: workspace({ "stack.yml": file, "event.json": JSON.stringify(payload) }),
      inputs: { ...bare, ...inputs },
      bare: true,
      environment: {
        GITHUB_EVENT_NAME: event === "push" ? "push" : "pull_request",
        GITHUB_EVENT_PATH: "event.json",
        GITHUB_ACTOR: event === "Dependabot" ? "dependabot[bot]" : "dev",
        GITHUB_REF: event === "push" ? "refs/heads/main" : "refs/pull/7/merge",
      },
    });
  }

  const annotations = ({ log }: Run): string[] =>
    log.split("\n").filter((line) => /^::(error|warning)/.test(line));

  test.each(["a fork", "Dependabot"] as const)("the files of %s are in order", async (event) => {
    const checked = await check(NEEDY, asJson, event);
    expect(annotations(checked)).toEqual([]);
    expect(checked.outputs).toMatchObject({ status: "planned", reason: "", plan: "{}" });
    expect(checked.code).toBe(0);
    for (const text of [checked.log, checked.summary]) {
      expect(text).toContain(
        `${NEEDED.length} variables are not known here, since a pull request from ${event} gets no secrets and no variables:`,
      );
      for (const name of NEEDED) expect(text).toMatch(new RegExp(`\\b${name}\\b`));
      expect(text).toContain("Some value stands in for them.");
      expect(text).toContain("1 file is not known here");
    }
  });

  test.each(["push", "own"] as const)("on a %s run each name is a mistake", async (event) => {
    const checked = await check(NEEDY, asJson, event);
    expect(checked.outputs).toMatchObject({ status: "failed", reason: "render" });
    for (const name of NEEDED)
      expect(checked.log).toMatch(new RegExp(`^::error file=stack\\.yml.*\\b${name}\\b`, "m"));
    expect(checked.log).not.toContain("stands in");
    expect(checked.code).toBe(1);
  });

  test.each([
    ["a misspelt key", "    healthcheck:", "    helthcheck:", 10, "Did you mean healthcheck?"],
    ["a key in an item that has an unknown value", "target: /x }", "target: /x, sorce: y }", 9, "sorce"],
    ["a value that has no variable", "monitor: 1s", "monitor: soon", 14, "monitor"],
    ["a port that is none", '"${PORT}:80"', '"${PORT}:80", "99999:80"', 6, "services.web.ports.1"],
    ["no variable", '"$A"', '"${A"', 5, "don't close"],
    ["what belongs to the runner", '"$A"', '"$GITHUB_TOKEN"', 5, "GITHUB_TOKEN"],
  ])("%s beside is told, and nothing else", async (_fact, right, wrong, line, words) => {
    const checked = await check(NEEDY.replace(right, wrong), asJson, "a fork");
    const [only, ...others] = annotations(checked);
    expect(only).toMatch(new RegExp(`^::error file=stack\\.yml,line=${line},`));
    expect(only).toContain(words);
    expect(others).toEqual([]);
    expect(checked.code).toBe(1);
  });

  test("an env file that nobody wrote, or that is empty, is no mistake there, and one elsewhere", async () => {
    const file =
      "services:\n  web:\n    image: busybox\n    env_file: .env\n    configs: [{ source: env, target: /.env }]\nconfigs: { env: { external: true } }\n";
    const fork = await check(file, { ...asJson, "env-file": ".env" }, "a fork");
    expect(fork.log).toContain("1 file is not known here, since a pull request from a fork");
    expect(fork.outputs.status).toBe("planned");
    expect(annotations(fork)).toEqual([]);
    const push = await check(file, { ...asJson, "env-file": ".env" }, "push");
    expect(push.outputs).toMatchObject({ status: "failed", reason: "input" });
  });
});

describe("the comment below the pull request", () => {
  const FILE = "services:\n  web:\n    image: $IMAGE\n";
  const PULL = { GITHUB_EVENT_NAME: "pull_request", GITHUB_REF: "refs/pull/7/merge" };
  const other = removedLater(`${stack}-pr`);
  const given = { "stack-name": other, comment: "true", "github-token": "t0k3n", "env-file": "" };

  test("is made once, and then updated", async () => {
    await using github = await fakeGitHub({});
    const environment = { ...PULL, ...github.environment };
    const first = await plan(FILE, "v1", given, { environment });
    expect(first.log).toContain(
      "The plan is in a comment: https://github.com/acme/shop/pull/7#issuecomment-1",
    );
    await plan(`${FILE}    environment: { A: b }\n  more: { image: $IMAGE }\n`, "v1", given, { environment });
    expect(github.comments).toHaveLength(1);
    expect(github.comments[0]?.body).toMatch(
      /^<!-- swarm-stack-deploy: plan of \S+ at [0-9a-f]{3} -->\n## 📋 To deploy/,
    );
    expect(github.comments[0]?.body).toContain("| + | service | <code>more</code> | create |");
  });

  test("has what the look at the swarm has found, as the summary and the JSON have", async () => {
    await using github = await fakeGitHub({});
    const risky = `${FILE}    deploy: { update_config: { failure_action: continue } }\n`;
    const environment = { ...PULL, ...github.environment };
    const planned = await plan(risky, "v1", given, { environment });
    const item =
      /^- ⚠️ stack\.yml:4:\d+: Service web has failure\\_action: continue.*failure-action-continue/m;
    expect(github.comments[0]?.body).toMatch(item);
    expect(planned.summary).toMatch(item);
    expect(JSON.parse(planned.outputs.plan ?? "")).toMatchObject({
      findings: [{ id: "failure-action-continue", severity: "warning", file: "stack.yml", line: 4 }],
    });
  });

  test("tells a failure, too", async () => {
    await using github = await fakeGitHub({});
    const environment = { ...PULL, ...github.environment };
    await run("services:\n  web: {}\n", "v1", { mode: "plan", ...given }, { environment });
    expect(github.comments[0]?.body).toContain("could not be planned (render)");
  });

  test("that may not be written is a warning that names the permission", async () => {
    await using github = await fakeGitHub({}, { mayComment: false });
    const planned = await plan(FILE, "v1", given, { environment: { ...PULL, ...github.environment } });
    expect(planned.log).toMatch(/^::warning::.*GitHub answered 403.*`permissions: pull-requests: write`/m);
  });
});
