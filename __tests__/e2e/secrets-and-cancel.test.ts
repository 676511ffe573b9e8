import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { LEAN } from "../stacks/lean.ts";
import {
  buildable,
  cleanUp,
  docker,
  imageOf,
  leavesNothing,
  pushImage,
  runAction,
  sandbox,
  service,
  stackName,
  until,
} from "./rig.ts";

afterAll(cleanUp);

const STACK = `${LEAN}services:\n  web:\n    image: $IMAGE\n    environment: { TOKEN: $TOKEN }\n    deploy: { update_config: { monitor: 1s } }\n`;

describe("secrets", () => {
  const stack = stackName("hush");
  const secret = 'p4$$w0rd "with" quotes';
  const spy = mkdtempSync(join(tmpdir(), "spy-"));

  test("reach the container, and nothing else that can be seen", async () => {
    // Stands before docker in PATH and writes down what anybody could see of it: arguments and environment.
    const real = execFileSync("sh", ["-c", "command -v docker"], { encoding: "utf8" }).trim();
    writeFileSync(
      join(spy, "docker"),
      `#!/bin/sh\n{ echo "ARGV $*"; env; } >> ${spy}/seen\nexec ${real} "$@"\n`,
    );
    chmodSync(join(spy, "docker"), 0o755);
    const inputs = {
      "stack-name": stack,
      project: stack,
      version: "v1",
      secrets: `TOKEN='${secret}'`,
      "build-args": "RELEASE=argument-value",
    };
    const run = await runAction({
      cwd: buildable({ "stack.yml": STACK }),
      inputs,
      environment: { PATH: `${spy}:${process.env.PATH ?? ""}` },
    });
    expect(run.log).toContain("Status: deployed.");
    expect(service(`${stack}_web`).Spec.TaskTemplate.ContainerSpec.Env).toContain(`TOKEN=${secret}`);
    const seen = readFileSync(join(spy, "seen"), "utf8");
    const argv = seen.split("\n").filter((line) => line.startsWith("ARGV"));
    // The rehearsal and the real one; a rehearsal more where another test has changed what is on the swarm meanwhile.
    const deploys = argv.filter((line) => line.includes("stack deploy --with-registry-auth"));
    expect(deploys.length).toBeGreaterThanOrEqual(2);
    for (const hidden of [secret, sandbox.registryPassword, sandbox.key.split("\n")[2] ?? "?"]) {
      expect(seen).not.toContain(hidden);
      expect(run.log + run.summary).not.toContain(hidden);
      expect(JSON.stringify(run.outputs)).not.toContain(JSON.stringify(hidden).slice(1, -1));
    }
    expect(seen).not.toMatch(/INPUT_/);
    expect(argv.join("\n")).not.toContain("argument-value");
    const { mode } = statSync(run.outputs["rendered-file"] ?? "");
    expect(mode & 0o777).toBe(0o600);
    expect(statSync(dirname(run.outputs["rendered-file"] ?? "")).mode & 0o777).toBe(0o700);
  });
});

describe.each(["SIGINT", "SIGTERM"] as const)("a job that is cancelled with %s", (signal) => {
  const stack = stackName("cancel");
  beforeAll(() => void pushImage(stack, "v1"));
  const moments: [string, RegExp, Record<string, string>][] = [
    ["while it builds", /::group::Build/, { version: "v2", build: "true" }],
    ["while it watches", /::group::Deploy and watch[\s\S]*\] web: /, { version: "v1", build: "false" }],
  ];
  test.each(moments)("%s leaves nothing behind, and says what it did", async (_moment, when, own) => {
    const cwd = buildable({ "stack.yml": STACK });
    if (own.build === "true")
      writeFileSync(
        join(cwd, "Dockerfile"),
        `${readFileSync(join(cwd, "Dockerfile"), "utf8")}\nRUN ["/bin/busybox", "sleep", "20"]\n`,
      );
    const run = await runAction({
      cwd,
      inputs: { "stack-name": stack, project: stack, variables: "TOKEN=x", "stable-for": "30s", ...own },
      during: (action, log) => {
        const timer = setInterval(() => {
          if (!when.test(log())) return;
          clearInterval(timer);
          setTimeout(() => action.kill(signal), own.build === "true" ? 1000 : 0);
        }, 50);
      },
    });
    expect(run.code).toBe(1);
    expect(run.log).toContain(`::error::Cancelled: the runner sent ${signal}.`);
    expect(run.outputs.status).toBe("failed");
    expect(run.summary).toMatch(/Nothing had been sent|Removed, since this deployment created it: web/);
    leavesNothing(run);
    expect(run.ms).toBeLessThan(30_000);
  });
});

test.each([
  ["goes back to what ran before", "rollback", "v1", /Sent back to what ran before: web\./],
  ["goes on, where it is to be kept", "keep", "v2", /goes on rolling out/],
])("an update that is cancelled %s", async (_what, onFailure, version, says) => {
  const stack = stackName("way-back");
  for (const tag of ["v1", "v2"]) pushImage(stack, tag);
  const inputs = {
    "stack-name": stack,
    project: stack,
    build: "false",
    variables: "TOKEN=x",
    "on-failure": onFailure,
  };
  const cwd = buildable({ "stack.yml": STACK });
  expect((await runAction({ cwd, inputs: { ...inputs, version: "v1" } })).outputs.status).toBe("deployed");
  const run = await runAction({
    cwd,
    inputs: { ...inputs, version: "v2", "stable-for": "30s" },
    during: (action, log) => {
      const timer = setInterval(() => {
        if (!/::group::Deploy and watch[\s\S]*\] web: /.test(log())) return;
        clearInterval(timer);
        action.kill("SIGINT");
      }, 50);
    },
  });
  expect(run.summary).toMatch(says);
  leavesNothing(run);
  expect(imageOf(`${stack}_web`)).toContain(`:${version}@`);
});

test("what a killed step could not remove, the post step removes", async () => {
  const stack = stackName("killed");
  pushImage(stack, "v1");
  const inputs = {
    "stack-name": stack,
    project: stack,
    version: "v1",
    build: "false",
    variables: "TOKEN=x",
    "stable-for": "30s",
  };
  const run = await runAction({
    cwd: buildable({ "stack.yml": STACK }),
    inputs,
    during: (action, log) => {
      const timer = setInterval(() => {
        if (!/::group::Deploy and watch[\s\S]*\] web: /.test(log())) return;
        clearInterval(timer);
        action.kill("SIGKILL");
      }, 50);
    },
  });
  expect(run.leftovers).toHaveLength(1);
  const state = run.state["private-folder"] ?? "";
  expect(state).toContain(run.leftovers[0]);
  const post = await runAction({
    cwd: "/",
    inputs,
    environment: Object.fromEntries(
      Object.entries(run.state).map(([name, value]) => [`STATE_${name}`, value]),
    ),
  });
  expect(post.code).toBe(0);
  expect(post.log).not.toContain("::warning");
  expect(() => statSync(state)).toThrow("ENOENT");
  await until(
    "the deployed service runs all the same",
    () => docker(["service", "ls", "--filter", `name=${stack}_web`, "--format", "{{.Replicas}}"]) === "1/1",
  );
});
