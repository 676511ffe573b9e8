import { execFileSync } from "node:child_process";
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { LEAN } from "../stacks/lean.ts";
import { buildable, cleanUp, docker, imageOf, pushImage, runAction, sandbox, stackName } from "./rig.ts";

/** Building and pushing, with docker's own builder and with buildx, and what becomes of credentials. */

afterAll(cleanUp);

const STACK = `${LEAN}services:\n  web:\n    image: $IMAGE\n    deploy: { update_config: { monitor: 1s } }\n`;
const buildx = process.env.SANDBOX_BUILDX ?? "";

interface ImageConfig {
  readonly Labels: Readonly<Record<string, string>>;
  readonly Env: readonly string[];
}

function imageConfig(reference: string): ImageConfig {
  const [image] = JSON.parse(docker(["image", "inspect", reference], sandbox.runnerDockerHost)) as {
    Config: ImageConfig;
  }[];
  return image?.Config ?? { Labels: {}, Env: [] };
}

/** The registry's own word for what stands behind a tag. */
function registryDigest(project: string, tag: string): string {
  const auth = `${sandbox.registryUser}:${sandbox.registryPassword}`;
  const accept =
    "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";
  const headers = execFileSync(
    "curl",
    [
      "-sI",
      "-u",
      auth,
      "-H",
      `Accept: ${accept}`,
      `http://${sandbox.registry}/v2/${project}/manifests/${tag}`,
    ],
    { encoding: "utf8" },
  );
  return /docker-content-digest: (\S+)/i.exec(headers)?.[1] ?? "";
}

/** A home with the plug-in, as a runner with buildx has it. */
function homeWithBuildx(): string {
  const home = mkdtempSync(join(tmpdir(), "home-"));
  mkdirSync(join(home, ".docker/cli-plugins"), { recursive: true });
  cpSync(buildx, join(home, ".docker/cli-plugins/docker-buildx"));
  return home;
}

describe.each([
  ["docker's own builder", () => ({})],
  ["buildx", () => ({ HOME: homeWithBuildx() })],
])("with %s", (name, environment: () => Record<string, string>) => {
  const stack = stackName("build");
  let run: Awaited<ReturnType<typeof runAction>>;
  beforeAll(async () => {
    const cwd = buildable({
      "deploy/stack.yml": STACK,
      "docker/web.Dockerfile": `${readFileSync(join(import.meta.dirname, "../image/Dockerfile"), "utf8")}\nFROM scratch AS never\n`,
    });
    const dockerfile = readFileSync(join(cwd, "docker/web.Dockerfile"), "utf8").replace(
      "FROM scratch\n",
      "FROM scratch AS app\n",
    );
    writeFileSync(join(cwd, "docker/web.Dockerfile"), dockerfile);
    const inputs = {
      "stack-name": stack,
      project: `team/${stack}`,
      "stack-file": "deploy/stack.yml",
      file: "docker/web.Dockerfile",
      target: "app",
      tags: "latest\nstable",
      labels: "com.example.team=shop",
      "build-args": "RELEASE=from the workflow\nFAIL=",
    };
    const event = { GITHUB_REF_TYPE: "tag", GITHUB_REF_NAME: "v1.2.3" };
    run = await runAction({ cwd, inputs, environment: { ...event, ...environment() } });
  });

  test("a tag push is built, pushed and deployed under the tag's name", () => {
    expect(run.log).toContain("Status: deployed.");
    expect(run.outputs).toMatchObject({ version: "v1.2.3", release: "v1.2.3" });
    expect(run.log.includes("docker buildx is not installed here")).toBe(name !== "buildx");
  });

  test("the digest is the registry's, and every tag leads to it", () => {
    expect(run.outputs.digest).toBe(registryDigest(`team/${stack}`, "v1.2.3"));
    expect(registryDigest(`team/${stack}`, "latest")).toBe(run.outputs.digest);
    expect(registryDigest(`team/${stack}`, "stable")).toBe(run.outputs.digest);
    expect(imageOf(`${stack}_web`)).toBe(run.outputs.image);
  });

  test("labels and build arguments are in the image", () => {
    const reference = `${sandbox.registry}/team/${stack}:v1.2.3`;
    execFileSync("docker", ["--config", pullConfig(), "pull", "-q", reference], {
      env: { PATH: process.env.PATH, DOCKER_HOST: sandbox.runnerDockerHost },
    });
    const { Labels, Env } = imageConfig(reference);
    expect(Labels).toMatchObject({
      "com.example.team": "shop",
      "org.opencontainers.image.source": "https://github.com/acme/shop",
      "org.opencontainers.image.revision": "0123456789abcdef0123456789abcdef01234567",
      "org.opencontainers.image.version": "v1.2.3",
    });
    expect(Date.parse(Labels["org.opencontainers.image.created"] ?? "")).toBeGreaterThan(
      Date.now() - 600_000,
    );
    expect(Env).toContain("RELEASE=from the workflow");
  });
});

