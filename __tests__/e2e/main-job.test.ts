import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import {
  PATIENTLY,
  buildable,
  cleanUp,
  docker,
  imageOf,
  inContainer,
  inspect,
  runAction,
  sandbox,
  service,
  sshLogins,
  stackName,
} from "./rig.ts";

afterAll(cleanUp);

/** One stack's life, in order: first release, nothing new, a changed .env, a release that crashes, and a redeploy without a build. */

const STACK_FILE = `
services:
  web:
    image: $REGISTRY_URL/$PROJECT_NAME:$VERSION
    environment:
      RELEASE_NAME: \${RELEASE_NAME:-none}
    configs:
      - source: settings
        target: /app/.env
    deploy:
      replicas: 2
      update_config: { monitor: 2s }
  quiet:
    image: $IMAGE
    deploy:
      update_config:
        order: stop-first
configs:
  settings:
    external: true
`;
const ENV_FILE = "PASSWORD=pa$word \"quoted\" 'single' # hash\nEMPTY=\nUNICODE=é😀\r\nNO_FINAL_NEWLINE=yes";

describe("a stack's life", () => {
  const ecdsa = {
    "ssh-user": "deploy",
    "ssh-private-key": readFileSync(join(sandbox.keys, "id_ecdsa"), "utf8"),
  };
  const stack = stackName("life");
  const project = stack;
  const inputs = { "stack-name": stack, project, "env-file": ".env", networks: `${stack}-net` };
  let firstDigest = "";
  test("a push builds, pushes and deploys, with one SSH login", async () => {
    const logins = sshLogins("deploy", "ECDSA");
    const cwd = buildable({ "stack.yml": STACK_FILE, ".env": ENV_FILE });
    const run = await runAction({
      cwd,
      inputs: { ...inputs, version: "v1", tags: "latest", "build-args": "RELEASE=v1", ...ecdsa },
    });
    expect(run.log).toContain("Status: deployed.");
    expect(run.code).toBe(0);
    expect(sshLogins("deploy", "ECDSA") - logins).toBe(1);
    expect(run.outputs).toMatchObject({ status: "deployed", reason: "", "stack-name": stack, version: "v1" });
    firstDigest = run.outputs.digest ?? "";
    expect(firstDigest).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(run.outputs.image).toBe(`${sandbox.registry}/${project}:v1@${firstDigest}`);
    expect(imageOf(`${stack}_web`)).toBe(run.outputs.image);
    expect(imageOf(`${stack}_quiet`)).toBe(run.outputs.image);
    expect(run.summary).toContain("is deployed");
    expect(run.leftovers).toEqual([]);
  });

  test("the defaults are written where the file is silent, and nowhere else", () => {
    expect(service(`${stack}_web`).Spec.UpdateConfig).toMatchObject({
      Order: "start-first",
      FailureAction: "rollback",
    });
    expect(service(`${stack}_quiet`).Spec.UpdateConfig).toMatchObject({
      Order: "stop-first",
      FailureAction: "rollback",
    });
  });

  test("the .env arrives byte for byte, in a config that says where it comes from", () => {
    const name = service(`${stack}_web`).Spec.TaskTemplate.ContainerSpec.Configs?.[0]?.ConfigName ?? "";
    expect(name).toMatch(new RegExp(`^${stack}_settings_[0-9a-f]{12}$`));
    expect(inContainer(`${stack}_web`, ["/bin/busybox", "cat", "/app/.env"])).toBe(
      Buffer.from(ENV_FILE).toString("latin1"),
    );
    const { Spec } = inspect("config", name) as { Spec: { Labels: Record<string, string> } };
    expect(Spec.Labels).toMatchObject({
      "swarm-stack-deploy.stack": stack,
      "swarm-stack-deploy.key": "settings",
      "swarm-stack-deploy.version": "v1",
      "swarm-stack-deploy.commit": "0123456789abcdef0123456789abcdef01234567",
      "swarm-stack-deploy.run": "https://github.com/acme/shop/actions/runs/42",
    });
  });

  test("the same once more, without a build, writes nothing", async () => {
    const before = [service(`${stack}_web`), service(`${stack}_quiet`)].map(({ Version }) => Version.Index);
    const cwd = buildable({ "stack.yml": STACK_FILE, ".env": ENV_FILE });
    const run = await runAction({ cwd, inputs: { ...inputs, version: "v1", build: "false" } });
    expect(run.outputs).toMatchObject({ status: "unchanged", digest: firstDigest });
    expect(run.code).toBe(0);
    expect([service(`${stack}_web`), service(`${stack}_quiet`)].map(({ Version }) => Version.Index)).toEqual(
      before,
    );
  });

  test("a changed .env makes a new config and rolls only the service that uses it", async () => {
    const quiet = service(`${stack}_quiet`);
    const cwd = buildable({ "stack.yml": STACK_FILE, ".env": `${ENV_FILE}\n` });
    const run = await runAction({ cwd, inputs: { ...inputs, version: "v1", build: "false" } });
    expect(run.outputs.status).toBe("deployed");
    expect(service(`${stack}_quiet`).Version.Index).toBe(quiet.Version.Index);
    const plan = JSON.parse(run.outputs.plan ?? "") as {
      services: { name: string; change: string; fields: string[] }[];
    };
    expect(plan.services.find(({ name }) => name === "web")).toMatchObject({
      change: "update",
      fields: ["configs"],
    });
    expect(plan.services.find(({ name }) => name === "quiet")).toMatchObject({ change: "unchanged" });
    const name = service(`${stack}_web`).Spec.TaskTemplate.ContainerSpec.Configs?.[0]?.ConfigName;
    expect(run.outputs["config-name"]).toBe(name);
    expect(inContainer(`${stack}_web`, ["/bin/busybox", "cat", "/app/.env"])).toBe(
      Buffer.from(`${ENV_FILE}\n`).toString("latin1"),
    );
    expect(
      docker([
        "config",
        "ls",
        "-q",
        "--filter",
        `label=swarm-stack-deploy.stack=${stack}`,
        "--filter",
        "label=swarm-stack-deploy.key",
      ]).split("\n"),
    ).toHaveLength(2);
  });

  test("a release that crashes is red, tells the task's last words, and leaves what ran before", async () => {
    const cwd = buildable({ "stack.yml": STACK_FILE, ".env": ENV_FILE });
    const run = await runAction({
      cwd,
      inputs: { ...inputs, version: "v3", "build-args": "RELEASE=v3\nFAIL=start", ...PATIENTLY },
    });
    expect(run.code).toBe(1);
    expect(run.outputs).toMatchObject({ status: "failed", reason: "rollout", version: "v3" });
    expect(run.log).toContain("  | FATAL: no database");
    expect(run.log).toMatch(/::error::Service (web|quiet) failed.*non-zero exit \(3\)/);
    expect(run.summary).toContain("FATAL: no database");
    expect(run.summary).toContain("all of it runs");
    expect(imageOf(`${stack}_web`)).toContain(firstDigest);
    expect(imageOf(`${stack}_quiet`)).toContain(firstDigest);
    expect(run.leftovers).toEqual([]);
  });

  test("a version that was never pushed is refused before the swarm is touched", async () => {
    const before = service(`${stack}_web`).Version.Index;
    const cwd = buildable({ "stack.yml": STACK_FILE, ".env": ENV_FILE });
    const run = await runAction({ cwd, inputs: { ...inputs, version: "v99", build: "false" } });
    expect(run.code).toBe(1);
    expect(run.outputs.reason).toBe("preflight");
    expect(run.log).toContain("the registry has no such image");
    expect(service(`${stack}_web`).Version.Index).toBe(before);
  });
});

describe("the first deployment of a stack that crashes", () => {
  const stack = stackName("doomed");
  let run: Awaited<ReturnType<typeof runAction>>;
  beforeAll(async () => {
    const cwd = buildable({ "stack.yml": "services:\n  web:\n    image: $IMAGE\n" });
    run = await runAction({
      cwd,
      inputs: {
        "stack-name": stack,
        project: stack,
        version: "v1",
        "build-args": "FAIL=start",
        ...PATIENTLY,
      },
    });
  });
  test("is red", () => {
    expect(run.code).toBe(1);
    expect(run.outputs).toMatchObject({ status: "failed", reason: "rollout" });
  });

  test("leaves nothing running, and says so", () => {
    expect(docker(["stack", "services", "-q", stack])).toBe("");
    expect(run.log).toContain("web: removed, since this deployment created it.");
    expect(run.log).toContain(
      `Removed, since this deployment created it: web, the network ${stack}_default.`,
    );
    expect(run.summary).toContain("Removed, since this deployment created it: web, the network ");
    expect(docker(["network", "ls", "-q", "--filter", `name=${stack}_`])).toBe("");
  });
});
