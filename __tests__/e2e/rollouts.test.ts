import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { LEAN } from "../stacks/lean.ts";
import {
  PATIENTLY,
  buildable,
  cleanUp,
  docker,
  imageOf,
  inspect,
  pushImage,
  runAction,
  sandbox,
  service,
  serviceNames,
  stackName,
} from "./rig.ts";

afterAll(() => {
  cleanUp();
  for (const network of ["hyperf_net"]) docker(["network", "rm", network]);
});

describe("the stack file that this project grew from", () => {
  const stack = stackName("hyperf");
  const file = readFileSync(join(import.meta.dirname, "../stacks/hyperf.yml"), "utf8");
  const env = "DB_PASSWORD=a$b'c\"d\nAPP=hyperf\n";

  test("deploys exactly as it is written", async () => {
    const cwd = buildable({ "stack.yml": file, ".env": env });
    const inputs = {
      "stack-name": stack,
      project: stack,
      version: "test",
      "env-file": ".env",
      networks: "hyperf_net",
    };
    const run = await runAction({ cwd, inputs });
    expect(run.log).toContain("Status: deployed.");
    expect(imageOf(`${stack}_hyperf`)).toBe(`${sandbox.registry}/${stack}:test@${run.outputs.digest}`);
    const spec = service(`${stack}_hyperf`).Spec;
    expect(spec.TaskTemplate.ContainerSpec.Configs?.[0]?.ConfigName).toMatch(/_hyperf_v1\.0_[0-9a-f]{12}$/);
    expect(spec.UpdateConfig).toMatchObject({ Order: "start-first", FailureAction: "rollback" });
    expect(inspect("network", "hyperf_net")).toMatchObject({ Attachable: true, Driver: "overlay" });
  });
});

