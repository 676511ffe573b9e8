import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { once } from "node:events";
import { type AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { Cancelled } from "../../../src/errors.ts";
import { GitHubApi, runContext } from "../../../src/io/github.ts";
import { type Told } from "../../../src/world.ts";
import { temporaryFolder } from "../../doubles/folder.ts";
import { aComment, fakeGitHub } from "../../doubles/github.ts";

const [A, B] = ["a".repeat(40), "b".repeat(40)];
const RUN = { repository: "acme/shop", id: "41", attempt: 2 };
const home = process.cwd();
let folder = temporaryFolder();

/** Git looks at the folder that the step runs in. */
beforeEach(() => {
  folder = temporaryFolder();
  process.chdir(folder.path);
});
afterEach(() => {
  process.chdir(home);
  folder[Symbol.dispose]();
});

function api(
  apiUrl: string,
  signal = new AbortController().signal,
  token: string | undefined = "t0ken",
): GitHubApi {
  return new GitHubApi({ apiUrl, token, repository: "acme/shop", signal });
}

test.each<[string, object | undefined, Told]>([
  ["is completed", { status: "completed", run_attempt: 2 }, true],
  ["has been run again", { status: "in_progress", run_attempt: 3 }, true],
  ["goes on", { status: "in_progress", run_attempt: 2 }, false],
  ["is unknown", undefined, { unknown: "GitHub answered 404 (Not Found)" }],
])("of a run that %s GitHub tells whether it is over", async (_fact, answer, told) => {
  const path = "/repos/acme/shop/actions/runs/41";
  await using github = await fakeGitHub(answer === undefined ? {} : { [path]: answer });
  expect(await api(github.environment.GITHUB_API_URL).isOver(RUN)).toEqual(told);
  expect(github.heard).toEqual([`Bearer t0ken ${path}`]);
});

test.each<[string, Told]>([
  ["behind", true],
  ["ahead", false],
  ["diverged", false],
  ["identical", false],
])("a commit that is %s the live one, by GitHub", async (status, told) => {
  await using github = await fakeGitHub({ [`/repos/acme/shop/compare/${B}...${A}`]: { status } });
  expect(await api(github.environment.GITHUB_API_URL).isAncestor(A, B)).toEqual(told);
});

test("what GitHub does not know either is told with both reasons", async () => {
  await using github = await fakeGitHub({});
  expect(await api(github.environment.GITHUB_API_URL).isAncestor(A, B)).toEqual({
    unknown: "the clone does not have both, and GitHub answered 404 (Not Found)",
  });
});

test("without a token nobody is asked", async () => {
  const github = new GitHubApi({
    apiUrl: "http://127.0.0.1:1",
    token: undefined,
    repository: "acme/shop",
    signal: new AbortController().signal,
  });
  expect(await github.isOver(RUN)).toEqual({ unknown: 'without "github-token" GitHub can\'t be asked' });
});

test("a GitHub that can't be reached is a reason, not a failure", async () => {
  expect(await api("http://127.0.0.1:1").isOver(RUN)).toEqual({
    unknown: expect.stringMatching(/^GitHub can't be asked \(.*ECONNREFUSED 127\.0\.0\.1:1\)$/),
  });
});

test("a cancelled job does not wait for GitHub", async () => {
  const silent = createServer().listen(0, "127.0.0.1");
  await once(silent, "listening");
  const stop = new AbortController();
  setTimeout(() => stop.abort(new Cancelled("SIGTERM")), 50);
  const { port } = silent.address() as AddressInfo;
  await expect(api(`http://127.0.0.1:${port}`, stop.signal).isOver(RUN)).rejects.toBeInstanceOf(Cancelled);
  silent.close();
});

test.each(["--upload-pack=x", "main", "a".repeat(39), ""])(
  "%j is no commit, and is handed to nobody",
  async (text) => {
    const told = { unknown: "what names them is no commit id" };
    expect(await api("http://127.0.0.1:1").isAncestor(text, B)).toEqual(told);
    expect(await api("http://127.0.0.1:1").isAncestor(A, text)).toEqual(told);
  },
);

/** Commits in a clone: one line of three, and one beside it. */
function clone(): Readonly<Record<"first" | "second" | "third" | "beside", string>> {
  const git = (...argv: string[]): string =>
    execFileSync("git", ["-c", "user.name=t", "-c", "user.email=t@example.com", ...argv], {
      encoding: "utf8",
    }).trim();
  const commit = (): string => (git("commit", "-q", "--allow-empty", "-m", "x"), git("rev-parse", "HEAD"));
  git("init", "-q", "-b", "main");
  const [first, second, third] = [commit(), commit(), commit()];
  git("checkout", "-q", "-b", "beside", first);
  git("commit", "-q", "--allow-empty", "-m", "beside");
  return { first, second, third, beside: git("rev-parse", "HEAD") };
}

test("a whole clone tells the order by itself", async () => {
  const { first, third, beside } = clone();
  const nobody = api("http://127.0.0.1:1");
  expect(await nobody.isAncestor(first, third)).toBe(true);
  expect(await nobody.isAncestor(third, first)).toBe(false);
  expect(await nobody.isAncestor(beside, third)).toBe(false);
  expect(await nobody.isAncestor(first, first)).toBe(false);
});

test("a shallow clone tells what is certain, and leaves the rest to GitHub", async () => {
  const { third, beside } = clone();
  const origin = folder.path;
  using copy = temporaryFolder();
  execFileSync("git", ["clone", "-q", "--depth", "1", "--no-single-branch", `file://${origin}`, copy.path]);
  process.chdir(copy.path);
  await using github = await fakeGitHub({
    [`/repos/acme/shop/compare/${third}...${beside}`]: { status: "behind" },
  });
  // Both are there, and the way between them is not: git alone would say "no".
  expect(await api(github.environment.GITHUB_API_URL).isAncestor(beside, third)).toBe(true);
  expect(github.heard).toHaveLength(1);
  process.chdir(home);
});

test("the runner's variables say what started the workflow, and which attempt this is", () => {
  expect(
    runContext({
      GITHUB_EVENT_NAME: "push",
      GITHUB_RUN_ID: "7",
      GITHUB_RUN_ATTEMPT: "3",
      GITHUB_REPOSITORY: "a/b",
    }),
  ).toMatchObject({
    event: "push",
    runId: "7",
    runAttempt: 3,
    runUrl: "https://github.com/a/b/actions/runs/7",
  });
  expect(runContext({})).toMatchObject({ event: "", runId: "", runAttempt: 0, runUrl: "" });
});

test.each<[string, ReturnType<typeof aComment>, boolean]>([
  ["an app's", aComment(1, "<!-- m -->\nold", "Bot"), true],
  ["a member's", aComment(1, "<!-- m -->\nold", "User", "MEMBER"), true],
  ["a stranger's, who could change it later", aComment(1, "<!-- m -->\nold", "User", "NONE"), false],
  ["of another marker", aComment(1, "<!-- other -->\nold", "Bot"), false],
])("a comment is written in place of an earlier one: %s", async (_fact, earlier, inPlace) => {
  await using github = await fakeGitHub({});
  github.comments.push(
    ...Array.from({ length: 100 }, (_, at) => aComment(at + 100, "hello", "User")),
    earlier,
  );
  const answer = await api(github.environment.GITHUB_API_URL).comment(7, "<!-- m -->", "new");
  expect(github.comments.filter(({ body }) => body === "<!-- m -->\nnew")).toHaveLength(1);
  expect(github.comments).toHaveLength(inPlace ? 101 : 102);
  expect(answer).toEqual({ url: expect.stringContaining("#issuecomment-") });
});

test("a comment that may not be written is told with its reason", async () => {
  await using github = await fakeGitHub({}, { mayComment: false });
  expect(await api(github.environment.GITHUB_API_URL).comment(7, "<!-- m -->", "new")).toEqual({
    unknown: "GitHub answered 403 (Resource not accessible by integration)",
    forbidden: true,
  });
});

test("the pull request is known by the ref, or by the event where the workflow runs on the base branch", () => {
  const event = `${folder.path}/event.json`;
  writeFileSync(event, JSON.stringify({ pull_request: { number: 8 } }));
  expect(runContext({ GITHUB_REF: "refs/pull/7/merge" }).pullRequest).toBe(7);
  expect(runContext({ GITHUB_REF: "refs/heads/main", GITHUB_EVENT_PATH: event }).pullRequest).toBe(8);
  expect(runContext({ GITHUB_REF: "refs/heads/main" }).pullRequest).toBeUndefined();
});

describe("whose pull request gets no secrets and no variables", () => {
  const base = { repo: { full_name: "acme/shop" } };
  const own = { pull_request: { base, head: { repo: { full_name: "Acme/Shop", fork: true } } } };
  const fork = { pull_request: { base, head: { repo: { full_name: "stranger/shop", fork: true } } } };
  const deleted = { pull_request: { base, head: { repo: null } } };

  test.each([
    ["a fork's", "pull_request", "dev", fork, "a fork"],
    ["a review of a fork's", "pull_request_review", "dev", fork, "a fork"],
    ["one whose fork was deleted", "pull_request", "dev", deleted, "a fork"],
    ["the repository's own, though it is a fork itself", "pull_request", "dev", own, undefined],
    ["Dependabot's", "pull_request", "dependabot[bot]", own, "Dependabot"],
    ["a fork's by the workflow of the base branch", "pull_request_target", "dev", fork, undefined],
    ["Dependabot's push", "push", "dependabot[bot]", {}, undefined],
    ["one without an event", "pull_request", "dev", {}, undefined],
  ])("%s", (_fact, name, actor, payload, expected) => {
    const event = `${folder.path}/from.json`;
    writeFileSync(event, JSON.stringify(payload));
    const context = { GITHUB_EVENT_NAME: name, GITHUB_ACTOR: actor, GITHUB_EVENT_PATH: event };
    expect(runContext(context).withheldFrom).toBe(expected);
  });
});
