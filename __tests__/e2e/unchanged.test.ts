import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import {
  buildable,
  cleanUp,
  docker,
  pushImage,
  runAction,
  sandbox,
  service,
  serviceNames,
  stackName,
  until,
} from "./rig.ts";

/** What docker would send and what the engine stored must be known to be the same, or every deployment would touch every service. */

const stack = stackName("same");
const file = readFileSync(join(import.meta.dirname, "../stacks/everything.yml"), "utf8");
const inputs = { "stack-name": stack, project: stack, version: "v1", build: "false", "env-file": ".env" };
const cwd = buildable({ "stack.yml": file, ".env": "A=1\n", "inline.txt": "inline $content\n" });

beforeAll(() => void pushImage(stack, "v1"));
afterAll(cleanUp);

/** What the managers wrote for this stack while `work` went on, in docker's words. They are listened to: an engine remembers few. */
async function written(work: () => Promise<void>): Promise<string[]> {
  const format = '{{.Type}} {{.Action}} {{index .Actor.Attributes "name"}}';
  const since = new Date().toISOString();
  const argv = ["events", "--since", since, "--filter", "scope=swarm", "--format", format];
  const events = spawn("docker", argv, { env: { ...process.env, DOCKER_HOST: sandbox.managerDockerHost } });
  let heard = "";
  events.stdout.on("data", (chunk: Buffer) => (heard += chunk.toString()));
  const mark = `${stack}-end`;
  try {
    await work();
    docker(["config", "create", mark, join(cwd, ".env")]); // Whatever came before it has been told by then.
    await until("the last event is heard", () => heard.includes(mark));
  } finally {
    events.kill();
    docker(["config", "rm", mark]);
  }
  return heard.split("\n").filter((line) => line.includes(stack) && !line.includes(mark));
}

test("a stack that uses everything is deployed", async () => {
  const writes = await written(async () => {
    const run = await runAction({ cwd, inputs });
    expect(run.log).toContain("Status: deployed.");
  });
  expect(serviceNames(stack)).toHaveLength(5);
  // So such events are told, and each of these could be.
  for (const write of [`config create swarm-stack-deploy_lock_${stack}`, `service create ${stack}_web`])
    expect(writes).toContain(write);
});

test("deployed again, it plans nothing and writes nothing", async () => {
  const before = serviceNames(stack).map((name) => service(name).Version.Index);
  const writes = await written(async () => {
    const run = await runAction({ cwd, inputs });
    const plan = JSON.parse(run.outputs.plan ?? "{}") as {
      services: { name: string; change: string; fields: string[] }[];
    };
    expect(plan.services.filter(({ change }) => change !== "unchanged")).toEqual([]);
    expect(run.outputs.status).toBe("unchanged");
  });
  expect(writes).toEqual([]);
  expect(serviceNames(stack).map((name) => service(name).Version.Index)).toEqual(before);
});

/** Docker, and each command that it has been given. */
function listenedTo(): { readonly environment: Record<string, string>; readonly heard: () => string[] } {
  const folder = mkdtempSync(join(tmpdir(), "docker-"));
  const [script, log] = [join(folder, "docker"), join(folder, "log")];
  const real = execFileSync("which", ["docker"], { encoding: "utf8" }).trim();
  writeFileSync(script, `#!/bin/bash\necho "$*" >> ${log}\nexec ${real} "$@"\n`, { mode: 0o755 });
  const environment = { PATH: `${folder}:${process.env.PATH ?? ""}` };
  return { environment, heard: () => readFileSync(log, "utf8").trim().split("\n") };
}

test("docker need not be asked what the draft has told, and says the same where it is asked", async () => {
  const { environment, heard } = listenedTo();
  const asks = (): number => heard().filter((line) => line.includes("--resolve-image always")).length;
  const planned = async (): Promise<Record<string, string | undefined>> =>
    (await runAction({ cwd, inputs: { ...inputs, mode: "plan" }, environment })).outputs;
  const told = await planned();
  expect([told.changes, asks()]).toEqual(["0", 0]);
  // Docker takes this over from what runs, so only docker can say that there is nothing to do.
  docker(["service", "update", "--force", `${stack}_none`]);
  const asked = await planned();
  expect([asked.changes, asks()]).toEqual(["0", 1]);
  expect([asked.plan, asked["plan-digest"]]).toEqual([told.plan, told["plan-digest"]]);
});

test("a change made behind our back is seen, and undone", async () => {
  docker(["service", "update", "--detach", "--env-add", "ALPHA=second", `${stack}_none`]);
  const run = await runAction({ cwd, inputs });
  expect(run.outputs.status).toBe("deployed");
  expect(run.log).toMatch(/^~ none .*\(environment\)$/m);
  expect(service(`${stack}_none`).Spec.TaskTemplate.ContainerSpec.Env).toContain("ALPHA=first");
});
