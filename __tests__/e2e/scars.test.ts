import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { LEAN } from "../stacks/lean.ts";
import { deploy, records } from "./history.ts";
import { PATIENTLY, cleanUp, docker, imageOf, pushImage, sandbox, service, stackName, until } from "./rig.ts";

/** What a failure leaves behind, and what becomes of a stack that carries it. Each of these was a wrong verdict, or an outage, once. */

afterAll(cleanUp);

const project = stackName("scars");
const OURS = { project, "stable-for": "5s", timeout: "3m" };
beforeAll(() => {
  for (const version of ["v1", "v2"]) pushImage(project, version);
  pushImage(
    project,
    "sick",
    [],
    undefined,
    `HEALTHCHECK --interval=1s --retries=2 CMD ["/bin/busybox", "false"]\n`,
  );
});

const IMAGE = "image: $REGISTRY_URL/$PROJECT_NAME:$VERSION";
const RUN = (script: string): string => `entrypoint: [/bin/busybox, sh, -c, ${JSON.stringify(script)}]`;
const STAYS = "trap 'exit 0' TERM; /bin/busybox sleep 100000 & wait";
const ON_MANAGER = "placement: { constraints: [node.role == manager] }";

interface Part {
  readonly script: string;
  readonly deploy?: string;
}

/** Services that share a volume, one for each name. */
function sharing(parts: Readonly<Record<string, Part>>, more = ""): string {
  const services = Object.entries(parts).map(
    ([name, { script, deploy: how = "" }]) =>
      `  ${name}:\n    ${IMAGE}\n    ${RUN(script)}\n    volumes: ["data:/data"]\n    deploy: { ${ON_MANAGER}, ${how} }\n`,
  );
  return `${LEAN}services:\n${services.join("")}volumes: { data: {} }\n${more}`;
}

/** Running tasks that are to run, by their image's version. */
function running(name: string): string[] {
  const format = [
    "--no-trunc",
    "--format",
    "{{.CurrentState}} {{.Image}}",
    "--filter",
    "desired-state=running",
  ];
  const lines = docker(["service", "ps", ...format, name]).split("\n");
  return lines
    .filter((line) => line.startsWith("Running"))
    .map((line) => /:(v\d|sick)/.exec(line)?.[1] ?? line);
}

describe("while things are put back, a service does not come up at once, since another one is not there yet", () => {
  const needsDb = `[ -e /data/up ] || { echo no database; exit 1; }; ${STAYS}`;
  const db = (label: string, script: string, how: string): Part => ({
    script,
    deploy: `labels: { r: "${label}" }, ${how}`,
  });
  const good = `/bin/busybox sleep 3; echo > /data/up; ${STAYS}`;
  const bad = "/bin/busybox sleep 8; /bin/busybox rm -f /data/up; echo broken migration; exit 1";

  test.each([
    [
      "Swarm takes it forward to what has failed: it is sent back once more",
      "update_config: { monitor: 5s }",
    ],
    ["it fails once, and Swarm starts it again", "update_config: { monitor: 5s, failure_action: continue }"],
  ])("%s", async (_what, how) => {
    const stack = stackName("needs");
    const ours = { ...OURS, "stack-name": stack };
    await deploy(stack, sharing({ db: db("1", good, how) }), "v1", ours);
    const both = (label: string, script: string): string =>
      sharing({ db: db(label, script, how), web: { script: needsDb, deploy: how } });
    const first = await deploy(stack, both("1", good), "v1", ours);
    expect([first.log, first.outputs.status]).toEqual([first.log, "deployed"]);
    const run = await deploy(stack, both("2", bad), "v2", { ...ours, ...PATIENTLY });
    expect([run.log, run.outputs.reason]).toEqual([run.log, "rollout"]);
    expect([run.log, /Put back to what ran before: .*; all of it runs\./.test(run.log)]).toEqual([
      run.log,
      true,
    ]);
    for (const name of ["db", "web"]) expect(imageOf(`${stack}_${name}`)).toContain(":v1@");
    docker(["stack", "rm", stack]);
  });
});

describe("an update that Swarm has paused, and that runs all the same by now", () => {
  const stack = stackName("scar");
  const ours = { ...OURS, "stack-name": stack, "on-failure": "keep" };
  const how = "update_config: { failure_action: pause, order: stop-first, monitor: 5s }";
  const once = `[ -e /data/once ] || { echo > /data/once; echo first time; exit 1; }; ${STAYS}`;
  const file = (script: string, label = "a"): string =>
    sharing({ web: { script, deploy: `labels: { l: ${label} }, ${how}` } });

  test("is left as it is by the same deployment again, and by one that changes a label", async () => {
    await deploy(stack, file(STAYS), "v1", ours);
    const failed = await deploy(stack, file(once), "v2", { ...ours, ...PATIENTLY });
    expect(failed.outputs.reason).toBe("rollout");
    await until("the second task runs", () => running(`${stack}_web`).join() === "v2", 60);
    expect(service(`${stack}_web`).UpdateStatus?.State).toBe("paused");
    const container = (): string =>
      docker(["service", "ps", "-q", "--filter", "desired-state=running", `${stack}_web`]);
    const before = container();
    const again = await deploy(stack, file(once), "v2", ours);
    expect([again.log, again.outputs.status]).toEqual([again.log, "unchanged"]);
    expect(container()).toBe(before);
    const label = await deploy(stack, file(once, "b"), "v2", ours);
    expect([label.log, label.outputs.status]).toEqual([label.log, "deployed"]);
    expect(running(`${stack}_web`)).toEqual(["v2"]);
    docker(["stack", "rm", stack]);
  });
});

