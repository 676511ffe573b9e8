import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { Cancelled, LockError, StopError, messageOf } from "./errors.ts";
import { type Inputs, type Mode, type RunContext, parseInputs } from "./inputs/inputs.ts";
import { parseKeyValues } from "./inputs/key-values.ts";
import { Runner } from "./io/actions.ts";
import { runnersClock } from "./io/clock.ts";
import { DockerCli } from "./io/docker.ts";
import { makeDockerConfig } from "./io/docker-config.ts";
import { GitHubApi, runContext } from "./io/github.ts";
import { gzip } from "./io/gzip.ts";
import { makePrivateFolder, removeFolder } from "./io/private-folder.ts";
import { EngineImages } from "./io/runners-images.ts";
import { type Route } from "./io/session.ts";
import { LEFT_LOCK, type LeftLock, lockName, releaseLeft } from "./lock.ts";
import { commentOn } from "./pull-request.ts";
import { type Facts, noFacts, outputs, summary } from "./report.ts";
import { type Files, type World } from "./world.ts";

const SECRET_INPUTS = [
  "password",
  "pull-password",
  "ssh-private-key",
  "ssh-passphrase",
  "ssh-password",
  "github-token",
];
const FOLDER = "private-folder";
/** Kept for the post step, which is the same program: it must never deploy. */
const PHASE = "phase";

/** The door: makes the world, runs the story, publishes whatever came of it. The only catch-all. */
async function main(runner: Runner): Promise<void> {
  const facts = noFacts();
  const stop = stopper();
  let folder: string | undefined;
  try {
    maskSecrets(runner);
    folder = makePrivateFolder();
    runner.remember(FOLDER, folder);
    const run = runContext(process.env);
    const inputs = parseInputs((name) => runner.input(name), run);
    const story = await storyOf(inputs.mode);
    const world = await makeWorld(runner, inputs, run, folder, stop);
    try {
      await story(inputs, world, facts);
    } catch (error) {
      blame(stop.signal.aborted ? stop.signal.reason : error, facts, runner);
    }
    if (!stop.signal.aborted) await commentOn(inputs, world, facts);
  } catch (error) {
    blame(stop.signal.aborted ? stop.signal.reason : error, facts, runner);
  }
  if (folder !== undefined) discard(folder, runner);
  publish(facts, runner);
}

function stopper(): AbortController {
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const)
    process.on(signal, () => stop.abort(new Cancelled(signal)));
  return stop;
}

/** The largest rooms are entered when they are needed: reading them takes longer than all else that a refused input costs. */
async function storyOf(mode: Mode): Promise<(inputs: Inputs, world: World, facts: Facts) => Promise<void>> {
  if (mode === "plan") return (await import(/* webpackMode: "eager" */ "./plan-only.ts")).planOnly;
  if (mode === "rollback") return (await import(/* webpackMode: "eager" */ "./rollback.ts")).rollback;
  return (await import(/* webpackMode: "eager" */ "./deploy.ts")).deploy;
}

/** What can't be removed now is left to the post step, and changes nothing about the deployment. */
function discard(folder: string, runner: Runner): void {
  try {
    removeFolder(folder);
  } catch (error) {
    runner.warn({ message: `The private folder ${folder} could not be removed: ${messageOf(error)}.` });
  }
}

/** Before anything else is read or said. */
function maskSecrets(runner: Runner): void {
  for (const name of SECRET_INPUTS) runner.mask(runner.input(name));
  for (const value of parseKeyValues("secrets", runner.input("secrets")).values.values()) runner.mask(value);
  // Their ids may be more than names of variables: `npm-token=…`.
  for (const line of runner.input("build-secrets").split(/\r?\n/))
    runner.mask(line.slice(line.indexOf("=") + 1));
}

/** Here, too, what is large is read late. */
async function makeWorld(
  runner: Runner,
  inputs: Inputs,
  run: RunContext,
  folder: string,
  stop: AbortController,
): Promise<World> {
  const { signal } = stop;
  const { prepareLogin } = await import(/* webpackMode: "eager" */ "./io/ssh-login.ts");
  const { openSession, withheld } = await import(/* webpackMode: "eager" */ "./io/session.ts");
  const { ANY_API_VERSION, rehearse } = await import(/* webpackMode: "eager" */ "./io/stand-in.ts");
  const { target } = inputs;
  const route: Route | undefined =
    target?.kind === "ssh" ? { kind: "ssh", login: prepareLogin(target) } : target;
  const own = join(folder, "docker");
  const { login, pullLogin, registryHost } = inputs.image;
  const domains = login === undefined && pullLogin === undefined ? [] : [registryHost];
  makeDockerConfig(own, domains);
  // Where the swarm is to keep another credential than the push needs, it gets a configuration that never knew the latter.
  const configFolder = pullLogin === undefined ? own : join(folder, "docker-pull");
  if (configFolder !== own) makeDockerConfig(configFolder, domains);
  const docker = new DockerCli({ DOCKER_CONFIG: own }, signal);
  return {
    voice: runner,
    clock: runnersClock(signal),
    files: makeFiles(runner, folder),
    docker,
    images: new EngineImages(process.env, signal, (line) => runner.debug(line)),
    compression: gzip,
    environment: process.env,
    run,
    github: new GitHubApi({
      apiUrl: process.env.GITHUB_API_URL || "https://api.github.com",
      token: inputs.githubToken,
      repository: run.repository,
      signal,
    }),
    remember: (name, value) => runner.remember(name, value),
    stop: (reason) => stop.abort(reason),
    rehearse: async (stage, deploy, signs) => {
      const alone = docker.with(withheld(process.env));
      return await rehearse(stage, ANY_API_VERSION, join(folder, "draft.sock"), alone, deploy, signs);
    },
    connect: async (swarmLogin) => {
      if (route === undefined) throw new Error("a story without a manager tried to connect");
      return await openSession({
        route,
        login: swarmLogin,
        docker,
        configFolder,
        privateFolder: folder,
        signal,
        say: (line) => runner.say(line),
      });
    },
  };
}

