import { readFileSync } from "node:fs";
import { describe, expect, test } from "@jest/globals";
import { parse } from "yaml";
import { InputError } from "../../../src/errors.ts";
import { DEFAULTS, type Inputs, type RunContext, parseInputs } from "../../../src/inputs/inputs.ts";

const PRINT = `SHA256:${"a".repeat(43)}`;
const RUN: RunContext = {
  repository: "Acme/Shop",
  sha: "0123456789abcdef0123456789abcdef01234567",
  refType: "branch",
  refName: "main",
  actor: "dev",
  actionRef: "v1",
  runUrl: "https://github.com/Acme/Shop/actions/runs/1",
  repositoryUrl: "https://github.com/Acme/Shop",
  event: "push",
  runId: "1",
  runAttempt: 1,
  pullRequest: undefined,
  sshAgent: undefined,
  withheldFrom: undefined,
};
/** The least that a workflow must say. */
const LEAST = { "ssh-host": "m1", "ssh-private-key": "KEY", "ssh-fingerprint": PRINT };

type Given = Readonly<Record<string, string>>;

function read(given: Given, run: Partial<RunContext> = {}): Inputs {
  return parseInputs((name) => given[name] ?? "", { ...RUN, ...run });
}

function inputs(given: Given = {}, run: Partial<RunContext> = {}): Inputs {
  return read({ ...LEAST, ...given }, run);
}

function complaints(given: Given, run: Partial<RunContext> = {}): string[] {
  try {
    read(given, run);
    return [];
  } catch (error) {
    expect(error).toBeInstanceOf(InputError);
    return error instanceof InputError ? error.problems.map(({ message }) => message) : [];
  }
}

test("what a workflow that says the least gets", () => {
  expect(inputs()).toEqual({
    mode: "deploy",
    target: {
      kind: "ssh",
      managers: [{ host: "m1", port: 22, user: "root" }],
      jumps: [],
      sudo: false,
      socket: "/var/run/docker.sock",
      privateKey: "KEY",
      passphrase: undefined,
      password: undefined,
      agent: undefined,
      knownHosts: undefined,
      fingerprints: [PRINT],
    },
    image: {
      registry: "docker.io",
      registryHost: "docker.io",
      project: "shop",
      repository: "docker.io/shop",
      version: "sha-0123456",
      tags: [],
      login: undefined,
      pullLogin: undefined,
      build: {
        context: ".",
        file: undefined,
        target: undefined,
        platforms: [],
        buildArgs: [],
        secrets: [],
        labels: [],
        cacheFrom: [],
        cacheTo: [],
        noCache: false,
        pull: false,
      },
    },
    stack: {
      approvedPlan: undefined,
      name: "shop",
      files: [],
      variables: new Map(),
      secrets: new Map(),
      strict: true,
      envFile: undefined,
      envConfig: undefined,
      updateOrder: "start-first",
      failureAction: "rollback",
      networks: [],
      prune: true,
    },
    rollout: {
      timeoutMs: 600_000,
      stableForMs: 15_000,
      onFailure: "rollback",
      lockTimeoutMs: 600_000,
      allowOlder: false,
    },
    ignoreFindings: new Set(),
    releases: { keep: 5, wanted: undefined },
    comment: false,
    githubToken: undefined,
  });
});

describe("mode rollback", () => {
  test("builds nothing, takes the version for the name of a release, and the swarm keeps the one credential", () => {
    const given = inputs({ mode: "rollback", version: "v1.4.0", username: "u", password: "p" });
    expect(given).toMatchObject({
      mode: "rollback",
      image: { version: "", build: undefined, login: { username: "u", password: "p" } },
      releases: { wanted: "v1.4.0" },
    });
  });

  test("needs neither a commit nor a version", () => {
    expect(inputs({ mode: "rollback" }, { sha: "" }).releases.wanted).toBeUndefined();
  });

  test("takes the number of a release", () => {
    expect(inputs({ mode: "rollback", version: "#12" }).releases.wanted).toBe("#12");
  });
});

