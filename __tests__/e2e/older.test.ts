import { execFileSync } from "node:child_process";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { fakeGitHub } from "../doubles/github.ts";
import { LEAN } from "../stacks/lean.ts";
import {
  type Run,
  type RunOptions,
  cleanUp,
  docker,
  imageOf,
  pushImage,
  runAction,
  stackName,
  workspace,
} from "./rig.ts";

/** A push does not take the stack back, unless it is asked to. */

const stack = stackName("order");
const cwd = workspace({
  "stack.yml": `${LEAN}services:\n  web:\n    image: $IMAGE\n    deploy: { update_config: { monitor: 1s } }\n    stop_grace_period: 1s\n`,
});
const [older, live, newer] = commits(3) as [string, string, string];

/** In the workspace, each the parent of the next. */
function commits(count: number): string[] {
  const git = (...argv: string[]): string =>
    execFileSync("git", ["-c", "user.name=t", "-c", "user.email=t@example.com", ...argv], {
      cwd,
      encoding: "utf8",
    }).trim();
  git("init", "-q");
  return Array.from({ length: count }, () => {
    git("commit", "-q", "--allow-empty", "-m", "x");
    return git("rev-parse", "HEAD");
  });
}

beforeAll(() => {
  for (const version of ["v1", "v2"]) pushImage(stack, version);
});
afterAll(cleanUp);

async function push(
  sha: string,
  version: string,
  inputs: Readonly<Record<string, string>> = {},
  options: Partial<RunOptions> = {},
): Promise<Run> {
  const given = {
    "stack-name": stack,
    project: stack,
    build: "false",
    "stable-for": "1s",
    version,
    ...inputs,
  };
  return await runAction({
    cwd,
    inputs: given,
    ...options,
    environment: { GITHUB_SHA: sha, ...options.environment },
  });
}

test("the first push of a stack has nothing to be older than", async () => {
  const run = await push(live, "v1");
  expect(run.outputs.status).toBe("deployed");
  expect(run.log).not.toContain("older");
});

test("a push of an ancestor is refused before anything is written, and lets the lock go", async () => {
  const run = await push(older, "v2");
  expect(run.outputs).toMatchObject({ status: "failed", reason: "preflight" });
  expect(run.log).toContain(
    `::error::The commit ${older.slice(0, 7)} is older than ${live.slice(0, 7)}, which is live: it is one of its ancestors.`,
  );
  expect(imageOf(`${stack}_web`)).toContain(":v1@");
  expect(docker(["config", "ls", "-q", "--filter", `name=swarm-stack-deploy_lock_${stack}`])).toBe("");
});

test("what the clone does not know, GitHub tells", async () => {
  const elsewhere = workspace({ "stack.yml": "services:\n  web:\n    image: $IMAGE\n" });
  await using github = await fakeGitHub({
    [`/repos/acme/shop/compare/${live}...${older}`]: { status: "behind" },
  });
  const run = await push(
    older,
    "v2",
    { "github-token": "t0ken-t0ken" },
    { cwd: elsewhere, environment: github.environment },
  );
  expect(run.outputs.reason).toBe("preflight");
  expect(github.heard).toHaveLength(1);
});

test("where neither can tell, the log says so and the deployment goes on", async () => {
  const elsewhere = workspace({ "stack.yml": "services:\n  web:\n    image: $IMAGE\n" });
  await using github = await fakeGitHub({});
  const run = await push(
    older,
    "v2",
    { "github-token": "t0ken-t0ken" },
    { cwd: elsewhere, environment: github.environment },
  );
  expect(run.outputs.status).toBe("deployed");
  expect(run.log).toContain(
    `Whether the commit ${older.slice(0, 7)} is older than ${live.slice(0, 7)}, which is live, can't be told: the clone does not have both, and GitHub answered 404 (Not Found).`,
  );
});

test.each<[string, string, Readonly<Record<string, string>>, RunOptions["environment"]]>([
  ["a newer commit", newer, {}, {}],
  ["an older one that is asked for", older, { "allow-older": "true" }, {}],
  ["an older one by hand", older, {}, { GITHUB_EVENT_NAME: "workflow_dispatch" }],
  ["the live one again", newer, {}, {}],
])("%s is deployed", async (_what, sha, inputs, environment = {}) => {
  const run = await push(sha, "v1", inputs, { environment });
  expect(run.outputs.status).toMatch(/^(deployed|unchanged)$/);
  expect(run.log).not.toContain("can't be told");
});