function makeFiles(runner: Runner, folder: string): Files {
  return {
    read: (path) => {
      try {
        return readFileSync(path);
      } catch {
        return undefined; // Missing, a folder, or not ours to read: the caller says which file it wanted.
      }
    },
    exists: existsSync,
    list: (path) => (existsSync(path) ? readdirSync(path) : []),
    keep: (name, text) => runner.keepFile(name, text),
    scratch: (name) => join(folder, name),
  };
}

/** Turns whatever was thrown into facts; the cause chain goes to the debug log. */
function blame(error: unknown, facts: Facts, runner: Runner): void {
  facts.status = "failed";
  if (error instanceof StopError) {
    facts.reason = error.reason;
    facts.problems = error.problems;
    for (const warning of error.warnings) runner.warn(warning);
  } else if (error instanceof Cancelled) {
    facts.problems = [{ message: error.message }];
  } else {
    facts.problems = [
      {
        message: `This is a bug in Swarm Stack Deploy: ${messageOf(error)}`,
        hint: "Please report it with the debug log of a re-run.",
      },
    ];
  }
  if (facts.aftermath.length === 0) facts.aftermath = untouched(error, facts);
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause)
    runner.debug(cause.stack ?? cause.message);
}

/** What state the swarm is in where nothing of the plan has been sent; nothing, where the error says so itself. */
function untouched(error: unknown, { returned }: Facts): string[] {
  if (returned.length > 0)
    return [
      `An earlier update that had not ended was sent back to what ran before it: ${returned.join(", ")}. Nothing else had been sent to the swarm.`,
    ];
  const isInterruption = error instanceof Cancelled || error instanceof LockError;
  return isInterruption ? ["Nothing had been sent to the swarm."] : [];
}

function publish(facts: Facts, runner: Runner): void {
  runner.endGroup();
  // An annotation stands alone: it says what state the swarm is in, too.
  const state = facts.aftermath.join(" ");
  for (const problem of facts.problems)
    runner.fail({
      ...problem,
      hint: [problem.hint, state].filter((part) => part !== undefined && part !== "").join(" "),
    });
  if (facts.status === "failed") process.exitCode = 1;
  for (const [name, value] of Object.entries(outputs(facts))) runner.output(name, value);
  runner.summary(summary(runner.redactAll(facts)));
  runner.say(
    facts.status === "failed"
      ? `Failed${facts.reason === "" ? "" : ` (${facts.reason})`}.`
      : `Status: ${facts.status}.`,
  );
}

/** After the job, and after a kill that left us no time: what the main step could not remove goes now. */
async function post(runner: Runner): Promise<void> {
  const folder = runner.recall(FOLDER);
  if (folder !== "" && existsSync(folder)) {
    removeFolder(folder);
    runner.say("Removed the private folder that the interrupted step had left.");
  }
  const left = runner.recall(LEFT_LOCK);
  if (left !== "") await release(JSON.parse(left) as LeftLock, runner);
}

/** The runner gives the post step the same inputs. */
async function release(left: LeftLock, runner: Runner): Promise<void> {
  const folder = makePrivateFolder();
  try {
    maskSecrets(runner);
    const run = runContext(process.env);
    const inputs = parseInputs((name) => runner.input(name), run);
    const world = await makeWorld(runner, inputs, run, folder, stopper());
    await using session = await world.connect(undefined);
    if (await releaseLeft(left, session.locks))
      runner.say(`Released the lock of the stack ${left.stack} that the interrupted step had left.`);
  } catch (error) {
    runner.warn({
      message: `The lock of the stack ${left.stack} could not be released: ${messageOf(error)}`,
      hint: `It ends by itself two minutes after its last sign of life. To remove it by hand: docker config rm ${lockName(left.stack)}.`,
    });
  }
  discard(folder, runner);
}

// Nothing is left to do then, and Node would take a tenth of a second to tidy up memory that goes anyway.
process.on("beforeExit", () => process.exit());

const runner = new Runner();
if (runner.recall(PHASE) === "") {
  runner.remember(PHASE, "post");
  void main(runner);
} else void post(runner);
