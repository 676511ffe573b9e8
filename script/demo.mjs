// Plays the runner: starts the committed dist/index.js as a workflow would, for four events in the life of examples/shop, while a
// client inside the stack's network keeps asking. Exits with 0 only if everything went as the story says.
import { execFileSync, spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const env = process.env;
const folder = mkdtempSync(join(tmpdir(), "shop-"));
const project = join(folder, "shop");
const story = [];

function docker(...argv) {
  const environment = { ...env, DOCKER_HOST: env.SANDBOX_MANAGER_DOCKER_HOST };
  return execFileSync("docker", argv, {
    env: environment,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  }).trim();
}

/** One run of the action, as the runner starts it: inputs and event in the environment, files for outputs and summary. */
async function step(title, event, inputs) {
  console.log(`\n\u001b[1m── ${title} ${"─".repeat(Math.max(0, 96 - title.length))}\u001b[0m`);
  const files = mkdtempSync(join(folder, "run-"));
  const paths = { GITHUB_OUTPUT: "output", GITHUB_STEP_SUMMARY: "summary.md", GITHUB_STATE: "state" };
  for (const [name, file] of Object.entries(paths)) {
    paths[name] = join(files, file);
    writeFileSync(paths[name], "");
  }
  const given = {
    "ssh-host": env.SANDBOX_SSH_HOST,
    "ssh-private-key": readFileSync(env.SANDBOX_SSH_KEY, "utf8"),
    "ssh-known-hosts": readFileSync(env.SANDBOX_KNOWN_HOSTS, "utf8"),
    registry: env.SANDBOX_REGISTRY,
    username: env.SANDBOX_REGISTRY_USER,
    password: env.SANDBOX_REGISTRY_PASSWORD,
    "env-file": ".env",
    networks: "shop_front",
    "stable-for": "5s",
    timeout: "2m",
    ...inputs,
  };
  const started = Date.now();
  const action = spawn(process.execPath, [join(root, "dist/index.js")], {
    cwd: project,
    stdio: ["ignore", "pipe", "inherit"],
    env: {
      PATH: env.PATH,
      HOME: files,
      DOCKER_HOST: env.SANDBOX_RUNNER_DOCKER_HOST,
      RUNNER_TEMP: files,
      GITHUB_ACTIONS: "true",
      GITHUB_REPOSITORY: "acme/shop",
      GITHUB_SERVER_URL: "https://github.com",
      GITHUB_RUN_ID: String(story.length + 1),
      GITHUB_SHA: "4f1d5c0b7a9e3d2c1b0a99887766554433221100",
      ...event,
      ...paths,
      ...Object.fromEntries(
        Object.entries(given).map(([name, value]) => [`INPUT_${name.toUpperCase()}`, value]),
      ),
    },
  });
  let log = "";
  action.stdout.on("data", (chunk) => {
    log += chunk;
    // What the runner would not show either: masks and debug lines.
    process.stdout.write(String(chunk).replaceAll(/^::(add-mask|debug)::.*\n/gm, ""));
  });
  const code = await new Promise((done) => action.on("close", done));
  const output = readFileSync(paths.GITHUB_OUTPUT, "utf8");
  const outputs = Object.fromEntries(
    [...output.matchAll(/^([\w-]+)<<(\S+)\n([\s\S]*?)\n\2$/gm)].map(([, name, , value]) => [name, value]),
  );
  return {
    code,
    log,
    outputs,
    summary: readFileSync(paths.GITHUB_STEP_SUMMARY, "utf8"),
    seconds: (Date.now() - started) / 1000,
  };
}

function expectThat(what, holds) {
  console.log(`${holds ? "✓" : "✗"} ${what}`);
  story.at(-1).ok &&= holds;
}

function tagPush(tag) {
  return {
    GITHUB_EVENT_NAME: "push",
    GITHUB_REF_TYPE: "tag",
    GITHUB_REF_NAME: tag,
    GITHUB_REF: `refs/tags/${tag}`,
  };
}

const DISPATCH = {
  GITHUB_EVENT_NAME: "workflow_dispatch",
  GITHUB_REF_TYPE: "branch",
  GITHUB_REF_NAME: "main",
  GITHUB_REF: "refs/heads/main",
};

/** A container on the stack's own network that asks about ten times a second and writes down every answer. */
function startClient(image) {
  const ask =
    "while :; do timeout 3 wget -q -O - http://web:8080/cgi-bin/release 2>/dev/null | grep release= || echo FAILED; sleep 0.1; done";
  return docker(
    "run",
    "--detach",
    "--network",
    "shop_front",
    "--entrypoint",
    "/bin/busybox",
    image,
    "sh",
    "-c",
    ask,
  );
}

/** What the client heard since it was last asked. */
function heard(client, state) {
  const answers = docker("logs", client).split("\n").filter(Boolean);
  const fresh = answers.slice(state.read);
  state.read = answers.length;
  return {
    total: fresh.length,
    failed: fresh.filter((answer) => answer === "FAILED").length,
    last: fresh.at(-1)?.replace("release=", "") ?? "nothing",
  };
}

/** Markdown as far as our summaries use it, for a terminal. */
function plainMarkdown(markdown) {
  const text = markdown
    .replaceAll(/```mermaid[\s\S]*?```/g, "(on GitHub: a timeline picture)")
    .replaceAll(/<summary>([\s\S]*?)<\/summary>/g, "▾ $1")
    .replaceAll(/<\/?(details|sub|code)[^>]*>/g, "")
    .replaceAll(
      /&(lt|gt|amp|#124|#96);/g,
      (_all, name) => ({ lt: "<", gt: ">", amp: "&", "#124": "|", "#96": "`" })[name],
    )
    .replaceAll(/\\([\\`*_[\]|~#!])/g, "$1")
    .replaceAll("\u200b", "")
    .replaceAll(/\n{3,}/g, "\n\n");
  return text
    .split("\n")
    .map((line) => `    ${line}`)
    .join("\n");
}

function table(rows) {
  const widths = rows[0].map((_cell, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows
    .map((row) => `  ${row.map((cell, column) => cell.padEnd(widths[column])).join("   ")}`)
    .join("\n");
}

async function scene(title, event, inputs, check) {
  story.push({ title, ok: true });
  const run = await step(title, event, inputs);
  Object.assign(story.at(-1), { run });
  check(run);
  return run;
}

try {
  mkdirSync(project);
  cpSync(join(root, "examples/shop"), project, { recursive: true });
  cpSync(
    ["/bin/busybox", "/usr/bin/busybox"].find((path) => existsSync(path)),
    join(project, "busybox"),
  );
  const firstEnv = readFileSync(join(project, ".env"), "utf8");
  const read = { read: 0 };

  const first = await scene(
    "a) release v1: build, push, deploy",
    tagPush("v1"),
    { "build-args": "RELEASE=v1" },
    (run) => {
      expectThat("the step is green", run.code === 0 && run.outputs.status === "deployed");
    },
  );
  const client = startClient(first.outputs.image);
  await new Promise((done) => setTimeout(done, 2000));

  writeFileSync(join(project, ".env"), firstEnv.replace("first", "second"));
  await scene(
    "b) release v2 with a changed .env, while a client keeps asking",
    tagPush("v2"),
    { "build-args": "RELEASE=v2" },
    (run) => {
      const { total, failed, last } = heard(client, read);
      story.at(-1).note = `${failed} of ${total} requests failed`;
      expectThat("the step is green", run.code === 0 && run.outputs.status === "deployed");
      expectThat("the .env has a new config", run.outputs["config-name"] !== first.outputs["config-name"]);
      expectThat(`the client asked ${total} times; failed requests: ${failed}`, total > 20 && failed === 0);
      expectThat(`now ${last} answers`, last === "v2");
    },
  );

  const third = await scene(
    "c) release v3 crashes at start",
    tagPush("v3"),
    { "build-args": "RELEASE=v3" },
    (run) => {
      const { total, failed, last } = heard(client, read);
      story.at(-1).note = `${failed} of ${total} requests failed`;
      expectThat(
        "the step is red",
        run.code === 1 && run.outputs.status === "failed" && run.outputs.reason === "rollout",
      );
      expectThat("it names the task", /Task web\.\d on \S+/.test(run.log));
      expectThat("and its last words", run.log.includes("FATAL: could not read the orders table"));
      expectThat(`the client asked ${total} times; failed requests: ${failed}`, total > 20 && failed === 0);
      expectThat(`still ${last} answers`, last === "v2");
    },
  );

  writeFileSync(join(project, ".env"), firstEnv);
  await scene(
    "d) workflow_dispatch: back to v1, without a build",
    DISPATCH,
    { version: "v1", build: "false" },
    (run) => {
      const { total, failed, last } = heard(client, read);
      story.at(-1).note = `${failed} of ${total} requests failed`;
      expectThat("the step is green", run.code === 0 && run.outputs.status === "deployed");
      expectThat("nothing was built", !run.log.includes("::group::Build"));
      expectThat("it is the very image of v1", run.outputs.digest === first.outputs.digest);
      expectThat(`the client asked ${total} times; failed requests: ${failed}`, total > 20 && failed === 0);
      expectThat(`now ${last} answers`, last === "v1");
    },
  );

  console.log(
    "\n\u001b[1m── The job summary of the release that failed ────────────────────────────────────────────────────\u001b[0m\n",
  );
  console.log(plainMarkdown(third.summary));
  console.log(
    "\n\u001b[1m── What happened ─────────────────────────────────────────────────────────────────────────────────\u001b[0m\n",
  );
  const rows = story.map(({ title, ok, run, note = "" }) => [
    ok ? "✓" : "✗",
    title,
    run.outputs.status,
    `${run.seconds.toFixed(1)} s`,
    note,
  ]);
  console.log(table([["", "event", "status", "took", "seen by the client"], ...rows]));
  const kept = process.argv.includes("--keep");
  console.log(`
  Where to look next
    README.md               the workflows to copy
    examples/shop           the project that was deployed
    ${kept ? "script/sandbox status     the swarm, still up (SANDBOX_ID=demo SANDBOX_NET=10.76.0)" : "script/demo --keep      the same, leaving the swarm up to look around"}
    script/test             every test, on a swarm like this one`);
  process.exitCode = story.every(({ ok }) => ok) ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
