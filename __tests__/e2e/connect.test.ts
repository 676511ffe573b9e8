import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { createPrivateKey } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { LEAN } from "../stacks/lean.ts";
import { buildable, cleanUp, docker, pushImage, runAction, sandbox, stackName } from "./rig.ts";

/** Who the action talks to, how it logs in, and what it says where it can't. */

const stack = stackName("connect");
const inputs = { "stack-name": stack, project: stack, version: "v1", build: "false", "stable-for": "1s" };
const cwd = buildable({ "stack.yml": `${LEAN}services:\n  web:\n    image: $IMAGE\n` });
const key = (name: string): string => readFileSync(join(sandbox.keys, name), "utf8");

function pkcs8(name: string): string {
  return createPrivateKey(key(name)).export({ type: "pkcs8", format: "pem" }).toString();
}

beforeAll(() => void pushImage(stack, "v1"));
afterAll(cleanUp);

describe("ways to log in", () => {
  let agent: ChildProcess;
  const agentSocket = join(mkdtempSync(join(tmpdir(), "agent-")), "s");
  beforeAll(async () => {
    agent = spawn("ssh-agent", ["-D", "-a", agentSocket], { stdio: "ignore" });
    await new Promise((done) => setTimeout(done, 500));
    execFileSync("ssh-add", ["-q", join(sandbox.keys, "id_ed25519")], {
      env: { ...process.env, SSH_AUTH_SOCK: agentSocket },
    });
  });
  afterAll(() => void agent.kill());

  const none = { "ssh-private-key": "" };
  test.each([
    ["an Ed25519 key", { "ssh-private-key": key("id_ed25519") }, {}],
    ["an ECDSA key", { "ssh-private-key": key("id_ecdsa") }, {}],
    ["an RSA key in PEM form", { "ssh-private-key": key("id_rsa") }, {}],
    ["an RSA key in PKCS#8 form", { "ssh-private-key": pkcs8("id_rsa") }, {}],
    ["a key with a passphrase", { "ssh-private-key": key("id_pass"), "ssh-passphrase": "passphrase" }, {}],
    [
      "a key with CRLF, indented and without a final newline",
      { "ssh-private-key": `  ${key("id_ed25519").trim().replaceAll("\n", "\r\n  ")}` },
      {},
    ],
    ["a password", { ...none, "ssh-user": "deploy", "ssh-password": sandbox.sshPassword }, {}],
    ["the agent", none, { SSH_AUTH_SOCK: agentSocket }],
    ["another user, in the host", { "ssh-host": `deploy@${sandbox.manager}:22` }, {}],
    [
      "a fingerprint instead of known hosts",
      { "ssh-known-hosts": "", "ssh-fingerprint": sandbox.fingerprint },
      {},
    ],
    [
      "docker-host and no SSH",
      { "ssh-host": "", "docker-host": sandbox.managerDockerHost, ...none, "ssh-known-hosts": "" },
      {},
    ],
  ])("%s", async (_name, own: Record<string, string>, environment: Record<string, string>) => {
    const run = await runAction({ cwd, inputs: { ...inputs, ...own }, environment });
    expect(run.log).toMatch(/Status: (deployed|unchanged)\./);
    expect(run.code).toBe(0);
    expect(run.leftovers).toEqual([]);
  });
});

const node20 = join(import.meta.dirname, "../../node_modules/node20-linux-x64/bin/node");

test("the bundle also works on Node 20, where this machine has a binary of it", async () => {
  const run = await runAction({ cwd, inputs, node: existsSync(node20) ? node20 : process.execPath });
  expect(run.log).toMatch(/Status: (deployed|unchanged)\./);
  expect(run.leftovers).toEqual([]);
});