describe("what an input means", () => {
  test.each<[string, Given, object]>([
    [
      "a host with everything",
      { "ssh-host": "deploy@m1.example.com:2222" },
      { target: { managers: [{ host: "m1.example.com", port: 2222, user: "deploy" }] } },
    ],
    [
      "several managers and bastions, in their order",
      {
        "ssh-host": "m1, u@m2:2222\n[::1]",
        "ssh-jump": "b1,me@b2",
        "ssh-user": "deploy",
        "ssh-sudo": "true",
      },
      {
        target: {
          managers: [
            { host: "m1", port: 22, user: "deploy" },
            { host: "m2", port: 2222, user: "u" },
            { host: "::1", port: 22, user: "deploy" },
          ],
          jumps: [
            { host: "b1", port: 22, user: "deploy" },
            { host: "b2", port: 22, user: "me" },
          ],
          sudo: true,
        },
      },
    ],
    [
      "the socket of a rootless engine",
      { "docker-socket": "unix:///run/user/1000/docker.sock" },
      { target: { socket: "/run/user/1000/docker.sock" } },
    ],
    [
      "an address",
      { "ssh-host": "192.0.2.1" },
      { target: { managers: [{ host: "192.0.2.1", port: 22, user: "root" }] } },
    ],
    [
      "an IPv6 address",
      { "ssh-host": "u@[2001:db8::1]:2222" },
      { target: { managers: [{ host: "2001:db8::1", port: 2222, user: "u" }] } },
    ],
    [
      "a URL",
      { "ssh-host": "ssh://deploy@m1:2222, ssh://m2" },
      {
        target: {
          managers: [
            { host: "m1", port: 2222, user: "deploy" },
            { host: "m2", port: 22, user: "root" },
          ],
        },
      },
    ],
    [
      "a name in brackets, as known_hosts has it",
      { "ssh-host": "[m-1.example.com]:2222" },
      { target: { managers: [{ host: "m-1.example.com", port: 2222 }] } },
    ],
    [
      "an IPv6 address without port",
      { "ssh-host": "[::1]" },
      { target: { managers: [{ host: "::1", port: 22 }] } },
    ],
    [
      "user and port for a host that names none",
      { "ssh-user": "deploy", "ssh-port": "2222" },
      { target: { managers: [{ host: "m1", port: 2222, user: "deploy" }] } },
    ],
    [
      "a host's own user and port win",
      { "ssh-host": "a@m1:1", "ssh-user": "b", "ssh-port": "2" },
      { target: { managers: [{ host: "m1", port: 1, user: "a" }] } },
    ],
    ["a key keeps its lines", { "ssh-private-key": "a\nb\n" }, { target: { privateKey: "a\nb\n" } }],
    [
      "a password and a passphrase lose the newline at their end, and only one",
      { "ssh-password": "p \n", "ssh-passphrase": "q\n\r\n" },
      { target: { password: "p ", passphrase: "q\n" } },
    ],
    ["a password keeps its blanks", { "ssh-password": " p " }, { target: { password: " p " } }],
    [
      "several fingerprints",
      { "ssh-fingerprint": `${PRINT}\n${PRINT}=` },
      { target: { fingerprints: [PRINT, `${PRINT}=`] } },
    ],
    [
      "known hosts",
      { "ssh-known-hosts": "m1 ssh-ed25519 AAAA\n" },
      { target: { knownHosts: "m1 ssh-ed25519 AAAA\n" } },
    ],
    [
      "a registry with namespace",
      { registry: "ghcr.io/acme/" },
      { image: { registry: "ghcr.io/acme", registryHost: "ghcr.io", repository: "ghcr.io/acme/shop" } },
    ],
    [
      "a registry with port",
      { registry: "10.0.0.1:5000" },
      { image: { registryHost: "10.0.0.1:5000", repository: "10.0.0.1:5000/shop" } },
    ],
    ["a project", { project: "web" }, { image: { project: "web" }, stack: { name: "web" } }],
    [
      "a stack name of its own",
      { "stack-name": "prod" },
      { image: { project: "shop" }, stack: { name: "prod" } },
    ],
    ["a version", { version: "1.2.3" }, { image: { version: "1.2.3" } }],
    ["tags", { tags: "latest, 1.2\nlatest" }, { image: { tags: ["latest", "1.2"] } }],
    [
      "tags as docker/metadata-action writes them",
      { tags: "docker.io/shop:latest" },
      { image: { tags: ["latest"] } },
    ],
    ["a tag that is the version", { version: "v1", tags: "v1,v2" }, { image: { tags: ["v2"] } }],
    ["a login", { username: "u", password: "p\n" }, { image: { login: { username: "u", password: "p" } } }],
    [
      "another login for pulls",
      { "pull-username": "u", "pull-password": "p" },
      { image: { pullLogin: { username: "u", password: "p" } } },
    ],
    [
      "a password for pulls belongs to the same user",
      { username: "u", password: "short-lived", "pull-password": "p" },
      { image: { pullLogin: { username: "u", password: "p" } } },
    ],
    ["no build", { build: "false" }, { image: { build: undefined } }],
    [
      "YAML's own spellings of booleans",
      { build: "FALSE", strict: "False", prune: "TRUE" },
      { image: { build: undefined }, stack: { strict: false, prune: true } },
    ],
    [
      "everything about a build",
      {
        context: "app",
        file: "app/Dockerfile",
        target: "prod",
        platforms: "linux/amd64,linux/arm64",
        "build-args": "A=1\nB=a,b",
        "build-secrets": "npm=x",
        labels: "a=b",
        "cache-from": "type=gha,scope=a",
        "cache-to": "type=gha,mode=max",
        "no-cache": "true",
        pull: "true",
      },
      {
        image: {
          build: {
            context: "app",
            file: "app/Dockerfile",
            target: "prod",
            platforms: ["linux/amd64", "linux/arm64"],
            buildArgs: ["A=1", "B=a,b"],
            secrets: ["npm=x"],
            labels: ["a=b"],
            cacheFrom: ["type=gha,scope=a"],
            cacheTo: ["type=gha,mode=max"],
            noCache: true,
            pull: true,
          },
        },
      },
    ],
    ["a stack file", { "stack-file": "deploy/stack.yml" }, { stack: { files: ["deploy/stack.yml"] } }],
    [
      "several stack files, in their order",
      { "stack-file": "stack.yml\n  stack.prod.yml\n" },
      { stack: { files: ["stack.yml", "stack.prod.yml"] } },
    ],
    [
      "an env file",
      { "env-file": ".env", "env-config": "app_env" },
      { stack: { envFile: ".env", envConfig: "app_env" } },
    ],
    [
      "variables and secrets",
      { variables: "A=1", secrets: '{"B": "2"}' },
      { stack: { variables: new Map([["A", "1"]]), secrets: new Map([["B", "2"]]) } },
    ],
    [
      "update settings",
      { "update-order": "stop-first", "failure-action": "pause" },
      { stack: { updateOrder: "stop-first", failureAction: "pause" } },
    ],
    ["networks", { networks: "proxy, db\nproxy" }, { stack: { networks: ["proxy", "db"] } }],
    [
      "times",
      { timeout: "1h30m", "stable-for": "0s" },
      { rollout: { timeoutMs: 5_400_000, stableForMs: 0 } },
    ],
    ["on failure", { "on-failure": "keep" }, { rollout: { onFailure: "keep" } }],
    ["blanks around a value", { timeout: " 5m\n" }, { rollout: { timeoutMs: 300_000 } }],
    ["blanks only", { timeout: "  " }, { rollout: { timeoutMs: 600_000 } }],
  ])("%s", (_fact, given, expected) => {
    expect(inputs(given)).toMatchObject(expected);
  });

  test.each<[string, Partial<RunContext>, Given, object]>([
    [
      "on a tag push the version is the tag",
      { refType: "tag", refName: "v1.2.3" },
      {},
      { image: { version: "v1.2.3" } },
    ],
    [
      "a version beats the tag",
      { refType: "tag", refName: "v1.2.3" },
      { version: "x" },
      { image: { version: "x" } },
    ],
    [
      "a tag that is no image tag hurts only where it is needed",
      { refType: "tag", refName: "a/b" },
      { version: "x" },
      { image: { version: "x" } },
    ],
    [
      "the agent serves where there is neither key nor password",
      { sshAgent: "/agent" },
      { "ssh-private-key": "" },
      { target: { agent: "/agent" } },
    ],
    ["the agent is not asked beside a key", { sshAgent: "/agent" }, {}, { target: { agent: undefined } }],
    [
      "the agent is not asked beside a password",
      { sshAgent: "/agent" },
      { "ssh-private-key": "", "ssh-password": "p" },
      { target: { agent: undefined } },
    ],
  ])("%s", (_fact, run, given, expected) => {
    expect(inputs(given, run)).toMatchObject(expected);
  });

  test("a docker host needs nothing of SSH", () => {
    expect(read({ "docker-host": "unix:///var/run/docker.sock" }).target).toEqual({
      kind: "socket",
      dockerHost: "unix:///var/run/docker.sock",
    });
    expect(read({ "docker-host": "tcp://127.0.0.1:2375" }).target).toEqual({
      kind: "socket",
      dockerHost: "tcp://127.0.0.1:2375",
    });
  });
});

