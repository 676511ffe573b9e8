import { execFileSync, spawnSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { EXAMPLES, type Example, fileOf } from "../stacks/refused-by-engine.ts";
import { LEAN } from "../stacks/lean.ts";
import { cleanUp, docker, pushImage, removedLater, sandbox, until } from "./rig.ts";

// What we refuse for an engine must be what an engine refuses, and what is nearly the same must be taken.
// Not among the examples is `test: [CMD]`: both 20.10 and 28.5 crash over it (slice bounds out of range, daemon/health.go).

const NETWORK = `rules-${Math.random().toString(36).slice(2, 7)}`;
const nodes = ["n1", "n2"].map((node) => `unix://${sandbox.state}/nodes/${node}/docker.sock`);
const image = `${sandbox.registry}/engine-rules:v1`;

beforeAll(() => {
  pushImage("engine-rules", "v1");
  // No node has a login for the registry, and each falls back on what it has.
  const saved = execFileSync("docker", ["save", image], {
    env: { PATH: process.env.PATH, DOCKER_HOST: sandbox.runnerDockerHost },
    maxBuffer: 2 ** 28,
  });
  for (const host of nodes)
    execFileSync("docker", ["load"], { env: { PATH: process.env.PATH, DOCKER_HOST: host }, input: saved });
  docker(["network", "create", "--driver", "overlay", NETWORK]);
});

afterAll(async () => {
  cleanUp();
  await until(
    "nothing is on the network any more",
    () => onManager(["network", "rm", NETWORK]).status === 0,
    60,
  );
});

function onManager(argv: readonly string[], input = ""): { status: number | null; stderr: string } {
  const env = { PATH: process.env.PATH, DOCKER_HOST: sandbox.managerDockerHost };
  return spawnSync("docker", argv, { env, input, encoding: "utf8" });
}

/** As docker itself deploys it, under a name as long as `shop`; one network will do for those that ask for none. */
function deploy(lines: string): { stack: string; refusal: string | undefined } {
  const stack = removedLater(`r${Math.random().toString(36).slice(2, 5)}`);
  const file = fileOf(lines).replaceAll("image: a", `image: ${image}`);
  const shared = `networks: { default: { external: true, name: ${NETWORK} } }\n`;
  const network = file.includes("\nnetworks:") ? "" : /ports:|endpoint_mode:/.test(file) ? shared : LEAN;
  const argv = ["stack", "deploy", "--resolve-image", "never", "--compose-file", "-", stack];
  const { status, stderr } = onManager(argv, `${file}${network}version: "3.9"\n`);
  return { stack, refusal: status === 0 ? undefined : stderr };
}

function accepted(lines: string): string {
  const { stack, refusal } = deploy(lines);
  if (refusal !== undefined) throw new Error(refusal);
  return stack;
}

/** Of each task of a stack, such as `Running 3 seconds ago` or `"invalid signal: SIGFOO"`. */
function ofTasks(what: "CurrentState" | "Error", stack: string): string[] {
  return docker(["stack", "ps", "--format", `{{.${what}}}`, stack]).split("\n");
}

const isRunning = (stack: string): boolean =>
  ofTasks("CurrentState", stack).some((state) => state.startsWith("Running"));
const isObjectedTo = (stack: string): boolean => ofTasks("Error", stack).some((error) => error !== "");

describe("a manager refuses", () => {
  test.each(EXAMPLES.filter(({ by }) => by === "manager"))("$says", ({ wrong, fine }) => {
    expect(deploy(wrong).refusal).toMatch(/Error response from daemon|cannot be used with services/);
    expect(deploy(fine).refusal).toBeUndefined();
  });
});

describe("no node runs", () => {
  const examples = EXAMPLES.filter(({ by }) => by !== "manager");
  const stacks = new Map<Example, { wrong: string; fine: string }>();

  beforeAll(() => {
    for (const example of examples)
      stacks.set(example, { wrong: accepted(example.wrong), fine: accepted(example.fine) });
  });

  test.each(examples)("$says", async (example) => {
    const { wrong, fine } = stacks.get(example) ?? { wrong: "", fine: "" };
    await until("a task runs of the one that is nearly the same", () => isRunning(fine), 90);
    if (example.by === "node") await until("a task is objected to", () => isObjectedTo(wrong), 60);
    else await new Promise((done) => setTimeout(done, 5000));
    expect(isRunning(wrong)).toBe(false);
    docker(["stack", "rm", wrong, fine]); // The one would be tried for ever.
  });
});

describe("a plan says what becomes of tasks as Swarm decides it:", () => {
  const running = (name: string): string =>
    docker(["service", "ps", "-q", "--filter", "desired-state=running", name]);

  // Each a service of its own: after a placement that replaced nothing Swarm takes a new endpoint for nothing, too.
  test.each([
    [
      "a placement that the task's node satisfies replaces nothing",
      ["--constraint-add", "node.role==manager"],
      false,
    ],
    ["another endpoint mode replaces all tasks", ["--endpoint-mode", "dnsrr"], true],
  ])("%s", async (_fact, change, replaces) => {
    const name = `u${Math.random().toString(36).slice(2, 7)}`;
    const flags = ["--network", NETWORK, "--constraint", "node.hostname==n1", "--stop-grace-period", "1s"];
    docker(["service", "create", "--detach", "--name", name, ...flags, image]);
    const isUp = (): boolean =>
      docker(["service", "ls", "--format", "{{.Replicas}}", "--filter", `name=${name}`]) === "1/1";
    await until("its task runs", isUp);
    const before = running(name);
    docker(["service", "update", "--detach", ...change, name]);
    if (replaces) await until("another task is there", () => running(name) !== before);
    else await new Promise((done) => setTimeout(done, 5000));
    expect(running(name) !== before).toBe(replaces);
    docker(["service", "rm", name]);
  });
});