describe("several services", () => {
  const stack = stackName("several");
  const inputs = { "stack-name": stack, project: stack, build: "false" };
  const services = (web: string, more: string): string => `${LEAN}
services:
  web:
    image: $REGISTRY_URL/$PROJECT_NAME:${web}
    deploy: { update_config: { monitor: 2s } }
  worker:
    image: $REGISTRY_URL/$PROJECT_NAME:v1
${more}`;
  const extra = "  extra:\n    image: $REGISTRY_URL/$PROJECT_NAME:v1\n";
  beforeAll(() => {
    pushImage(stack, "v1");
    pushImage(stack, "v2");
    pushImage(stack, "crash", ["FAIL=start"]);
    pushImage(stack, "late", ["FAIL=late"]);
    pushImage(stack, "loud", ["FAIL=loud"]);
  });

  test("all come up", async () => {
    const run = await runAction({
      cwd: buildable({ "stack.yml": services("v1", extra) }),
      inputs: { ...inputs, version: "v1" },
    });
    expect(run.outputs.status).toBe("deployed");
  });

  test("one that does not change is not sent, so that Swarm keeps what it would roll back to", async () => {
    const before = service(`${stack}_worker`);
    const run = await runAction({
      cwd: buildable({ "stack.yml": services("v2", extra) }),
      inputs: { ...inputs, version: "v1" },
    });
    expect(run.outputs.status).toBe("deployed");
    expect(imageOf(`${stack}_web`)).toContain(":v2@sha256:");
    expect(service(`${stack}_worker`).Version.Index).toBe(before.Version.Index);
    expect(run.log).toContain("Updating service");
    expect(run.log).not.toMatch(/Updating service \S+_worker/);
  });

  test("one that fails takes the good ones back with it", async () => {
    const file =
      services("v1", "").replace(
        "worker:\n    image: $REGISTRY_URL/$PROJECT_NAME:v1",
        "worker:\n    image: $REGISTRY_URL/$PROJECT_NAME:crash",
      ) + extra;
    const run = await runAction({
      cwd: buildable({ "stack.yml": file }),
      inputs: { ...inputs, ...PATIENTLY, version: "v1" },
    });
    expect(run.outputs).toMatchObject({ status: "failed", reason: "rollout" });
    expect(run.log).toMatch(/::error::Service worker failed/);
    expect(run.log.match(/^::error/gm)).toHaveLength(1);
    expect(imageOf(`${stack}_web`)).toContain(":v2@sha256:");
    expect(imageOf(`${stack}_worker`)).toContain(":v1@sha256:");
  });

  test('with "on-failure: keep" the stack stays as it is for inspection', async () => {
    const run = await runAction({
      cwd: buildable({
        "stack.yml": services("crash", extra).replace("monitor: 2s", "monitor: 2s, failure_action: pause"),
      }),
      inputs: { ...inputs, ...PATIENTLY, version: "v1", "on-failure": "keep" },
    });
    expect(run.code).toBe(1);
    expect(imageOf(`${stack}_web`)).toContain(":crash@sha256:");
    expect(run.summary).toContain("left as it is");
  });

  test("a stack left in pieces is brought to a good release by the next deployment", async () => {
    const run = await runAction({
      cwd: buildable({ "stack.yml": services("v2", extra) }),
      inputs: { ...inputs, version: "v1" },
    });
    expect(run.outputs.status).toBe("deployed");
    expect(imageOf(`${stack}_web`)).toContain(":v2@sha256:");
  });

  test("a crash after the start, within stable-for, is red", async () => {
    const run = await runAction({
      cwd: buildable({ "stack.yml": services("late", extra).replace("monitor: 2s", "monitor: 1s") }),
      inputs: { ...inputs, ...PATIENTLY, version: "v1" },
    });
    expect(run.outputs).toMatchObject({ status: "failed", reason: "rollout" });
    expect(run.log).toContain("  | late FATAL");
    expect(imageOf(`${stack}_web`)).toContain(":v2@sha256:");
  });

  test("what a container prints can't act as a workflow command, as Markdown, or show a secret", async () => {
    const file = services("loud", extra).replace(
      "monitor: 2s } }",
      "monitor: 2s } }\n    environment: { TOKEN: $TOKEN }",
    );
    const run = await runAction({
      cwd: buildable({ "stack.yml": file }),
      inputs: { ...inputs, ...PATIENTLY, version: "v1", secrets: "TOKEN=hunter2-hunter2" },
    });
    expect(run.outputs.status).toBe("failed");
    const lines = run.log.split("\n");
    expect(lines.some((line) => line.includes("I am a container"))).toBe(true);
    expect(
      lines.filter((line) => line.startsWith("::error::I am") || line.startsWith("::set-output")),
    ).toEqual([]);
    expect(run.log).not.toContain("##[command]");
    expect(run.log + run.summary + JSON.stringify(run.outputs)).not.toContain("hunter2");
    expect(run.summary).toContain("````text\n");
  });

  test("an image that is not in the registry is told apart, and what runs stays", async () => {
    const run = await runAction({
      cwd: buildable({ "stack.yml": services("nonexistent", extra) }),
      inputs: { ...inputs, version: "v1" },
    });
    expect(run.outputs).toMatchObject({ status: "failed", reason: "preflight" });
    expect(run.log).toContain(`The manager can't read the image ${sandbox.registry}/${stack}:nonexistent`);
    expect(imageOf(`${stack}_web`)).toContain(":v2@sha256:");
  });

  test("a service the file no longer has goes after the verdict; one we never deployed stays", async () => {
    docker([
      "service",
      "create",
      "--detach",
      "--name",
      `${stack}_foreign`,
      "--label",
      `com.docker.stack.namespace=${stack}`,
      "--replicas",
      "0",
      imageOf(`${stack}_web`),
    ]);
    const failing = await runAction({
      cwd: buildable({ "stack.yml": services("crash", "") }),
      inputs: { ...inputs, ...PATIENTLY, version: "v1" },
    });
    expect(failing.outputs.status).toBe("failed");
    expect(serviceNames(stack)).toContain(`${stack}_extra`);
    const kept = await runAction({
      cwd: buildable({ "stack.yml": services("v2", "") }),
      inputs: { ...inputs, version: "v1", prune: "false" },
    });
    expect(kept.outputs.status).toBe("unchanged");
    expect(serviceNames(stack)).toContain(`${stack}_extra`);
    const run = await runAction({
      cwd: buildable({ "stack.yml": services("v2", "") }),
      inputs: { ...inputs, version: "v1" },
    });
    expect(run.outputs.status).toBe("deployed");
    expect(serviceNames(stack)).toEqual([`${stack}_foreign`, `${stack}_web`, `${stack}_worker`]);
    expect(run.log).toContain("extra: removed, since the stack file no longer has it.");
    expect(run.log).toMatch(/^\? foreign .*left alone/m);
  });

  test("a rollout that can't be scheduled ends at the timeout with the scheduler's words", async () => {
    const file = services("v1", "").replace(
      "monitor: 2s } }",
      'monitor: 2s }, placement: { constraints: ["node.labels.planet == mars"] } }',
    );
    const run = await runAction({
      cwd: buildable({ "stack.yml": file }),
      inputs: { ...inputs, version: "v1", timeout: "8s", "ignore-findings": "no-eligible-node" },
    });
    expect(run.outputs).toMatchObject({ status: "failed", reason: "rollout" });
    expect(run.log).toMatch(/::error::Service web did not converge within 8s: .*no suitable node/);
    expect(imageOf(`${stack}_web`)).toContain(":v2@sha256:");
  });

  test("one-shot services and jobs are done when they are done", async () => {
    const once =
      "  once:\n    image: $REGISTRY_URL/$PROJECT_NAME:v1\n    entrypoint: [/bin/busybox, echo, done]\n    deploy: { restart_policy: { condition: none } }\n";
    const job =
      "  job:\n    image: $REGISTRY_URL/$PROJECT_NAME:v1\n    entrypoint: [/bin/busybox, echo, done]\n    deploy: { mode: replicated-job, restart_policy: { condition: none } }\n";
    const run = await runAction({
      cwd: buildable({ "stack.yml": services("v2", once + job) }),
      inputs: { ...inputs, version: "v1" },
    });
    expect(run.log).toContain("Status: deployed.");
    expect(run.log).toMatch(/job: ✓ 1\/1 complete/);
  });
});
