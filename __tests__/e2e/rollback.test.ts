import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { LEAN } from "../stacks/lean.ts";
import { belongings, deploy, record, records, rollBack } from "./history.ts";
import {
  PATIENTLY,
  type Run,
  cleanUp,
  docker,
  imageOf,
  inContainer,
  pushImage,
  serviceNames,
  stackName,
  until,
  workspace,
} from "./rig.ts";

/** The way back to an earlier release. */

afterAll(cleanUp);

describe("three releases", () => {
  const stack = stackName("back");
  const web = (more = ""): string => `
services:
  web:
    image: $REGISTRY_URL/$PROJECT_NAME:$VERSION
    configs: [{ source: env, target: /app/.env }]
    secrets: [token]
    deploy: { update_config: { monitor: 1s } }
${more}
configs: { env: { external: true } }
secrets: { token: { environment: TOKEN } }
networks: { default: { external: true, name: host }, inner: { driver_opts: { encrypted: "" } } }
`;
  const extra = (name: string): string =>
    `  ${name}:\n    image: $REGISTRY_URL/$PROJECT_NAME:$VERSION\n    networks: [side, inner]\n    deploy: { replicas: 0 }\n`;
  const withSide = (file: string): string => `${file.trimEnd().replace(/ }$/, ", side: {} }")}\n`;
  const given = (env: string, token: string): Record<string, string> => ({
    env,
    "env-file": ".env",
    secrets: `TOKEN=${token}`,
  });

  beforeAll(() => {
    for (const version of ["v1", "v2", "v3"]) pushImage(stack, version);
  });

  test("are each recorded, with what they need to come back", async () => {
    const first = await deploy(stack, withSide(web(extra("old"))), "v1", given("A=1\n", "token-one"));
    expect(first.log).toContain("Status: deployed.");
    expect(first.log).toMatch(/Recorded on the swarm as release #1 v1 \(/);
    expect(first.summary).toContain("release <code>#1</code>");
    for (const [version, env, token] of [
      ["v2", "A=2\n", "token-two"],
      ["v3", "A=3\n", "token-three"],
    ] as const)
      expect(
        (await deploy(stack, withSide(web(extra("new"))), version, given(env, token))).outputs.status,
      ).toBe("deployed");
    expect(records(stack)).toEqual([1, 2, 3]);
    expect(record(stack, 2).Spec.Labels).toMatchObject({
      "com.docker.stack.namespace": stack,
      "swarm-stack-deploy.managed": "true",
      "swarm-stack-deploy.stack": stack,
      "swarm-stack-deploy.version": "v2",
      "swarm-stack-deploy.commit": "0123456789abcdef0123456789abcdef01234567",
      "swarm-stack-deploy.run": "https://github.com/acme/shop/actions/runs/42",
      "swarm-stack-deploy.part": "1/1",
    });
    expect(serviceNames(stack)).toEqual([`${stack}_new`, `${stack}_web`]);
  });

  test("deployed again without a change, nothing is written", async () => {
    const before = belongings(stack);
    const run = await deploy(stack, withSide(web(extra("new"))), "v3", given("A=3\n", "token-three"));
    expect(run.outputs.status).toBe("unchanged");
    expect(belongings(stack)).toEqual(before);
    expect(records(stack)).toEqual([1, 2, 3]);
  });

  test("back to the one before: by digest, with its env file and its secret", async () => {
    docker(["service", "update", "--detach", "--force", `${stack}_new`]); // What is tried first; it makes no other release.
    const run = await rollBack(stack);
    expect(run.log).not.toMatch(/^! /m);
    expect(run.log).toContain("Status: rolled-back.");
    expect(run.code).toBe(0);
    expect(run.log).not.toMatch(/^::(error|warning)/m);
    expect(run.log).toMatch(/^What runs is release #3 v3/m);
    expect(run.log).toMatch(/^Going back to release #2 v2/m);
    expect(run.outputs).toMatchObject({
      status: "rolled-back",
      reason: "",
      version: "v2",
      release: "v2",
      image: imageOf(`${stack}_web`),
    });
    expect(run.outputs.image).toMatch(/:v2@sha256:[0-9a-f]{64}$/);
    expect(run.outputs["config-name"]).toMatch(new RegExp(`^${stack}_env_`));
    expect(inContainer(`${stack}_web`, ["/bin/busybox", "cat", "/app/.env", "/run/secrets/token"])).toBe(
      "A=2\ntoken-two",
    );
    expect(records(stack)).toEqual([1, 2, 3, 4]);
    expect(run.log).toMatch(/Recorded on the swarm as release #4 v2 \(.*#2 again\)/);
    expect(run.summary).toContain("runs again");
    expect(run.log).not.toContain("docker stack deploy");
  });

  test("back once more is the one before that, not the one that was left", async () => {
    docker(["network", "create", "--driver", "overlay", `${stack}_kept`]); // A name that the stack could have; nobody's.
    const run = await rollBack(stack);
    expect(run.log).toMatch(/^What runs is release #4 v2 .*#2 again/m);
    expect(run.log).toMatch(/^Going back to release #1 v1/m);
    expect(run.outputs.status).toBe("rolled-back");
    expect(run.log).toContain("new: removed, since the release does not have it.");
    expect(serviceNames(stack)).toEqual([`${stack}_old`, `${stack}_web`]);
    expect(imageOf(`${stack}_old`)).toContain(":v1@sha256:");
    expect(inContainer(`${stack}_web`, ["/bin/busybox", "cat", "/app/.env", "/run/secrets/token"])).toBe(
      "A=1\ntoken-one",
    );
    docker(["network", "rm", `${stack}_kept`]);
  });

  test("to a named one", async () => {
    const run = await rollBack(stack, { version: "v3" });
    expect(run.outputs).toMatchObject({ status: "rolled-back", version: "v3" });
    expect(inContainer(`${stack}_web`, ["/bin/busybox", "cat", "/app/.env", "/run/secrets/token"])).toBe(
      "A=3\ntoken-three",
    );
    expect(serviceNames(stack)).toEqual([`${stack}_new`, `${stack}_web`]);
    const again = await rollBack(stack, { version: "v3" });
    expect(again.outputs.status).toBe("unchanged");
    expect(records(stack)).toEqual([2, 3, 4, 5, 6]);
  });

  test("one that is unknown is refused, and those that there are are named", async () => {
    const before = belongings(stack);
    const run = await rollBack(stack, { version: "v9" });
    expect(run.outputs).toMatchObject({ status: "failed", reason: "preflight" });
    expect(run.log).toContain(`The swarm has no release v9 of ${stack}.`);
    expect(run.log).toMatch(/There are: #6 v3 \(.*#3 again\); #5 v1 \(.*#4 v2 .*#3 v3 .*#2 v2/);
    expect(belongings(stack)).toEqual(before);
  });

  test("what a failed deployment has left is no release: back means the last good one", async () => {
    pushImage(stack, "crash", ["FAIL=start"]);
    const file = withSide(web(extra("new"))).replace("monitor: 1s", "monitor: 1s, failure_action: pause");
    const failed = await deploy(stack, file, "crash", {
      ...given("A=4\n", "token-four"),
      ...PATIENTLY,
      "on-failure": "keep",
    });
    expect(failed.outputs.status).toBe("failed");
    expect(imageOf(`${stack}_web`)).toContain(":crash@");
    const run = await rollBack(stack);
    expect(run.log).toContain("What runs is no release that the swarm remembers.");
    expect(run.log).toMatch(/^Going back to release #6 v3/m);
    expect(run.outputs).toMatchObject({ status: "rolled-back", version: "v3" });
    expect(imageOf(`${stack}_web`)).toContain(":v3@sha256:");
  });

  test("a rollback that can't end well is stopped; one that fails all the same is put back, and is no release", async () => {
    const label = `planet-${stack}=mars`;
    docker(["node", "update", "--label-add", label, "n1"]);
    const there = withSide(web(extra("new"))).replace(
      "update_config: { monitor: 1s }",
      `update_config: { monitor: 1s }, placement: { constraints: ["node.labels.${label.replace("=", " == ")}"] }`,
    );
    const on = async (file: string, version: string): Promise<Run> =>
      await deploy(stack, file, version, given("A=3\n", "token-three"));
    expect((await on(there, "v2")).outputs.status).toBe("deployed");
    expect((await on(withSide(web(extra("new"))), "v3")).outputs.status).toBe("deployed");
    docker(["node", "update", "--label-rm", `planet-${stack}`, "n1"]);
    const [before, history] = [imageOf(`${stack}_web`), records(stack)];
    const stopped = await rollBack(stack);
    expect(stopped.outputs).toMatchObject({ status: "failed", reason: "preflight" });
    expect(stopped.log).toMatch(
      /::error::Service web has no node to run on: .*\[no-eligible-node\].* mode `deploy` instead\./,
    );
    expect([imageOf(`${stack}_web`), records(stack)]).toEqual([before, history]);
    const run = await rollBack(stack, { "ignore-findings": "no-eligible-node" });
    expect(run.outputs).toMatchObject({ status: "failed", reason: "rollout", version: "v2" });
    expect(run.code).toBe(1);
    expect(run.log).toMatch(/::error::Service web failed: .*no suitable node/);
    expect(run.log).toMatch(/Put back to what ran before: .*; all of it runs\./);
    expect(run.summary).toContain("was not brought back");
    expect(imageOf(`${stack}_web`)).toBe(before);
    expect(imageOf(`${stack}_new`)).toContain(":v3@");
    expect(records(stack)).toEqual(history);
  });

  test("of a stack that was removed there is nothing to go back to", async () => {
    docker(["stack", "rm", stack]);
    await until(
      "its networks are gone",
      () => docker(["network", "ls", "-q", "--filter", `name=${stack}_`]) === "",
      60,
    );
    const run = await rollBack(stack);
    expect(run.log).toContain(`::error::The swarm has no release of ${stack} to go back to.`);
    expect(records(stack)).toEqual([]);
  });
});

test("what ran beside a release is left, as nobody's addition, and a config made anew is told", async () => {
  const stack = stackName("beside");
  pushImage(stack, "v1");
  const shared = `${stack}-shared`;
  const makeShared = (content: string): string =>
    docker(["config", "create", shared, `${workspace({ shared: content })}/shared`]);
  makeShared("then");
  const service = (name: string, more: string): string =>
    `  ${name}: { image: $IMAGE, deploy: { replicas: 0 }${more} }\n`;
  const file = (services: string, more = ""): string => `services:\n${services}${LEAN}${more}`;
  const external = `configs: { ${shared}: { external: true } }\n`;
  const keeping = { prune: "false" };
  await deploy(stack, file(service("b", "") + service("a", `, configs: [${shared}]`), external), "v1");
  await deploy(stack, file(service("a", ", hostname: two")), "v1", keeping);
  const third = await deploy(stack, file(service("a", ", hostname: three")), "v1", keeping);
  expect(third.outputs.status).toBe("deployed");
  expect(third.log).not.toMatch(/^! /m);
  const back = await rollBack(stack);
  expect(back.log).toMatch(/^Going back to release #2 /m);
  expect(back.outputs.status).toBe("rolled-back");
  expect(serviceNames(stack)).toEqual([`${stack}_a`, `${stack}_b`]);
  docker(["config", "rm", shared]);
  makeShared("now");
  const first = await rollBack(stack, { version: "#1" });
  expect(first.log).toMatch(
    new RegExp(`^::warning.*The config ${shared} that release #1 .* was removed since`, "m"),
  );
  expect(first.outputs.status).toBe("rolled-back");
  docker(["stack", "rm", stack]);
  docker(["config", "rm", shared]);
});
