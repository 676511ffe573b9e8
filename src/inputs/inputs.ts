import { InputError, type Problem } from "../errors.ts";
import { isTag, parseImageReference } from "../image/reference.ts";
import { FINDING_IDS, type FindingId } from "../preflight/findings.ts";
import { parseDuration } from "./duration.ts";
import { type KeyValues, parseKeyValues } from "./key-values.ts";

/** The values that stand where a workflow says nothing; action.yml says the same, and a test holds the two together. */
export const DEFAULTS: Readonly<Record<string, string>> = {
  mode: "deploy",
  "ssh-user": "root",
  "ssh-port": "22",
  "ssh-sudo": "false",
  "docker-socket": "/var/run/docker.sock",
  registry: "docker.io",
  build: "true",
  context: ".",
  "no-cache": "false",
  pull: "false",
  strict: "true",
  "update-order": "start-first",
  "failure-action": "rollback",
  prune: "true",
  timeout: "10m",
  "stable-for": "15s",
  "on-failure": "rollback",
  "lock-timeout": "10m",
  "allow-older": "false",
  "keep-releases": "5",
  comment: "false",
};

/** Tried in this order where `stack-file` is not given. */
export const STACK_FILES: readonly string[] = [
  "stack.yml",
  "stack.yaml",
  "docker-stack.yml",
  "docker-stack.yaml",
  "deploy.yml",
  "compose.yml",
  "compose.yaml",
  "docker-compose.yml",
];

/** What the runner tells about the event that started the workflow. */
export interface RunContext {
  /** `owner/name`; empty outside of a workflow. */
  readonly repository: string;
  readonly sha: string;
  readonly refType: string;
  readonly refName: string;
  readonly actor: string;
  /** Which version of this action runs, as the workflow names it. */
  readonly actionRef: string;
  /** The number of the pull request that started the workflow; undefined where none did. */
  readonly pullRequest: number | undefined;
  /** Whose pull request started the workflow, where GitHub gives such a run no secrets and no variables; else undefined. */
  readonly withheldFrom: "a fork" | "Dependabot" | undefined;
  /** What started the workflow, for instance `push`. */
  readonly event: string;
  readonly runId: string;
  /** Rises with "Re-run jobs"; 0 outside of a workflow. */
  readonly runAttempt: number;
  /** The page of this run; empty outside of a workflow. */
  readonly runUrl: string;
  /** The page of the repository; empty outside of a workflow. */
  readonly repositoryUrl: string;
  /** The agent's socket (SSH_AUTH_SOCK), if the environment has one. */
  readonly sshAgent: string | undefined;
}

export interface Credential {
  readonly username: string;
  readonly password: string;
}

/** One SSH server: a manager, or a bastion on the way to it. */
export interface SshHost {
  /** A name or an address, without brackets. */
  readonly host: string;
  readonly port: number;
  readonly user: string;
}

export interface SshTarget {
  readonly kind: "ssh";
  /** Tried in this order; at least one. */
  readonly managers: readonly SshHost[];
  /** Gone through in this order on the way to each manager. */
  readonly jumps: readonly SshHost[];
  /** Whether the user needs `sudo -n` to reach Docker. */
  readonly sudo: boolean;
  /** Path of Docker's socket on the manager. */
  readonly socket: string;
  readonly privateKey: string | undefined;
  readonly passphrase: string | undefined;
  readonly password: string | undefined;
  readonly agent: string | undefined;
  /** `known_hosts` text; undefined where only fingerprints are given. */
  readonly knownHosts: string | undefined;
  /** `SHA256:…`, any of which will do. */
  readonly fingerprints: readonly string[];
}

interface SocketTarget {
  readonly kind: "socket";
  /** `unix://…` or `tcp://…`. */
  readonly dockerHost: string;
}

