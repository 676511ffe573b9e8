import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import type { expect as Expect } from "@jest/globals"; // As a whole: the inline spelling would leave an import when types are stripped.
import { parse } from "yaml";

/** Jest's own global: the benchmarks use the rest of this rig outside of Jest, where its package can't be imported. */
const { expect } = globalThis as unknown as { readonly expect: typeof Expect };

/** The committed action, run as the runner runs it, against the sandbox that `script/test` has started. */

const ROOT = resolve(import.meta.dirname, "../..");
const DIST = join(ROOT, "dist/index.js");

export interface Sandbox {
  /** The first three numbers of its addresses. */
  readonly net: string;
  readonly manager: string;
  readonly worker: string;
  readonly keys: string;
  readonly key: string;
  readonly knownHosts: string;
  /** `ssh-ed25519 AAAA…` */
  readonly hostKey: string;
  readonly fingerprint: string;
  readonly sshPassword: string;
  readonly registry: string;
  readonly registryUser: string;
  readonly registryPassword: string;
  readonly runnerDockerHost: string;
  readonly managerDockerHost: string;
  readonly state: string;
}

/** As `script/sandbox env` tells of it. */
function readSandbox(environment: NodeJS.ProcessEnv): Sandbox {
  const setting = (name: string): string => {
    const value = environment[name];
    if (value === undefined)
      throw new Error(
        `${name} is not set: run these tests with script/test, or eval "$(script/sandbox env)" first.`,
      );
    return value;
  };
  const knownHosts = readFileSync(setting("SANDBOX_KNOWN_HOSTS"), "utf8");
  return {
    net: setting("SANDBOX_NET"),
    manager: setting("SANDBOX_SSH_HOST"),
    worker: `${setting("SANDBOX_NET")}.2`,
    keys: setting("SANDBOX_SSH_KEYS"),
    key: readFileSync(setting("SANDBOX_SSH_KEY"), "utf8"),
    knownHosts,
    hostKey: knownHosts.split("\n")[0]?.split(" ").slice(1, 3).join(" ") ?? "",
    fingerprint: setting("SANDBOX_SSH_FINGERPRINT"),
    sshPassword: setting("SANDBOX_SSH_PASSWORD"),
    registry: setting("SANDBOX_REGISTRY"),
    registryUser: setting("SANDBOX_REGISTRY_USER"),
    registryPassword: setting("SANDBOX_REGISTRY_PASSWORD"),
    runnerDockerHost: setting("SANDBOX_RUNNER_DOCKER_HOST"),
    managerDockerHost: setting("SANDBOX_MANAGER_DOCKER_HOST"),
    state: setting("SANDBOX_STATE"),
  };
}

/** The one that all test files share: nothing in it may be cut, frozen or powered off. */
export const sandbox = readSandbox(process.env);

/** `script/sandbox`, which runs commands on nodes and causes accidents. */
export class Control {
  readonly #settings: Readonly<Record<string, string | undefined>>;

  /** Without settings: those of the sandbox that all test files share. */
  constructor(settings?: Readonly<Record<string, string>>) {
    const others = Object.entries(process.env).filter(([name]) => !name.startsWith("SANDBOX_"));
    this.#settings = settings === undefined ? process.env : { ...Object.fromEntries(others), ...settings };
  }

  /** Its standard output. */
  run(argv: readonly string[], input = ""): string {
    return execFileSync(join(ROOT, "script/sandbox"), argv, {
      env: this.#settings,
      input,
      encoding: "utf8",
      stdio: ["pipe", "pipe", "pipe"],
    }).trim();
  }

  /** A bash script on a node, with its arguments in `$1`, `$2`, …. */
  onNode(node: string, script: string, argv: readonly string[] = [], input = ""): string {
    return this.run(["exec", node, "bash", "-euc", script, "bash", ...argv], input);
  }
}

/** A sandbox of one test file's own, beside the shared one, with a network of its own. */
export class OwnSandbox extends Control {
  /** The first three numbers of its addresses. */
  readonly net: string;

  /** Each test file has a name and a number of its own. */
  constructor(suffix: string, number: number) {
    const [first, second = "0"] = sandbox.net.split(".");
    const net = `${first}.${((Number(second) + 100) % 250) + 1}.${number}`;
    const id = `${(process.env.SANDBOX_ID ?? "e2e").slice(0, 7 - suffix.length)}-${suffix}`;
    super({ SANDBOX_ID: id, SANDBOX_NET: net });
    this.net = net;
  }

