import { execFileSync } from "node:child_process";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { LEAN } from "../stacks/lean.ts";
import {
  PATIENTLY,
  buildable,
  cleanUp,
  docker,
  imageOf,
  inContainer,
  pushImage,
  runAction,
  sandbox,
  service,
  serviceNames,
  stackName,
  workspace,
} from "./rig.ts";

/** Where Swarm tells half the truth, or where two things that are right by themselves go wrong together. */

afterAll(cleanUp);

const REPOSITORY = "$REGISTRY_URL/$PROJECT_NAME";
const stack = stackName("trap");
const inputs = { "stack-name": stack, project: stack, version: "v1", build: "false" };

function web(image: string, more = ""): string {
  const network = /networks|ports/.test(more) ? "" : LEAN;
  return `${network}services:\n  web:\n    image: ${REPOSITORY}:${image}\n    deploy: { update_config: { monitor: 2s }, restart_policy: { condition: any, delay: 1s } }\n${more}`;
}

beforeAll(() => {
  pushImage(stack, "v1");
  pushImage(stack, "quits", ["FAIL=quits"]);
  pushImage(stack, "slowcrash", ["FAIL=late"]);
});

describe("an update whose tasks end without an error", () => {
  beforeAll(async () => void (await runAction({ cwd: buildable({ "stack.yml": web("v1") }), inputs })));

  test.each([
    ["because the program ends with 0", web("quits"), "bye for good"],
    [
      "because the container is unhealthy and obeys its TERM",
      web(
        "v1",
        '    healthcheck: { test: ["CMD", "/bin/busybox", "false"], interval: 1s, timeout: 5s, retries: 2, start_period: 0s }\n',
      ),
      "app v1 starting",
    ],
  ])("%s is red, names the task and shows its lines", async (_why, file, line) => {
    const run = await runAction({
      cwd: buildable({ "stack.yml": file }),
      inputs: { ...inputs, ...PATIENTLY },
    });
    expect(run.outputs).toMatchObject({ status: "failed", reason: "rollout" });
    expect(run.log).toContain(`  | ${line}`);
    const services = JSON.parse(run.outputs.services ?? "[]") as { failingTasks: { state: string }[] }[];
    expect(services[0]?.failingTasks.length).toBeGreaterThan(0);
    expect(run.log).toMatch(
      /::error::Service web failed.*Put back to what ran before: web; all of it runs\./,
    );
    expect(imageOf(`${stack}_web`)).toContain(":v1@");
  });
});

test("a crash loop that was left behind is not called unchanged", async () => {
  const loop = stackName("loop");
  const own = { ...inputs, "stack-name": loop, "on-failure": "keep", ...PATIENTLY };
  const cwd = buildable({ "stack.yml": web("slowcrash") });
  const first = await runAction({ cwd, inputs: own });
  expect(first.outputs.status).toBe("failed");
  const again = await runAction({ cwd, inputs: own });
  expect(again.outputs).toMatchObject({ status: "failed", reason: "rollout" });
  expect(JSON.parse(again.outputs.plan ?? "{}")).toMatchObject({ services: [{ change: "unchanged" }] });
});

