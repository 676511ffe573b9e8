import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { LEAN } from "../stacks/lean.ts";
import { buildable, cleanUp, docker, inContainer, pushImage, runAction, service, stackName } from "./rig.ts";

/** Configs and secrets that the stack file itself gives content to: new content is a new object, and rolls who uses it. */

const STACK = `
${LEAN}services:
  web:
    image: $IMAGE
    configs: [{ source: site, target: /site.conf }, { source: inline, target: /inline }]
    secrets: [token, { source: dotenv, target: /app/.env }]
    deploy: { update_config: { monitor: 1s } }
configs:
  site: { file: ./conf/site.conf }
  inline: { content: "hello \${NAME} $$5" }
secrets:
  token: { environment: TOKEN }
  dotenv: { file: ./ignored }
`;

afterAll(cleanUp);

describe("configs and secrets with content", () => {
  const stack = stackName("versioned");
  const secret = Buffer.from([0, 255, 10, 36, 36, 13, 10]);
  const cwd = buildable({
    "deploy/stack.yml": STACK,
    "deploy/conf/site.conf": "listen 80\n",
    "deploy/ignored": "x",
    ".env": "",
  });
  const inputs = {
    "stack-name": stack,
    project: stack,
    version: "v1",
    build: "false",
    "stack-file": "deploy/stack.yml",
    "env-file": ".env",
    "env-config": "dotenv",
    variables: "NAME=world",
    secrets: "TOKEN=first-token",
  };
  beforeAll(() => {
    writeFileSync(join(cwd, ".env"), secret);
    pushImage(stack, "v1");
  });

  test("arrive byte for byte", async () => {
    const run = await runAction({ cwd, inputs });
    expect(run.log).toContain("Status: deployed.");
    const read = (path: string): string => inContainer(`${stack}_web`, ["/bin/busybox", "cat", path]);
    expect(read("/site.conf")).toBe("listen 80\n");
    expect(read("/inline")).toBe("hello world $5");
    expect(read("/run/secrets/token")).toBe("first-token");
    expect(read("/app/.env")).toBe(secret.toString("latin1"));
    expect(run.outputs["config-name"]).toMatch(new RegExp(`^${stack}_dotenv_[0-9a-f]{12}$`));
  });

  test("that are the same again make nothing new", async () => {
    const run = await runAction({ cwd, inputs });
    expect(run.outputs.status).toBe("unchanged");
  });

  test("a changed secret is a new one, and the service that uses it rolls", async () => {
    const before = docker([
      "secret",
      "ls",
      "-q",
      "--filter",
      `label=swarm-stack-deploy.stack=${stack}`,
    ]).split("\n");
    const run = await runAction({ cwd, inputs: { ...inputs, secrets: "TOKEN=second-token" } });
    expect(run.outputs.status).toBe("deployed");
    expect(run.log).toMatch(/^~ web .*\(secrets\)$/m);
    expect(inContainer(`${stack}_web`, ["/bin/busybox", "cat", "/run/secrets/token"])).toBe("second-token");
    expect(
      docker(["secret", "ls", "-q", "--filter", `label=swarm-stack-deploy.stack=${stack}`]).split("\n"),
    ).toHaveLength(before.length + 1);
    expect(service(`${stack}_web`).Spec.Labels["swarm-stack-deploy.managed"]).toBe("true");
  });
});

describe("a secret that a driver has", () => {
  const stack = stackName("driver");
  const file = `
services:
  web:
    image: $IMAGE
    secrets: [vault]
    deploy: { replicas: 0 }
secrets:
  vault: { driver: vault, driver_opts: { path: a/b } }
`;
  const cwd = buildable({ "stack.yml": file });
  const inputs = { "stack-name": stack, project: stack, version: "v1", build: "false" };
  beforeAll(() => void pushImage(stack, "v1"));

  test("is docker's to create, and no engine here has one", async () => {
    const run = await runAction({ cwd, inputs });
    expect(run.log).toContain(`+ secret ${stack}_vault`);
    expect(run.log).toMatch(/^::error::.*plugin \\?"vault\\?" not found/m);
    expect(run.outputs).toMatchObject({ status: "failed", reason: "deploy" });
    expect(docker(["stack", "services", "-q", stack])).toBe("");
  });
});