function pullConfig(): string {
  const folder = mkdtempSync(join(tmpdir(), "config-"));
  const auth = Buffer.from(`${sandbox.registryUser}:${sandbox.registryPassword}`).toString("base64");
  writeFileSync(join(folder, "config.json"), JSON.stringify({ auths: { [sandbox.registry]: { auth } } }));
  return folder;
}

describe("build secrets", () => {
  test("reach the build through buildx, and stay out of argv, log and image", async () => {
    const stack = stackName("secret");
    const cwd = buildable({ "stack.yml": STACK });
    const dockerfile = readFileSync(join(cwd, "Dockerfile"), "utf8").replace(
      "ARG RELEASE",
      'RUN --mount=type=secret,id=token ["/bin/busybox", "sh", "-c", "/bin/busybox wc -c < /run/secrets/token > /length"]\nARG RELEASE',
    );
    writeFileSync(join(cwd, "Dockerfile"), `# syntax-free\n${dockerfile}`);
    const inputs = {
      "stack-name": stack,
      project: stack,
      version: "v1",
      "build-secrets": "token=hunter2-hunter2",
    };
    const run = await runAction({ cwd, inputs, environment: { HOME: homeWithBuildx() } });
    expect(run.log).toContain("Status: deployed.");
    expect(run.log).not.toContain("hunter2");
  });

  test("without buildx they are refused, not forgotten", async () => {
    const run = await runAction({
      cwd: buildable({ "stack.yml": STACK }),
      inputs: { "build-secrets": "token=hunter2-hunter2" },
    });
    expect(run.outputs.reason).toBe("build");
    expect(run.log).toContain(
      "docker buildx is not installed on this runner, and without it there is no build-secrets",
    );
  });
});

test("a build that fails says why, and the swarm is not asked", async () => {
  const cwd = buildable({ "stack.yml": STACK });
  writeFileSync(join(cwd, "Dockerfile"), "FROM scratch\nCOPY no-such-file /\n");
  const run = await runAction({ cwd, inputs: { version: "v1", project: "broken" } });
  expect(run.outputs).toMatchObject({ status: "failed", reason: "build", digest: "" });
  expect(run.log).toMatch(/::error::The build failed \(docker build, exit code \d+\): .*no-such-file/);
  expect(run.log).not.toContain("Connected to");
});

describe("credentials", () => {
  const stack = stackName("login");
  const inputs = {
    "stack-name": stack,
    project: stack,
    version: "v1",
    build: "false",
    username: "",
    password: "",
  };
  const cwd = buildable({ "stack.yml": STACK });
  beforeAll(() => void pushImage(stack, "v1"));

  test("of an earlier login step are honoured, and left as they were", async () => {
    const config = pullConfig();
    const before = readFileSync(join(config, "config.json"), "utf8");
    const run = await runAction({ cwd, inputs, environment: { DOCKER_CONFIG: config } });
    expect(run.log).toContain("Status: deployed.");
    expect(readFileSync(join(config, "config.json"), "utf8")).toBe(before);
  });

  test("of a credential helper are honoured", async () => {
    const folder = mkdtempSync(join(tmpdir(), "helper-"));
    writeFileSync(
      join(folder, "config.json"),
      JSON.stringify({ credHelpers: { [sandbox.registry]: "test" } }),
    );
    const helper = join(folder, "docker-credential-test");
    writeFileSync(
      helper,
      `#!/bin/sh\necho '{"Username":"${sandbox.registryUser}","Secret":"${sandbox.registryPassword}"}'\n`,
    );
    chmodSync(helper, 0o755);
    const environment = { DOCKER_CONFIG: folder, PATH: `${folder}:${process.env.PATH ?? ""}` };
    const run = await runAction({ cwd, inputs, environment });
    expect(run.log).toMatch(/Status: (deployed|unchanged)\./);
  });

  test("given to this step never reach the machine's own credential store", async () => {
    const folder = mkdtempSync(join(tmpdir(), "store-"));
    writeFileSync(join(folder, "config.json"), JSON.stringify({ credsStore: "test" }));
    const helper = join(folder, "docker-credential-test");
    writeFileSync(helper, `#!/bin/sh\n[ "$1" = store ] && cat > ${folder}/stored\nexit 1\n`);
    chmodSync(helper, 0o755);
    const own = { username: sandbox.registryUser, password: sandbox.registryPassword };
    const environment = { DOCKER_CONFIG: folder, PATH: `${folder}:${process.env.PATH ?? ""}` };
    const run = await runAction({ cwd, inputs: { ...inputs, ...own }, environment });
    expect(run.code).toBe(0);
    expect(existsSync(join(folder, "stored"))).toBe(false);
  });

  test("for pulling are what the swarm gets", async () => {
    const own = { "pull-username": sandbox.registryUser, "pull-password": sandbox.registryPassword };
    const run = await runAction({ cwd, inputs: { ...inputs, ...own } });
    expect(run.log).toContain(`Logged in to ${sandbox.registry} as ${sandbox.registryUser}.`);
    expect(run.code).toBe(0);
  });

  test("that are missing are what the message says", async () => {
    const run = await runAction({ cwd, inputs });
    expect(run.outputs.reason).toBe("preflight");
    expect(run.log).toMatch(/the registry refuses to show it .*Give "username" and "password"/);
  });
});
