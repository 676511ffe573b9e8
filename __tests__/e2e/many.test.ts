import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import {
  cleanUp,
  docker,
  pushImage,
  runAction,
  sandbox,
  service,
  serviceNames,
  stackName,
  workspace,
} from "./rig.ts";

/** A stack of many services is sent in several parts at once. */

const stack = stackName("many");
const other = stackName("other");
const inputs = { "stack-name": stack, project: stack, version: "v1", build: "false" };
const names = Array.from({ length: 14 }, (_, index) => `web${index}`);
const TAKEN = 18_093;

/** Without replicas: what becomes of tasks is told elsewhere. */
function file(release: string, refused = ""): string {
  const services = names.map((name) => {
    const ports = name === refused ? `, ports: ["${TAKEN}:80"]` : "";
    return `  ${name}: { image: $IMAGE, environment: { RELEASE: "${release}" }, networks: [one, two], deploy: { replicas: 0 }${ports} }`;
  });
  return ["services:", ...services, "networks: { one: , two: }", ""].join("\n");
}

function releases(): string[] {
  return serviceNames(stack).map(
    (name) => service(name).Spec.TaskTemplate.ContainerSpec.Env?.join() ?? "nothing",
  );
}

beforeAll(() => {
  pushImage(stack, "v1");
  const image = `${sandbox.registry}/${stack}:v1`;
  docker([
    "service",
    "create",
    "--detach",
    "--no-resolve-image",
    "--replicas",
    "0",
    "--publish",
    `${TAKEN}:80`,
    "--label",
    `com.docker.stack.namespace=${other}`,
    "--name",
    `${other}_web`,
    image,
  ]);
});
afterAll(cleanUp);

describe("a stack of many services", () => {
  test("is deployed, with one of each network", async () => {
    const run = await runAction({ cwd: workspace({ "stack.yml": file("1") }), inputs });
    expect(run.log).toContain("Status: deployed.");
    expect(serviceNames(stack)).toEqual(names.map((name) => `${stack}_${name}`).toSorted());
    const networks = docker([
      "network",
      "ls",
      "--format",
      "{{.Name}}",
      "--filter",
      `label=com.docker.stack.namespace=${stack}`,
    ]);
    expect(networks.split("\n").toSorted()).toEqual([`${stack}_one`, `${stack}_two`]);
    expect(run.log.match(/Creating network/g)?.length).toBeGreaterThan(2); // By every docker; the swarm has heard of it once.
  });

  test("of which the manager refuses one is put back, and that is told once", async () => {
    const run = await runAction({ cwd: workspace({ "stack.yml": file("2", "web6") }), inputs });
    expect(run.outputs).toMatchObject({ status: "failed", reason: "deploy" });
    const errors = run.log.match(/^::error::.*$/gm) ?? [];
    expect(errors).toHaveLength(1);
    expect(errors[0]).toContain(`failed to update service ${stack}_web6`);
    expect(errors[0]?.match(new RegExp(`port '${TAKEN}' is already in use`, "g"))).toHaveLength(1);
    expect(errors[0]).not.toContain("it was not sent");
    expect(releases()).toEqual(names.map(() => "RELEASE=1"));
    expect(run.leftovers).toEqual([]);
  });

  test("is deployed once nothing stands in the way, and then unchanged", async () => {
    const cwd = workspace({ "stack.yml": file("2") });
    expect((await runAction({ cwd, inputs })).outputs.status).toBe("deployed");
    expect(releases()).toEqual(names.map(() => "RELEASE=2"));
    expect((await runAction({ cwd, inputs })).outputs.status).toBe("unchanged");
  });
});