describe("what goes wrong", () => {
  const otherKey = mkdtempSync(join(tmpdir(), "key-"));
  beforeAll(
    () => void execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", join(otherKey, "k")]),
  );

  test("a host key that is not the pinned one is refused, with both fingerprints", async () => {
    const wrong = readFileSync(join(otherKey, "k.pub"), "utf8").split(" ").slice(0, 2).join(" ");
    const run = await runAction({
      cwd,
      inputs: { ...inputs, "ssh-known-hosts": `${sandbox.manager} ${wrong}` },
    });
    expect(run.outputs).toMatchObject({ status: "failed", reason: "connect" });
    expect(run.log).toContain(`it offered ssh-ed25519 ${sandbox.fingerprint}, expected SHA256:`);
    expect(run.log.match(/^::error/gm)).toHaveLength(1);
  });

  test("a pinned fingerprint of another key is refused", async () => {
    const run = await runAction({
      cwd,
      inputs: { ...inputs, "ssh-known-hosts": "", "ssh-fingerprint": `SHA256:${"A".repeat(43)}` },
    });
    expect(run.outputs.reason).toBe("connect");
    expect(run.log).toContain(sandbox.fingerprint);
  });

  const cases: [string, () => Record<string, string>, RegExp][] = [
    [
      "a key that the server does not know",
      () => ({ "ssh-private-key": readFileSync(join(otherKey, "k"), "utf8") }),
      /root@\S+:22 refused the login \(tried the given key\)/,
    ],
    [
      "a name that does not resolve",
      () => ({
        "ssh-host": "no-such-host.invalid",
        "ssh-known-hosts": "",
        "ssh-fingerprint": sandbox.fingerprint,
      }),
      /The host name no-such-host\.invalid can't be resolved/,
    ],
    [
      "a user who may not open Docker's socket",
      () => ({ "ssh-user": "nodocker" }),
      /The SSH login at \S+ works, but Docker's socket there can't be reached/,
    ],
    ["a worker", () => ({ "ssh-host": sandbox.worker }), /is a worker, and only a manager can deploy/],
    [
      "an engine that is in no swarm",
      () => ({ "ssh-host": "", "docker-host": sandbox.runnerDockerHost }),
      /is in no swarm \(its state is "inactive"\)\. Make it a manager there: docker swarm init/,
    ],
    [
      "a socket that is not there",
      () => ({ "ssh-host": "", "docker-host": "unix:///nowhere.sock" }),
      /No Docker engine can be reached at unix:\/\/\/nowhere\.sock: there is no such socket/,
    ],
  ];
  test.each(cases)("%s", async (_name, own, says) => {
    const run = await runAction({ cwd, inputs: { ...inputs, ...own() } });
    expect(run.log).toMatch(says);
    expect(run.code).toBe(1);
    expect(run.outputs.reason).toBe("connect");
    expect(run.log.match(/^::error/gm)).toHaveLength(1);
    expect(run.leftovers).toEqual([]);
  });

  test("a docker command that is missing", async () => {
    const bin = mkdtempSync(join(tmpdir(), "bin-"));
    mkdirSync(bin, { recursive: true });
    symlinkSync(process.execPath, join(bin, "node"));
    const run = await runAction({ cwd, inputs, environment: { PATH: bin } });
    expect(run.log).toContain("The docker command was not found on this runner. Install it");
    expect(run.outputs.reason).toBe("preflight");
  });

  test("a login that the registry does not take from the manager", async () => {
    const run = await runAction({ cwd, inputs: { ...inputs, password: "wrong-password", build: "false" } });
    expect(run.log).toMatch(
      new RegExp(`^::error.*${sandbox.registry} refused the login of ${sandbox.registryUser}: .*401`, "m"),
    );
    expect(run.outputs.reason).toBe("preflight");
    expect(run.raw.replace(/^::add-mask::.*/gm, "")).not.toContain("wrong-password");
    expect(run.log.match(/^::error/gm)).toHaveLength(1);
  });

  test("a registry login that is refused", async () => {
    const run = await runAction({ cwd, inputs: { ...inputs, password: "wrong-password", build: "true" } });
    expect(run.log).toContain(`${sandbox.registry} refused the login of ${sandbox.registryUser}`);
    expect(run.outputs.reason).toBe("build");
    expect(docker(["stack", "services", "-q", stack]).split("\n").length).toBeLessThanOrEqual(1);
  });
});