  /** Starts it anew, whatever an earlier run has left of it. */
  up(managers: number, workers: number, engine = "host"): Sandbox {
    this.purge();
    const nodes = ["--managers", String(managers), "--workers", String(workers)];
    this.run(["up", ...nodes, "--engine", engine]);
    const lines = this.run(["env"]).matchAll(/^export (\w+)='(.*)'$/gm);
    return readSandbox(Object.fromEntries([...lines].map(([, name = "", value = ""]) => [name, value])));
  }

  purge(): void {
    this.run(["down", "--purge"]);
  }
}

/** Everything the tests make lies here, and goes with `cleanUp`. */
const workshop = mkdtempSync(join(tmpdir(), "e2e-"));

/** Once for each test file, in a top-level `afterAll`. */
export function cleanUp(): void {
  removeStacks([...stacks]);
  rmSync(workshop, { recursive: true, force: true });
}

/** On a busy machine a task may hold its network a little longer than docker waits for it. */
function removeStacks(names: readonly string[], triesLeft = 5): void {
  if (names.length === 0) return;
  try {
    docker(["stack", "rm", ...names]);
  } catch (error) {
    if (triesLeft === 0) throw error;
    execFileSync("sleep", ["2"]);
    removeStacks(names, triesLeft - 1);
  }
}

const stacks = new Set<string>();

/** A stack name that no other test uses, removed by `cleanUp`. */
export function stackName(name: string): string {
  return removedLater(`${name}-${Math.random().toString(36).slice(2, 7)}`);
}

/** A stack of this name is removed by `cleanUp`. */
export function removedLater(stack: string): string {
  stacks.add(stack);
  return stack;
}

/** A checkout with these files. */
export function workspace(files: Readonly<Record<string, string | Buffer>>): string {
  const folder = mkdtempSync(join(workshop, "work-"));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  return folder;
}

/** A workspace that can be built: `app` is what the test image runs. */
export function buildable(files: Readonly<Record<string, string>>): string {
  const folder = workspace({
    Dockerfile: readFileSync(join(import.meta.dirname, "../image/Dockerfile"), "utf8"),
    ...files,
  });
  cpSync(join(import.meta.dirname, "../image/serve"), join(folder, "serve"));
  cpSync(busybox(), join(folder, "busybox"));
  return folder;
}

function busybox(): string {
  return ["/bin/busybox", "/usr/bin/busybox"].find((path) => existsSync(path)) ?? "/bin/busybox";
}

export interface Run {
  readonly code: number | null;
  /** Both streams, workflow commands included, except for masks. */
  readonly log: string;
  /** Both streams as they came. */
  readonly raw: string;
  readonly outputs: Readonly<Record<string, string>>;
  /** What it keeps for its post step. */
  readonly state: Readonly<Record<string, string>>;
  readonly summary: string;
  readonly ms: number;
  /** The runner's temporary folder. */
  readonly temp: string;
  /** What was left in it. */
  readonly leftovers: readonly string[];
}

export interface RunOptions {
  readonly cwd: string;
  readonly inputs: Readonly<Record<string, string>>;
  /** Beside what a push to `main` sets. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Leaves `ssh-host`, key, known hosts and registry login to the test. */
  readonly bare?: boolean;
  /** By default the shared one. */
  readonly at?: Sandbox;
  readonly node?: string;
  /** Called with the running action, for instance to end it. */
  readonly during?: (action: ChildProcess, log: () => string) => void;
}

export const CONNECTION = connectionTo(sandbox);

function connectionTo(box: Sandbox) {
  return {
    "ssh-host": box.manager,
    "ssh-private-key": box.key,
    "ssh-known-hosts": box.knownHosts,
    registry: box.registry,
    username: box.registryUser,
    password: box.registryPassword,
    "stable-for": "2s",
    timeout: "90s",
  } as const;
}

/** For what is to end red: on a machine that stalls, an engine tells of a crash some seconds late. */
export const PATIENTLY = { "stable-for": "30s" } as const;

/** What action.yml says; the runner evaluates its expressions, which come to nothing here. */
const DEFAULTS = Object.fromEntries(
  Object.entries((parse(readFileSync(join(ROOT, "action.yml"), "utf8")) as ActionFile).inputs).map(
    ([name, { default: value = "" }]) => [name, value.startsWith("${{") ? "" : value],
  ),
);