describe("one mistake, one complaint", () => {
  test.each<[string, Given, string]>([
    ["neither target", { "ssh-host": "" }, 'Neither "ssh-host" nor "docker-host" is given.'],
    ["both targets", { "docker-host": "unix:///d.sock" }, 'Both "ssh-host" and "docker-host" are given.'],
    [
      "a docker host of another kind",
      { "ssh-host": "", "docker-host": "ssh://m1" },
      '"docker-host" is "ssh://m1".',
    ],
    [
      "a unix path that is none",
      { "ssh-host": "", "docker-host": "/var/run/docker.sock" },
      '"docker-host" is "/var/run/docker.sock".',
    ],
    [
      "a build argument without a name",
      { "build-args": "A=1\n=hunter2" },
      '"build-args", line 2: there is no name before the equals sign.',
    ],
    [
      "a build secret without a name",
      { "build-secrets": "=hunter2" },
      '"build-secrets", line 1: there is no name before the equals sign.',
    ],
    ["a URL with a path as host", { "ssh-host": "ssh://m1/x" }, '"ssh-host" has "ssh://m1/x".'],
    ["a URL of another kind as host", { "ssh-host": "tcp://u@m1:22" }, '"ssh-host" has "tcp://u@m1:22".'],
    ["a user with a colon", { "ssh-host": "u:p@m1" }, '"ssh-host" has "u:p@m1".'],
    ["a bare IPv6 address", { "ssh-host": "2001:db8::1" }, '"ssh-host" has "2001:db8::1".'],
    ["a host with blanks", { "ssh-host": "m1 -oProxyCommand=x" }, '"ssh-host" has "m1 -oProxyCommand=x".'],
    ["port 0", { "ssh-host": "m1:0" }, 'The SSH port is "0".'],
    ["a port too high", { "ssh-port": "65536" }, 'The SSH port is "65536".'],
    ["a port that is none", { "ssh-port": "ssh" }, 'The SSH port is "ssh".'],
    [
      "no way to log in",
      { "ssh-private-key": " \n" },
      'No way to log in: neither "ssh-private-key" nor "ssh-password" is given, and there is no SSH agent.',
    ],
    [
      "no way to know the host",
      { "ssh-fingerprint": "" },
      'Neither "ssh-known-hosts" nor "ssh-fingerprint" is given, so the host\'s key could not be checked.',
    ],
    ["an MD5 fingerprint", { "ssh-fingerprint": "MD5:aa:bb" }, '"ssh-fingerprint" has "MD5:aa:bb".'],
    [
      "a registry with scheme",
      { registry: "https://ghcr.io" },
      '"https://ghcr.io/shop" (registry/project) is no image name.',
    ],
    [
      "a registry in upper case",
      { registry: "ghcr.io/Acme" },
      '"ghcr.io/Acme/shop" (registry/project) is no image name.',
    ],
    [
      "a project with a tag",
      { project: "shop:v1", "stack-name": "shop" },
      '"docker.io/shop:v1" (registry/project) is no image name.',
    ],
    [
      "a version that is no tag",
      { version: "feature/x" },
      '"version" is "feature/x", which is no image tag.',
    ],
    [
      "a version too long",
      { version: "v".repeat(129) },
      `"version" is "${"v".repeat(129)}", which is no image tag.`,
    ],
    ["a tag that is none", { tags: "latest,a/b" }, '"tags" has "a/b", which is no image tag.'],
    ["a user without password", { username: "u" }, '"username" is given and "password" is empty.'],
    ["a password without user", { password: "p" }, '"password" is given and "username" is empty.'],
    [
      "a pull password without any user",
      { "pull-password": "p" },
      '"pull-password" is given and "pull-username" is empty.',
    ],
    ["a boolean that is none", { build: "yes" }, '"build" is "yes".'],
    ["a boolean of the stack", { strict: "1" }, '"strict" is "1".'],
    ["a stack name with a dot", { "stack-name": "a.b" }, 'The stack name "a.b" is none.'],
    [
      "a stack name too long",
      { "stack-name": "a".repeat(64) },
      `The stack name "${"a".repeat(64)}" is none.`,
    ],
    ["a network name that is none", { networks: "a b" }, '"networks" has "a b", which is no network name.'],
    ["an update order that is none", { "update-order": "first" }, '"update-order" is "first".'],
    ["a failure action that is none", { "failure-action": "explode" }, '"failure-action" is "explode".'],
    ["an action on failure that is none", { "on-failure": "retry" }, '"on-failure" is "retry".'],
    ["a timeout without unit", { timeout: "10" }, '"timeout" is "10", which is no duration.'],
    ["a stable time without unit", { "stable-for": "10" }, '"stable-for" is "10", which is no duration.'],
    ["no time at all", { timeout: "0s" }, '"timeout" is zero: no rollout can be that fast.'],
    [
      "more stability than time",
      { timeout: "15s" },
      '"stable-for" is not shorter than "timeout": no rollout could ever be called good.',
    ],
    [
      "a variable that is none",
      { variables: "A" },
      '"variables", line 1: expected KEY=value, KEY<<EOF or a comment.',
    ],
    [
      "a secret that is none",
      { secrets: "A" },
      '"secrets", line 1: expected KEY=value, KEY<<EOF or a comment.',
    ],
    ["an unknown mode", { mode: "destroy" }, '"mode" is "destroy".'],
    [
      "half a digest of a plan",
      { "plan-digest": "sha256:12" },
      '"plan-digest" is "sha256:12", which is no digest of a plan.',
    ],
    [
      "a plan that was approved, for a plan",
      { mode: "plan", "plan-digest": `sha256:${"0".repeat(64)}` },
      '"plan-digest" has no meaning in mode "plan".',
    ],
    ["a bastion that is none", { "ssh-jump": "u@b:x" }, '"ssh-jump" has "u@b:x".'],
    ["a socket that is no path", { "docker-socket": "docker.sock" }, '"docker-socket" is "docker.sock".'],
    ["a socket with a word for the shell", { "docker-socket": "/x;id" }, '"docker-socket" is "/x;id".'],
    ["no release to keep", { "keep-releases": "0" }, '"keep-releases" is "0".'],
    ["releases that are no number", { "keep-releases": "5x" }, '"keep-releases" is "5x".'],
    ["a lock time that is none", { "lock-timeout": "10" }, '"lock-timeout" is "10", which is no duration.'],
    [
      "a finding that is none",
      { "ignore-findings": "port-in-use, host-port" },
      '"ignore-findings" has "host-port", which is no finding.',
    ],
    ["a wish to go back that is none", { "allow-older": "yes" }, '"allow-older" is "yes".'],
    [
      "a release that is none",
      { mode: "rollback", version: "a b" },
      '"version" is "a b", which names no release.',
    ],
    [
      "an environment, to come",
      { environment: "prod" },
      '"environment" is not supported yet in this version.',
    ],
    [
      "its URL, to come",
      { "environment-url": "https://x" },
      '"environment-url" is not supported yet in this version.',
    ],
  ])("%s", (_fact, given, complaint) => {
    expect(complaints({ ...LEAST, ...given })).toEqual([complaint]);
  });

  test.each<[string, Partial<RunContext>, string]>([
    [
      "a Git tag that is no image tag",
      { refType: "tag", refName: "release/1" },
      'The Git tag "release/1" is no image tag.',
    ],
    ["no commit", { sha: "" }, '"version" is not given and there is no commit to name it after.'],
    [
      "no repository",
      { repository: "" },
      '"project" is empty and there is no repository name to take its place.',
    ],
  ])("%s", (_fact, run, complaint) => {
    expect(complaints(LEAST, run)).toEqual([complaint]);
  });
});