export interface BuildInputs {
  readonly context: string;
  readonly file: string | undefined;
  readonly target: string | undefined;
  readonly platforms: readonly string[];
  readonly buildArgs: readonly string[];
  /** `id=value` lines. */
  readonly secrets: readonly string[];
  readonly labels: readonly string[];
  readonly cacheFrom: readonly string[];
  readonly cacheTo: readonly string[];
  readonly noCache: boolean;
  readonly pull: boolean;
}

export type Mode = "deploy" | "plan" | "rollback";

export interface Inputs {
  readonly mode: Mode;
  /** Undefined in mode `plan` alone, for a check of the files without a swarm. */
  readonly target: SshTarget | SocketTarget | undefined;
  readonly image: {
    /** Host with an optional namespace; `$REGISTRY_URL`. */
    readonly registry: string;
    /** The registry's host alone. */
    readonly registryHost: string;
    /** `$PROJECT_NAME`. */
    readonly project: string;
    /** `registry/project`, without a tag. */
    readonly repository: string;
    /** Empty in mode `rollback`. */
    readonly version: string;
    /** Besides `version`. */
    readonly tags: readonly string[];
    /** For the build, the push and, without `pullLogin`, the swarm. */
    readonly login: Credential | undefined;
    /** What the swarm keeps for later pulls, where it differs. */
    readonly pullLogin: Credential | undefined;
    /** Undefined with `build: false`. */
    readonly build: BuildInputs | undefined;
  };
  readonly stack: {
    readonly name: string;
    /** In the order in which they are merged; none: the first of `STACK_FILES` that exists. */
    readonly files: readonly string[];
    readonly variables: ReadonlyMap<string, string>;
    readonly secrets: ReadonlyMap<string, string>;
    readonly strict: boolean;
    readonly envFile: string | undefined;
    readonly envConfig: string | undefined;
    readonly updateOrder: string;
    readonly failureAction: string;
    readonly networks: readonly string[];
    readonly prune: boolean;
    /** `plan-digest`: the only plan that may be carried out. */
    readonly approvedPlan: string | undefined;
  };
  readonly rollout: {
    readonly timeoutMs: number;
    readonly stableForMs: number;
    readonly onFailure: "rollback" | "keep";
    /** For another deployment of the same stack; 0: not at all. */
    readonly lockTimeoutMs: number;
    /** Whether a push may take the stack back to an ancestor of what is live. */
    readonly allowOlder: boolean;
  };
  /** What is noticed before the deployment and is to be passed over. */
  readonly ignoreFindings: ReadonlySet<FindingId>;
  readonly releases: {
    /** How many stay, the one that runs counted; at least one. */
    readonly keep: number;
    /** In mode `rollback`, the one to go back to: its version, or its number as `#12`; undefined: the one before what runs. */
    readonly wanted: string | undefined;
  };
  /** For questions to GitHub's API. */
  readonly githubToken: string | undefined;
  /** In mode `plan`, whether the pull request gets a comment. */
  readonly comment: boolean;
}

/** The raw text of an input; empty where it is not given. */
export type RawInput = (name: string) => string;

/** Reads every input, or throws an `InputError` that lists all that is wrong with them. */
export function parseInputs(raw: RawInput, run: RunContext): Inputs {
  const reader = new Reader(raw);
  const mode = reader.oneOf("mode", ["deploy", "plan", "rollback"]);
  reader.refuseForNow(
    "environment",
    "GitHub deployments are not recorded yet; use the job's own `environment`.",
  );
  reader.refuseForNow(
    "environment-url",
    "GitHub deployments are not recorded yet; use the job's own `environment`.",
  );
  const target = mode === "plan" && isOffline(reader) ? undefined : parseTarget(reader, run);
  const inputs: Inputs = {
    mode,
    target,
    image: parseImage(reader, run, mode === "rollback", target !== undefined),
    stack: { ...parseStack(reader, run), approvedPlan: parseApproval(reader, mode) },
    rollout: {
      timeoutMs: reader.duration("timeout"),
      stableForMs: reader.duration("stable-for"),
      onFailure: reader.oneOf("on-failure", ["rollback", "keep"]),
      lockTimeoutMs: reader.duration("lock-timeout"),
      allowOlder: reader.boolean("allow-older"),
    },
    ignoreFindings: parseFindings(reader),
    releases: {
      keep: reader.count("keep-releases"),
      wanted: mode === "rollback" ? parseWantedRelease(reader) : undefined,
    },
    githubToken: reader.optional("github-token"),
    comment: reader.boolean("comment"),
  };
  if (inputs.rollout.timeoutMs === 0) reader.complain('"timeout" is zero: no rollout can be that fast.');
  else if (inputs.rollout.stableForMs >= inputs.rollout.timeoutMs) {
    reader.complain('"stable-for" is not shorter than "timeout": no rollout could ever be called good.');
  }
  if (reader.problems.length > 0) throw new InputError(reader.problems);
  return inputs;
}