interface ActionFile {
  readonly inputs: Readonly<Record<string, { readonly default?: string }>>;
}

/** Starts dist/index.js as the runner does: every input with its default in the environment, files for outputs, state and summary. */
export async function runAction(options: RunOptions): Promise<Run> {
  const files = mkdtempSync(join(workshop, "run-"));
  const temp = join(files, "temp");
  mkdirSync(temp);
  const paths = Object.fromEntries(
    ["GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_STATE"].map((name) => [name, join(files, name)]),
  );
  for (const path of Object.values(paths)) writeFileSync(path, "");
  const box = options.at ?? sandbox;
  const given = { ...DEFAULTS, ...(options.bare === true ? {} : connectionTo(box)), ...options.inputs };
  const inputs = Object.fromEntries(
    Object.entries(given).map(([name, value]) => [`INPUT_${name.toUpperCase()}`, value]),
  );
  const environment = {
    PATH: process.env.PATH ?? "",
    HOME: files,
    DOCKER_HOST: box.runnerDockerHost,
    RUNNER_TEMP: temp,
    GITHUB_ACTIONS: "true",
    GITHUB_REPOSITORY: "acme/shop",
    GITHUB_SERVER_URL: "https://github.com",
    GITHUB_SHA: "0123456789abcdef0123456789abcdef01234567",
    GITHUB_REF_TYPE: "branch",
    GITHUB_REF_NAME: "main",
    GITHUB_EVENT_NAME: "push",
    GITHUB_ACTOR: "dev",
    GITHUB_RUN_ID: "42",
    GITHUB_RUN_ATTEMPT: "1",
    ...paths,
    ...inputs,
    ...options.environment,
  };
  const started = Date.now();
  const action = spawn(options.node ?? process.execPath, [DIST], {
    cwd: options.cwd,
    env: environment,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let raw = "";
  action.stdout.on("data", (chunk: Buffer) => (raw += chunk.toString()));
  action.stderr.on("data", (chunk: Buffer) => (raw += chunk.toString()));
  options.during?.(action, () => raw);
  const code = await new Promise<number | null>((done) => action.on("close", done));
  return {
    code,
    raw,
    log: raw.replace(/^::(add-mask|debug)::.*\n/gm, ""),
    outputs: readOutputs(readFileSync(paths.GITHUB_OUTPUT ?? "", "utf8")),
    state: readOutputs(readFileSync(paths.GITHUB_STATE ?? "", "utf8")),
    summary: readFileSync(paths.GITHUB_STEP_SUMMARY ?? "", "utf8"),
    ms: Date.now() - started,
    temp,
    leftovers: readdirSync(temp).filter((name) => !name.startsWith("swarm-stack-file-")),
  };
}

/** Processes that are still there, by the runner's temporary folder, which the environment of all that it starts names. */
function survivors({ temp }: Run): string[] {
  return readdirSync("/proc")
    .filter((pid) => /^\d+$/.test(pid))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, "utf8").includes(temp);
      } catch {
        return false; // Gone in between, or not ours.
      }
    });
}

/** Neither a file nor a process of the action is there any more. */
export function leavesNothing(run: Run): void {
  expect(run.leftovers).toEqual([]);
  expect(survivors(run)).toEqual([]);
}

/** It deployed, without a word of trouble. */
export function works(run: Run): void {
  expect(run.log).toContain("Status: deployed.");
  expect(run.code).toBe(0);
  expect(run.outputs.reason).toBe("");
  // The test image has no healthcheck.
  expect(run.log).not.toMatch(/^::(error|warning)(?!.*\[start-first-no-healthcheck\])/m);
  leavesNothing(run);
}

/** Does something once the log of a running action says so. */
export function when(pattern: RegExp, act: (action: ChildProcess) => void) {
  return (action: ChildProcess, log: () => string): void => {
    const timer = setInterval(() => {
      if (!pattern.test(log())) return;
      clearInterval(timer);
      act(action);
    }, 20);
    action.on("close", () => clearInterval(timer));
  };
}

function readOutputs(text: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [, name = "", , value = ""] of text.matchAll(/^([\w-]+)<<(\S+)\n([\s\S]*?)\n\2$/gm))
    found[name] = value;
  return found;
}