describe("what an earlier run has left", () => {
  const running = (name: string): string[] =>
    docker(["service", "ps", "-f", "desired-state=running", "--format", "{{.ID}} {{.CurrentState}}", name])
      .split("\n")
      .filter((line) => line.includes("Running"));

  test("a paused service goes back first: what serves goes on, with the same version again and with a good one", async () => {
    const halted = stackName("paused");
    const own = { ...inputs, "stack-name": halted, "failure-action": "pause", "on-failure": "keep" };
    const three = (image: string): string =>
      web(image)
        .replace("deploy: {", "deploy: { replicas: 3, ")
        .replace("monitor: 2s", "monitor: 2s, parallelism: 1, delay: 3s"); // Long enough to notice before the next task is replaced.
    const deployed = async (image: string, how = {}): Promise<string | undefined> => {
      const cwd = buildable({ "stack.yml": three(image) });
      return (await runAction({ cwd, inputs: { ...own, ...how } })).outputs.status;
    };
    expect(await deployed("v1")).toBe("deployed");
    const before = running(`${halted}_web`);
    pushImage(stack, "crash", ["FAIL=start"]);
    expect(await deployed("crash", PATIENTLY)).toBe("failed");
    const state = (): string =>
      docker(["service", "inspect", "--format", "{{.UpdateStatus.State}}", `${halted}_web`]).trim();
    while (state() === "updating") await sleep(200);
    expect(state()).toBe("paused");
    const again = await runAction({
      cwd: buildable({ "stack.yml": three("crash") }),
      inputs: { ...own, ...PATIENTLY },
    });
    expect(again.log).toMatch(
      /_web: paused \(.*\) by an earlier update; it goes back to what ran before that\./,
    );
    expect(again.outputs).toMatchObject({ status: "failed", reason: "rollout" });
    expect(running(`${halted}_web`).length).toBeGreaterThanOrEqual(before.length - 1);
    pushImage(stack, "v2");
    expect(await deployed("v2")).toBe("deployed");
    expect(running(`${halted}_web`)).toHaveLength(3);
  });

  test("an update that waits for a port of its own node goes back, and the next one is sent", async () => {
    const stuck = stackName("stuck");
    const own = {
      ...inputs,
      "stack-name": stuck,
      "on-failure": "keep",
      "ignore-findings": "start-first-host-port",
    };
    const file = (image: string, order: string): string =>
      web(image, "    ports: [{ target: 80, published: 18471, mode: host }]\n").replace(
        "update_config: {",
        `placement: { constraints: [node.role == manager] }, update_config: { order: ${order},`,
      );
    const deploy = async (
      text: string,
      timeout: string,
    ): Promise<{ log: string; outputs: Record<string, string> }> =>
      await runAction({ cwd: buildable({ "stack.yml": text }), inputs: { ...own, timeout } });
    expect((await deploy(file("v1", "stop-first"), "2m")).outputs.status).toBe("deployed");
    pushImage(stack, "v2");
    expect((await deploy(file("v2", "start-first"), "8s")).outputs.status).toBe("failed");
    const next = await deploy(file("v2", "stop-first"), "2m");
    expect(next.log).toContain(
      "_web: stuck half way by an earlier update; it goes back to what ran before that.",
    );
    expect(next.outputs.status).toBe("deployed");
    expect(imageOf(`${stuck}_web`)).toContain(":v2@");
  });
});

describe("a service whose version rises between the plan and the update", () => {
  /** Stands before docker in PATH, and does something to the service just before docker deploys in earnest. */
  function meddling(name: string, ...update: readonly string[]): Readonly<Record<string, string>> {
    const spy = workspace({});
    const real = execFileSync("sh", ["-c", "command -v docker"], { encoding: "utf8" }).trim();
    const manager = `unix://${sandbox.state}/nodes/n1/docker.sock`;
    const meddle = `${real} -H ${manager} service update --detach ${update.join(" ")} ${name} >&2`;
    writeFileSync(
      join(spy, "docker"),
      `#!/bin/sh\ncase "$DOCKER_HOST" in */send.sock) ${meddle} ;; esac\nexec ${real} "$@"\n`,
    );
    chmodSync(join(spy, "docker"), 0o755);
    return { PATH: `${spy}:${process.env.PATH ?? ""}` };
  }

  test("though its spec is the same is updated, for the version of now", async () => {
    const same = stackName("version");
    const own = { ...inputs, "stack-name": same };
    await runAction({ cwd: buildable({ "stack.yml": web("v1") }), inputs: own });
    const version = service(`${same}_web`).Version.Index;
    const run = await runAction({
      cwd: buildable({ "stack.yml": web("v1", "    environment: { NEW: spec }\n") }),
      inputs: own,
      environment: meddling(`${same}_web`),
    });
    expect(run.outputs).toMatchObject({ status: "deployed", reason: "" });
    const { Spec, Version } = service(`${same}_web`);
    expect(Spec.TaskTemplate.ContainerSpec.Env).toEqual(["NEW=spec"]);
    expect(Version.Index).toBeGreaterThan(version);
  });

  test("because somebody else has changed it is left to them", async () => {
    const other = stackName("others");
    const own = { ...inputs, "stack-name": other };
    await runAction({ cwd: buildable({ "stack.yml": web("v1") }), inputs: own });
    const run = await runAction({
      cwd: buildable({ "stack.yml": web("v1", "    environment: { NEW: spec }\n") }),
      inputs: own,
      environment: meddling(`${other}_web`, "--env-add", "THEIRS=1"),
    });
    expect(run.outputs).toMatchObject({ status: "failed", reason: "deploy" });
    expect(run.log).toMatch(
      /^::error::.*out of sequence.*Somebody else changes this stack at the same time/m,
    );
    expect(service(`${other}_web`).Spec.TaskTemplate.ContainerSpec.Env).toEqual(["THEIRS=1"]);
  });
});