class Reader {
  readonly problems: Problem[] = [];
  readonly #raw: RawInput;

  constructor(raw: RawInput) {
    this.#raw = raw;
  }

  complain(message: string, hint?: string): void {
    this.problems.push({ message, hint });
  }

  adopt(parsed: KeyValues): ReadonlyMap<string, string> {
    for (const problem of parsed.problems) this.problems.push(problem);
    return parsed.values;
  }

  /** As given, blanks included: keys. */
  verbatim(name: string): string {
    return this.#raw(name);
  }

  /** Blanks included, but for the newline that YAML's `|` ends a value with. */
  password(name: string): string {
    return this.#raw(name).replace(/\r?\n$/, "");
  }

  text(name: string): string {
    return this.#raw(name).trim() || (DEFAULTS[name] ?? "");
  }

  optional(name: string): string | undefined {
    return this.text(name) || undefined;
  }

  lines(name: string): string[] {
    return split(this.text(name), /\r?\n/);
  }

  /** `name=value` lines; a line without a name is a mistake. The line itself may hold a secret. */
  named(name: string): string[] {
    this.#raw(name)
      .split(/\r?\n/)
      .forEach((line, index) => {
        if (!line.trim().startsWith("=")) return;
        this.complain(`"${name}", line ${index + 1}: there is no name before the equals sign.`);
      });
    return this.lines(name);
  }

  /** Separated by newlines or commas. */
  list(name: string): string[] {
    return split(this.text(name), /\r?\n|,/);
  }

  boolean(name: string): boolean {
    const value = this.text(name);
    if (/^(true|True|TRUE)$/.test(value)) return true;
    if (!/^(false|False|FALSE)$/.test(value))
      this.complain(`"${name}" is "${value}".`, "Give true or false.");
    return false;
  }

  duration(name: string): number {
    const value = this.text(name);
    const ms = parseDuration(value);
    if (ms === undefined)
      this.complain(`"${name}" is "${value}", which is no duration.`, "Give one such as 90s, 10m or 1h30m.");
    return ms ?? Number.NaN;
  }

  /** A whole number, at least one. */
  count(name: string): number {
    const value = this.text(name);
    if (/^[1-9]\d{0,3}$/.test(value)) return Number(value);
    this.complain(`"${name}" is "${value}".`, "Give a whole number from 1 to 9999.");
    return Number.NaN;
  }

  oneOf<T extends string>(name: string, choices: readonly [T, ...T[]]): T {
    const value = this.text(name);
    const choice = choices.find((candidate) => candidate === value);
    if (choice === undefined)
      this.complain(`"${name}" is "${value}".`, `Give one of: ${choices.join(", ")}.`);
    return choice ?? choices[0];
  }

  /** An input of the contract whose behaviour is still to come: never silently ignored. */
  refuseForNow(name: string, meanwhile: string): void {
    const value = this.text(name);
    if (value !== (DEFAULTS[name] ?? ""))
      this.complain(`"${name}" is not supported yet in this version.`, meanwhile);
  }
}