/** Docker on the manager; its standard output. */
export function docker(argv: readonly string[], host = sandbox.managerDockerHost): string {
  return execFileSync("docker", argv, {
    env: { PATH: process.env.PATH, DOCKER_HOST: host, HOME: workshop },
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    maxBuffer: 64 * 1024 * 1024,
  }).trim();
}

export function inspect(kind: string, name: string): unknown {
  return (JSON.parse(docker([kind, "inspect", name])) as unknown[])[0];
}

export interface InspectedService {
  readonly ID: string;
  readonly Version: { readonly Index: number };
  readonly Spec: {
    readonly Labels: Readonly<Record<string, string>>;
    readonly TaskTemplate: {
      readonly ContainerSpec: {
        readonly Image: string;
        readonly Env?: readonly string[];
        readonly Configs?: readonly { readonly ConfigName: string }[];
      };
    };
    readonly UpdateConfig?: { readonly Order: string; readonly FailureAction: string };
  };
  readonly PreviousSpec?: unknown;
  readonly UpdateStatus?: { readonly State: string };
}

export function service(name: string): InspectedService {
  return inspect("service", name) as InspectedService;
}

export function imageOf(name: string): string {
  return service(name).Spec.TaskTemplate.ContainerSpec.Image;
}

export function serviceNames(stack: string): string[] {
  return docker(["stack", "services", "--format", "{{.Name}}", stack]).split("\n").filter(Boolean).toSorted();
}

/** Runs a command in the container of a task that is to run, on whichever node it is; one of an earlier version may still be ending. */
export function inContainer(name: string, command: readonly string[]): string {
  const tasks = docker(["service", "ps", "--no-trunc", "-q", "-f", "desired-state=running", name]).split(
    "\n",
  );
  for (const node of ["n1", "n2"]) {
    const host = `unix://${sandbox.state}/nodes/${node}/docker.sock`;
    for (const task of tasks) {
      const [id = ""] = docker(
        ["ps", "-q", "--filter", `label=com.docker.swarm.task.id=${task}`],
        host,
      ).split("\n");
      if (id === "") continue;
      const env = { PATH: process.env.PATH, DOCKER_HOST: host };
      return execFileSync("docker", ["exec", id, ...command], { env, encoding: "buffer" }).toString("latin1");
    }
  }
  throw new Error(`no node runs a container of ${name}: ${docker(["service", "ps", "--no-trunc", name])}`);
}

/** How often this user has logged in to the manager with a key of this kind; tests run side by side, so each counts its own. */
export function sshLogins(user: string, kind: string): number {
  const log = readFileSync(join(sandbox.state, "nodes/n1/sshd.log"), "utf8");
  return (log.match(new RegExp(`Accepted publickey for ${user} .*${kind}`, "g")) ?? []).length;
}

/** Builds and pushes the test image once per tag, outside of the action, for tests that are not about building. */
export function pushImage(
  project: string,
  tag: string,
  args: readonly string[] = [],
  box: Sandbox = sandbox,
  lines = "",
): string {
  const reference = `${box.registry}/${project}:${tag}`;
  const folder = buildable({});
  appendFileSync(join(folder, "Dockerfile"), lines);
  const host = box.runnerDockerHost;
  const env = { PATH: process.env.PATH, DOCKER_HOST: host, HOME: workshop };
  const run = (argv: readonly string[], input = ""): string =>
    execFileSync("docker", argv, { env, input, encoding: "utf8", stdio: ["pipe", "pipe", "pipe"] });
  run(["login", "--username", box.registryUser, "--password-stdin", box.registry], box.registryPassword);
  run([
    "build",
    "-q",
    "-t",
    reference,
    "--build-arg",
    `RELEASE=${tag}`,
    ...args.flatMap((arg) => ["--build-arg", arg]),
    folder,
  ]);
  const pushed = run(["push", reference]);
  return /digest: (sha256:[0-9a-f]{64})/.exec(pushed)?.[1] ?? "";
}

/** Most questions are put to docker, which takes a good part of a core while it starts. */
const UNTIL_MS = 500;

export async function until(what: string, holds: () => boolean, seconds = 30): Promise<void> {
  const deadline = Date.now() + seconds * 1000;
  while (!holds()) {
    if (Date.now() > deadline) throw new Error(`waited ${seconds} s in vain until ${what}`);
    await new Promise((done) => setTimeout(done, UNTIL_MS));
  }
}