test("two first deployments of one stack at once: nobody removes what the other has made", async () => {
  const twins = stackName("twins");
  const own = { ...inputs, "stack-name": twins, networks: `${twins}-a` };
  const cwd = buildable({ "stack.yml": web("v1") });
  const runs = await Promise.all([runAction({ cwd, inputs: own }), runAction({ cwd, inputs: own })]);
  expect(serviceNames(twins)).toEqual([`${twins}_web`]);
  expect(runs.some(({ outputs }) => outputs.status === "deployed")).toBe(true);
  docker(["stack", "rm", twins]);
  docker(["network", "rm", `${twins}-a`]);
});

test("the host's network is a network", async () => {
  const host = stackName("host");
  const file = `${web("v1", "    networks: [host]\n")}networks:\n  host: { external: true, name: host }\n`;
  const own = { ...inputs, "stack-name": host };
  const run = await runAction({ cwd: buildable({ "stack.yml": file }), inputs: own });
  expect(run.outputs.status).toBe("deployed");
  const again = await runAction({ cwd: buildable({ "stack.yml": file }), inputs: own });
  expect(again.outputs.status).toBe("unchanged");
});

test("an env_file keeps docker's meaning, and can't fetch the runner's credentials", async () => {
  const env = stackName("env");
  const cwd = buildable({
    "stack.yml": web("v1", "    env_file: [deploy/app.env]\n"),
    "deploy/app.env": 'QUOTED="kept"\nDOLLAR=pa$word\nFROM_STEP\nACTIONS_RUNTIME_TOKEN\nGITHUB_TOKEN\n',
  });
  const environment = { FROM_STEP: "yes", ACTIONS_RUNTIME_TOKEN: "leaked", GITHUB_TOKEN: "leaked" };
  const run = await runAction({ cwd, inputs: { ...inputs, "stack-name": env }, environment });
  expect(run.outputs.status).toBe("deployed");
  const inside = inContainer(`${env}_web`, ["/bin/busybox", "env"]).split("\n");
  expect(inside).toEqual(expect.arrayContaining(['QUOTED="kept"', "DOLLAR=pa$word", "FROM_STEP=yes"]));
  expect(JSON.stringify(service(`${env}_web`))).not.toContain("leaked");
});

test.each([
  ["config", "configs: [nope]"],
  ["secret", "secrets: [nope]"],
  ["network", "networks: [nope]"],
  ["volume", "volumes: ['nope:/x']"],
])("a %s that the file does not define is told before anything is built", async (_kind, line) => {
  const run = await runAction({
    cwd: buildable({ "stack.yml": web("v1", `    ${line}\n`).replace(LEAN, "") }),
    inputs: { ...inputs, build: "true" },
  });
  expect(run.outputs.reason).toBe("render");
  expect(run.log).toMatch(
    /::error file=stack\.yml,line=5,col=\d+::stack\.yml:5:\d+: Service web uses the \w+ "nope"/,
  );
  expect(run.log).not.toContain("::group::");
});

test("values arrive byte for byte, whatever they look like", async () => {
  const values = stackName("values");
  const file = `${web("v1")}    environment:
      SECRET: $SECRET
      MIXED: "a $\${x} $SECRET b"
      NESTED: \${UNSET:-\${ALSO_UNSET:-deep $SECRET}}
      QUOTED: '\${QUOTED}'
      OCTAL: 0123
`;
  const secret = "pa$word$$ $apr1$x %s $& 'q' \"d\" \\ é😀 ";
  const quoted = "line one\nline two\n";
  const own = {
    ...inputs,
    "stack-name": values,
    secrets: JSON.stringify({ SECRET: secret, QUOTED: quoted }),
  };
  const run = await runAction({ cwd: buildable({ "stack.yml": file }), inputs: own });
  expect(run.outputs.status).toBe("deployed");
  expect(service(`${values}_web`).Spec.TaskTemplate.ContainerSpec.Env?.toSorted()).toEqual(
    [
      `SECRET=${secret}`,
      `MIXED=a \${x} ${secret} b`,
      `NESTED=deep ${secret}`,
      `QUOTED=${quoted}`,
      "OCTAL=83",
    ].toSorted(),
  );
});