function split(text: string, separator: RegExp): string[] {
  return text
    .split(separator)
    .map((part) => part.trim())
    .filter((part) => part !== "");
}

/** Pull requests from forks get no secrets: what names the manager may be one. */
function isOffline(reader: Reader): boolean {
  return reader.list("ssh-host").length === 0 && reader.text("docker-host") === "";
}

function parseApproval(reader: Reader, mode: Mode): string | undefined {
  const given = reader.optional("plan-digest");
  if (given === undefined) return undefined;
  if (!/^sha256:[0-9a-f]{64}( |$)/.test(given))
    reader.complain(
      `"plan-digest" is "${given}", which is no digest of a plan.`,
      'Give the output "plan-digest" of mode "plan".',
    );
  if (mode !== "deploy")
    reader.complain(`"plan-digest" has no meaning in mode "${mode}".`, 'Give it in mode "deploy".');
  return given;
}

function parseTarget(reader: Reader, run: RunContext): SshTarget | SocketTarget {
  const hosts = reader.list("ssh-host");
  const dockerHost = reader.text("docker-host");
  if (hosts.length > 0 === (dockerHost !== "")) {
    reader.complain(
      dockerHost === ""
        ? 'Neither "ssh-host" nor "docker-host" is given.'
        : 'Both "ssh-host" and "docker-host" are given.',
      'Give exactly one: "ssh-host" for a manager reached by SSH, "docker-host" for a runner that stands on a manager.',
    );
  }
  if (dockerHost !== "") {
    if (!/^(unix:\/\/\/.|tcp:\/\/.)/.test(dockerHost)) {
      const hint = dockerHost.startsWith("ssh://")
        ? 'Use "ssh-host" for SSH.'
        : "Give unix:///path or tcp://host:port.";
      reader.complain(`"docker-host" is "${dockerHost}".`, hint);
    }
    return { kind: "socket", dockerHost };
  }
  checkPort(reader, reader.text("ssh-port"));
  return {
    kind: "ssh",
    managers: hosts.map((entry) => parseSshHost(reader, "ssh-host", entry)),
    jumps: reader.list("ssh-jump").map((entry) => parseSshHost(reader, "ssh-jump", entry)),
    sudo: reader.boolean("ssh-sudo"),
    socket: parseSocket(reader),
    ...parseSshTrust(reader, hosts.length > 0, run),
  };
}

/** As a URL, too; in brackets also a name, as `known_hosts` has it. */
const SSH_HOST = /^(?:ssh:\/\/)?(?:([^@\s/:]+)@)?(?:\[([\w:.%-]+)\]|([^\s:@[\]/]+))(?::(\d+))?$/;

function parseSshHost(reader: Reader, input: string, entry: string): SshHost {
  const [, user, bracketed, plain, port] = SSH_HOST.exec(entry) ?? [];
  const host = bracketed ?? plain ?? "";
  if (host === "") {
    reader.complain(
      `"${input}" has "${entry}".`,
      "Give [user@]host[:port], without a password or a path; an IPv6 address stands in brackets.",
    );
  }
  if (port !== undefined) checkPort(reader, port);
  return { host, port: Number(port ?? reader.text("ssh-port")), user: user ?? reader.text("ssh-user") };
}

function checkPort(reader: Reader, port: string): void {
  if (/^\d{1,5}$/.test(port) && Number(port) >= 1 && Number(port) <= 65_535) return;
  reader.complain(`The SSH port is "${port}".`, "Give a number from 1 to 65535.");
}