test("a paused service of somebody else's is left alone, and not waited for", async () => {
  const stack = stackName("byhand");
  const image = `${sandbox.registry}/${project}`;
  const create = [
    "service",
    "create",
    "--detach",
    "--name",
    `${stack}_byhand`,
    "--network",
    "host",
    "--with-registry-auth",
  ];
  docker([
    ...create,
    "--label",
    `com.docker.stack.namespace=${stack}`,
    "--update-failure-action",
    "pause",
    `${image}:v1`,
  ]);
  await until("it runs", () => running(`${stack}_byhand`).join() === "v1", 60);
  docker([
    "service",
    "update",
    "--detach",
    "--env-add",
    "FAIL=start",
    "--update-monitor",
    "2s",
    "--image",
    `${image}:v2`,
    `${stack}_byhand`,
  ]);
  await until("it is paused", () => service(`${stack}_byhand`).UpdateStatus?.State === "paused", 60);
  const { Version } = service(`${stack}_byhand`);
  const run = await deploy(stack, sharing({ web: { script: STAYS } }), "v1", {
    ...OURS,
    "stack-name": stack,
  });
  expect([run.log, run.outputs.status]).toEqual([run.log, "deployed"]);
  expect(service(`${stack}_byhand`).Version).toEqual(Version);
  docker(["stack", "rm", stack]);
});

test("a service on every node whose only task waits for its restart is not up, also when nothing is sent", async () => {
  const stack = stackName("restart");
  const ours = { ...OURS, ...PATIENTLY, "stack-name": stack, "on-failure": "keep" };
  const how = "mode: global, restart_policy: { condition: any, delay: 40s }";
  const file = sharing({ web: { script: "/bin/busybox sleep 1; exit 1", deploy: how } });
  expect((await deploy(stack, file, "v1", ours)).outputs.reason).toBe("rollout");
  const again = await deploy(stack, file, "v1", ours);
  expect([again.log, again.outputs.reason]).toEqual([again.log, "rollout"]);
  expect(records(stack)).toEqual([]);
  docker(["stack", "rm", stack]);
});

test("a service that runs once and has failed is red at once when it is deployed again, with its story", async () => {
  const stack = stackName("once");
  const ours = { ...OURS, ...PATIENTLY, "stack-name": stack, "on-failure": "keep" };
  const file = sharing({
    once: { script: "echo bad; exit 7", deploy: "restart_policy: { condition: none }" },
  });
  expect((await deploy(stack, file, "v1", ours)).outputs.reason).toBe("rollout");
  const again = await deploy(stack, file, "v1", ours);
  expect(again.log).toMatch(
    /^::error::Service once failed: 0\/1 running, and Swarm starts none of its tasks again/m,
  );
  expect(again.log).toMatch(/^::error::.*exit code 7/m);
  docker(["stack", "rm", stack]);
});

test("a one-shot service whose image has a health check that fails has not ended well, though it obeys and ends with 0", async () => {
  const stack = stackName("sick");
  const how = "restart_policy: { condition: on-failure }";
  const run = await deploy(stack, sharing({ web: { script: STAYS, deploy: how } }), "sick", {
    ...OURS,
    ...PATIENTLY,
    "stack-name": stack,
  });
  expect([run.log, run.outputs.reason]).toEqual([run.log, "rollout"]);
  expect(docker(["service", "ls", "-q", "--filter", `name=${stack}_`])).toBe("");
});

test("a network that the failed release has brought to a service that was there goes again", async () => {
  const stack = stackName("brought");
  const ours = { ...OURS, "stack-name": stack };
  const file = (script: string, networks: string): string =>
    `services:\n  web:\n    ${IMAGE}\n    ${RUN(script)}\n    networks: [${networks}]\n    deploy: { update_config: { monitor: 1s } }\nnetworks: { plain: {}, extra: {} }\n`;
  await deploy(stack, file(STAYS, "plain"), "v1", ours);
  const run = await deploy(stack, file("/bin/busybox sleep 3; exit 1", "plain, extra"), "v2", {
    ...ours,
    ...PATIENTLY,
  });
  expect([run.log, run.outputs.reason]).toEqual([run.log, "rollout"]);
  expect(run.log).toContain(`Removed, since this deployment created it: the network ${stack}_extra.`);
  expect(docker(["network", "ls", "-q", "--filter", `name=${stack}_extra`])).toBe("");
  docker(["stack", "rm", stack]);
});