test("everything that is wrong comes in one report", () => {
  const wrong = {
    mode: "x",
    build: "x",
    timeout: "x",
    version: "a b",
    "stack-name": "a.b",
    secrets: "x",
    "ssh-port": "x",
  };
  expect(complaints(wrong)).toHaveLength(8);
});

test.each(["ssh-private-key", "ssh-passphrase", "ssh-password", "password", "pull-password"])(
  "no complaint quotes %s",
  (name) => {
    const given = { mode: "x", username: "", [name]: "hunter2" };
    expect(complaints(given).join("\n")).not.toContain("hunter2");
  },
);

function inputsRead(): Set<string> {
  const asked = new Set<string>();
  const raw = (given: Given) => (name: string) => {
    asked.add(name);
    return given[name] ?? "";
  };
  parseInputs(raw(LEAST), RUN);
  return asked;
}

describe("action.yml", () => {
  interface Manifest {
    readonly inputs: Readonly<
      Record<
        string,
        { readonly description: string; readonly default?: unknown; readonly required?: boolean }
      >
    >;
  }
  const manifest = parse(readFileSync("action.yml", "utf8")) as Manifest;
  const declared = Object.keys(manifest.inputs);

  test("declares every input that the code reads", () => {
    expect([...inputsRead()].filter((name) => !declared.includes(name))).toEqual([]);
  });

  test("declares none that the code does not read", () => {
    const unread = new Set(["github-token"]); // For GitHub deployments, which are to come; masked all the same.
    expect(declared.filter((name) => !inputsRead().has(name) && !unread.has(name))).toEqual([]);
  });

  test("has the code's defaults", () => {
    const defaults = Object.entries(manifest.inputs).flatMap(([name, input]) =>
      input.default === undefined ? [] : [[name, input.default]],
    );
    expect(Object.fromEntries(defaults)).toEqual({ ...DEFAULTS, "github-token": "${{ github.token }}" });
  });

  test("requires no input, since a missing one gets a better message from the code", () => {
    expect(declared.filter((name) => manifest.inputs[name]?.required === true)).toEqual([]);
  });

  test("names every input of the contract", () => {
    const contract =
      "ssh-host ssh-user ssh-port ssh-private-key ssh-passphrase ssh-password ssh-known-hosts ssh-fingerprint ssh-jump ssh-sudo docker-socket docker-host " +
      "registry username password pull-username pull-password project build context file target platforms build-args build-secrets labels " +
      "cache-from cache-to no-cache pull version tags stack-name stack-file variables secrets strict env-file env-config update-order " +
      "failure-action networks prune timeout stable-for on-failure lock-timeout allow-older ignore-findings keep-releases plan-digest github-token comment environment environment-url mode";
    expect(declared.toSorted()).toEqual(contract.split(" ").toSorted());
  });
});

describe("mode plan", () => {
  test("needs no manager, and then no credentials either: a fork has no secrets", () => {
    const offline = inputs({
      mode: "plan",
      "ssh-host": "",
      "ssh-private-key": "",
      username: "u",
      password: "",
    });
    expect(offline).toMatchObject({ mode: "plan", target: undefined, image: { login: undefined } });
  });

  test("connects to a manager where one is named", () => {
    expect(inputs({ mode: "plan" }).target).toMatchObject({ kind: "ssh" });
  });

  test("still wants a key for a manager that is named", () => {
    expect(() => inputs({ mode: "plan", "ssh-private-key": "" })).toThrow(/No way to log in/);
  });
});