/** Part of a remote command line where `docker system dial-stdio` has to do: nothing in it may mean anything to a shell. */
function parseSocket(reader: Reader): string {
  const path = reader.text("docker-socket").replace(/^unix:\/\//, "");
  if (!/^\/[\w./@+-]+$/.test(path))
    reader.complain(
      `"docker-socket" is "${path}".`,
      "Give the absolute path of Docker's socket on the manager.",
    );
  return path;
}

function parseFindings(reader: Reader): ReadonlySet<FindingId> {
  const given = new Set(reader.list("ignore-findings"));
  const known = FINDING_IDS.filter((id) => given.delete(id));
  for (const other of given)
    reader.complain(
      `"ignore-findings" has "${other}", which is no finding.`,
      `Give some of: ${FINDING_IDS.join(", ")}.`,
    );
  return new Set(known);
}

type SshTrust = Omit<SshTarget, "kind" | "managers" | "jumps" | "sudo" | "socket">;

function parseSshTrust(reader: Reader, wanted: boolean, run: RunContext): SshTrust {
  const privateKey = nonBlank(reader.verbatim("ssh-private-key"));
  const password = reader.password("ssh-password") || undefined;
  const knownHosts = nonBlank(reader.verbatim("ssh-known-hosts"));
  const fingerprints = reader.list("ssh-fingerprint");
  const agent = privateKey === undefined && password === undefined ? run.sshAgent : undefined;
  if (wanted && privateKey === undefined && password === undefined && agent === undefined) {
    reader.complain(
      'No way to log in: neither "ssh-private-key" nor "ssh-password" is given, and there is no SSH agent.',
      "If the key comes from a secret, check the secret's name: an undefined secret is empty.",
    );
  }
  if (wanted && knownHosts === undefined && fingerprints.length === 0) {
    reader.complain(
      'Neither "ssh-known-hosts" nor "ssh-fingerprint" is given, so the host\'s key could not be checked.',
      "Give the output of `ssh-keyscan HOST`, compared with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the host.",
    );
  }
  for (const fingerprint of fingerprints) {
    if (!/^SHA256:[A-Za-z0-9+/]{43}=?$/.test(fingerprint)) {
      reader.complain(
        `"ssh-fingerprint" has "${fingerprint}".`,
        "Give SHA256: and 43 characters, as `ssh-keygen -l` prints it.",
      );
    }
  }
  const passphrase = reader.password("ssh-passphrase") || undefined;
  return { privateKey, passphrase, password, agent, knownHosts, fingerprints };
}

function nonBlank(text: string): string | undefined {
  return text.trim() === "" ? undefined : text;
}

/** A rollback builds nothing, and takes the image that the release had. Without a swarm nobody logs in, and half a credential is no mistake. */
function parseImage(
  reader: Reader,
  run: RunContext,
  isRollback: boolean,
  isOnline: boolean,
): Inputs["image"] {
  const registry = reader.text("registry").replace(/\/+$/, "");
  const project = reader.text("project") || (run.repository.split("/").pop() ?? "").toLowerCase();
  if (project === "")
    reader.complain('"project" is empty and there is no repository name to take its place.');
  const repository = `${registry}/${project}`;
  const reference = parseImageReference(repository);
  if (project !== "" && (reference === undefined || reference.tag !== undefined)) {
    reader.complain(
      `"${repository}" (registry/project) is no image name.`,
      "Give the registry as host or host/namespace without https://, and both in lower case.",
    );
  }
  const version = isRollback ? "" : parseVersion(reader, run);
  const tags = reader
    .list("tags")
    .map((tag) => (tag.startsWith(`${repository}:`) ? tag.slice(repository.length + 1) : tag));
  for (const tag of tags.filter((candidate) => !isTag(candidate))) {
    reader.complain(
      `"tags" has "${tag}", which is no image tag.`,
      "Give tags only, such as latest; the repository comes from registry and project.",
    );
  }
  const login = isOnline ? parseCredential(reader, "username", "password") : undefined;
  return {
    registry,
    registryHost: reference?.domain ?? registry,
    project,
    repository,
    version,
    tags: [...new Set(tags)].filter((tag) => tag !== version),
    login,
    pullLogin: isOnline ? parseCredential(reader, "pull-username", "pull-password", login) : undefined,
    build: reader.boolean("build") && !isRollback ? parseBuild(reader) : undefined,
  };
}

function parseWantedRelease(reader: Reader): string | undefined {
  const wanted = reader.optional("version");
  if (wanted !== undefined && !isTag(wanted) && !/^#\d+$/.test(wanted)) {
    reader.complain(
      `"version" is "${wanted}", which names no release.`,
      'Give the version of an earlier release, or its number such as "#12" (in quotes); leave it out for the one before what runs.',
    );
  }
  return wanted;
}

function parseVersion(reader: Reader, run: RunContext): string {
  const given = reader.text("version");
  if (given !== "") {
    if (!isTag(given)) {
      reader.complain(
        `"version" is "${given}", which is no image tag.`,
        "Use letters, digits, _ . and -, at most 128, not starting with . or -.",
      );
    }
    return given;
  }
  if (run.refType === "tag") {
    if (!isTag(run.refName)) {
      reader.complain(`The Git tag "${run.refName}" is no image tag.`, 'Set "version" to one made from it.');
    }
    return run.refName;
  }
  if (run.sha === "") reader.complain('"version" is not given and there is no commit to name it after.');
  return `sha-${run.sha.slice(0, 7)}`;
}

/** What is missing of a pair that is given in part comes from `others`. */
function parseCredential(
  reader: Reader,
  userInput: string,
  passwordInput: string,
  others?: Credential,
): Credential | undefined {
  const givenUser = reader.text(userInput);
  const givenPassword = reader.password(passwordInput);
  if (givenUser === "" && givenPassword === "") return undefined;
  const username = givenUser || (others?.username ?? "");
  const password = givenPassword || (others?.password ?? "");
  if (username === "" || password === "") {
    const [given, missing] = username === "" ? [passwordInput, userInput] : [userInput, passwordInput];
    reader.complain(
      `"${given}" is given and "${missing}" is empty.`,
      "If it comes from a secret, check the secret's name.",
    );
  }
  return { username, password };
}

function parseBuild(reader: Reader): BuildInputs {
  return {
    context: reader.text("context"),
    file: reader.optional("file"),
    target: reader.optional("target"),
    platforms: reader.list("platforms"),
    buildArgs: reader.named("build-args"),
    secrets: reader.named("build-secrets"),
    labels: reader.lines("labels"),
    cacheFrom: reader.lines("cache-from"),
    cacheTo: reader.lines("cache-to"),
    noCache: reader.boolean("no-cache"),
    pull: reader.boolean("pull"),
  };
}

function parseStack(reader: Reader, run: RunContext): Omit<Inputs["stack"], "approvedPlan"> {
  const name =
    reader.text("stack-name") ||
    reader.text("project") ||
    (run.repository.split("/").pop() ?? "").toLowerCase();
  // Networks are named after the stack, and those must be DNS name components: no dots (SWARM: "must be valid as a DNS name component").
  if (name !== "" && !/^[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?$/.test(name)) {
    reader.complain(
      `The stack name "${name}" is none.`,
      'Set "stack-name": letters, digits, - and _, at most 63.',
    );
  }
  const networks = reader.list("networks");
  for (const network of networks.filter((candidate) => !/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(candidate))) {
    reader.complain(`"networks" has "${network}", which is no network name.`);
  }
  return {
    name,
    files: reader.lines("stack-file"),
    variables: reader.adopt(parseKeyValues("variables", reader.verbatim("variables"))),
    secrets: reader.adopt(parseKeyValues("secrets", reader.verbatim("secrets"))),
    strict: reader.boolean("strict"),
    envFile: reader.optional("env-file"),
    envConfig: reader.optional("env-config"),
    updateOrder: reader.oneOf("update-order", ["start-first", "stop-first"]),
    failureAction: reader.oneOf("failure-action", ["rollback", "pause", "continue"]),
    networks: [...new Set(networks)],
    prune: reader.boolean("prune"),
  };
}
