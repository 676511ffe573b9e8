import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import {
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
import { parse } from "yaml";

/** The committed action, run as the runner runs it, against the sandbox that `script/test` has started. */

const ROOT = resolve(import.meta.dirname, "../..");
const DIST = join(ROOT, "dist/index.js");

function setting(name: string): string {
  const value = process.env[name];
  if (value === undefined)
    throw new Error(
      `${name} is not set: run these tests with script/test, or eval "$(script/sandbox env)" first.`,
    );
  return value;
}

export const sandbox = {
  manager: setting("SANDBOX_SSH_HOST"),
  worker: `${setting("SANDBOX_NET")}.2`,
  keys: setting("SANDBOX_SSH_KEYS"),
  key: readFileSync(setting("SANDBOX_SSH_KEY"), "utf8"),
  knownHosts: readFileSync(setting("SANDBOX_KNOWN_HOSTS"), "utf8"),
  /** `ssh-ed25519 AAAA…` */
  hostKey:
    readFileSync(setting("SANDBOX_KNOWN_HOSTS"), "utf8").split("\n")[0]?.split(" ").slice(1, 3).join(" ") ??
    "",
  fingerprint: setting("SANDBOX_SSH_FINGERPRINT"),
  sshPassword: setting("SANDBOX_SSH_PASSWORD"),
  registry: setting("SANDBOX_REGISTRY"),
  registryUser: setting("SANDBOX_REGISTRY_USER"),
  registryPassword: setting("SANDBOX_REGISTRY_PASSWORD"),
  runnerDockerHost: setting("SANDBOX_RUNNER_DOCKER_HOST"),
  managerDockerHost: setting("SANDBOX_MANAGER_DOCKER_HOST"),
  state: setting("SANDBOX_STATE"),
};

/** Everything the tests make lies here, and goes with `cleanUp`. */
const workshop = mkdtempSync(join(tmpdir(), "e2e-"));

/** Once for each test file, in a top-level `afterAll`. */
export function cleanUp(): void {
  for (const stack of stacks) removeStack(stack);
  rmSync(workshop, { recursive: true, force: true });
}

/** On a busy machine a task may hold its network a little longer than docker waits for it. */
function removeStack(stack: string, triesLeft = 5): void {
  try {
    docker(["stack", "rm", stack]);
  } catch (error) {
    if (triesLeft === 0) throw error;
    execFileSync("sleep", ["2"]);
    removeStack(stack, triesLeft - 1);
  }
}

const stacks = new Set<string>();

/** A stack name that no other test uses, removed by `cleanUp`. */
export function stackName(name: string): string {
  const unique = `${name}-${Math.random().toString(36).slice(2, 7)}`;
  stacks.add(unique);
  return unique;
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
  readonly node?: string;
  /** Called with the running action, for instance to end it. */
  readonly during?: (action: ChildProcess, log: () => string) => void;
}

export const CONNECTION = {
  "ssh-host": sandbox.manager,
  "ssh-private-key": sandbox.key,
  "ssh-known-hosts": sandbox.knownHosts,
  registry: sandbox.registry,
  username: sandbox.registryUser,
  password: sandbox.registryPassword,
  "stable-for": "2s",
  timeout: "90s",
} as const;

/** Starts dist/index.js as the runner does: every input with its default in the environment, files for outputs, state and summary. */
export async function runAction(options: RunOptions): Promise<Run> {
  const files = mkdtempSync(join(workshop, "run-"));
  const temp = join(files, "temp");
  mkdirSync(temp);
  const paths = Object.fromEntries(
    ["GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_STATE"].map((name) => [name, join(files, name)]),
  );
  for (const path of Object.values(paths)) writeFileSync(path, "");
  const given = { ...defaults(), ...(options.bare === true ? {} : CONNECTION), ...options.inputs };
  const inputs = Object.fromEntries(
    Object.entries(given).map(([name, value]) => [`INPUT_${name.toUpperCase()}`, value]),
  );
  const environment = {
    PATH: process.env.PATH ?? "",
    HOME: files,
    DOCKER_HOST: sandbox.runnerDockerHost,
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

function defaults(): Record<string, string> {
  const action = parse(readFileSync(join(ROOT, "action.yml"), "utf8")) as {
    inputs: Record<string, { default?: string }>;
  };
  return Object.fromEntries(
    Object.entries(action.inputs).map(([name, { default: value = "" }]) => [
      name,
      value.startsWith("${{") ? "" : value,
    ]),
  );
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
export function pushImage(project: string, tag: string, args: readonly string[] = []): string {
  const reference = `${sandbox.registry}/${project}:${tag}`;
  const folder = buildable({});
  const host = sandbox.runnerDockerHost;
  const env = { PATH: process.env.PATH, DOCKER_HOST: host, HOME: workshop };
  const run = (argv: readonly string[], input = ""): string =>
    execFileSync("docker", argv, { env, input, encoding: "utf8", stdio: ["pipe", "pipe", "pipe"] });
  run(
    ["login", "--username", sandbox.registryUser, "--password-stdin", sandbox.registry],
    sandbox.registryPassword,
  );
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

export async function until(what: string, holds: () => boolean, seconds = 30): Promise<void> {
  const deadline = Date.now() + seconds * 1000;
  while (!holds()) {
    if (Date.now() > deadline) throw new Error(`waited ${seconds} s in vain until ${what}`);
    await new Promise((done) => setTimeout(done, 200));
  }
}
