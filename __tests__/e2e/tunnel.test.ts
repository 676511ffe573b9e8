import { type ChildProcess, execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync } from "node:fs";
import { type Server, type Socket, connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import {
  OwnSandbox,
  type Run,
  type Sandbox,
  cleanUp,
  docker,
  pushImage,
  runAction,
  survivors,
  until,
  workspace,
} from "./rig.ts";

/** The way to Docker's socket on a manager, over sshd's with all kinds of settings, and what becomes of a way that is lost. */

const own = new OwnSandbox("tun");
/** n1 to n5 are managers. The tasks run on n6, so that they outlive what happens to a manager. */
const MANAGERS = 5;
const WORKER = "n6";
const at = (node: string): string => `${own.net}.${node.slice(1)}`;
const N1 = at("n1");
const N2 = at("n2");
const N3 = at("n3");
const N6 = at(WORKER);
/** An address of the sandbox's network that no node has. */
const NOBODY = `${own.net}.99`;

let box: Sandbox;
beforeAll(async () => {
  box = own.up(MANAGERS, 1);
  pushImage("tunnel", "v1", [], box);
  waiting = {
    silent: deploy(await listening(() => undefined)),
    dripping: deploy(await listening(drip)),
  };
});
afterAll(() => {
  own.purge();
  cleanUp();
  sockets.forEach((socket) => socket.destroy());
  servers.forEach((server) => server.close());
});

/** These end long after they began, so they begin first. */
let waiting: Readonly<Record<"silent" | "dripping", Promise<Run>>>;

const servers: Server[] = [];
const sockets = new Set<Socket>();

/** The inputs that lead to a server on this machine. */
async function listening(behave: (socket: Socket) => void): Promise<Inputs> {
  const server = createServer((socket) => {
    sockets.add(socket.on("error", () => undefined));
    behave(socket);
  }).listen(0, "127.0.0.1");
  servers.push(server);
  await new Promise((done) => server.once("listening", done));
  const { port } = server.address() as { port: number };
  return { "ssh-host": `127.0.0.1:${port}`, "ssh-known-hosts": "", "ssh-fingerprint": box.fingerprint };
}

/** A byte a second. */
function drip(socket: Socket): void {
  const banner = "SSH-2.0-OpenSSH_9.2p1 and a comment that takes longer than anybody would wait for it\r\n";
  let sent = 0;
  const timer = setInterval(() => {
    socket.write(banner.charAt(sent));
    sent += 1;
  }, 1000);
  socket.on("close", () => clearInterval(timer));
}

const ON_WORKER = `placement: { constraints: [node.hostname == ${WORKER}] }, update_config: { monitor: 1s }`;
/** Without tasks a deployment is over at once, and all that it sends and asks goes the same way. */
const cwd = workspace({
  "stack.yml":
    "services:\n  web:\n    image: $IMAGE\n    environment: { ROUND: $ROUND }\n    deploy: { replicas: 0 }\n",
});

type Inputs = Readonly<Record<string, string>>;

const BASE = {
  "stack-name": "tunnel",
  project: "tunnel",
  version: "v1",
  build: "false",
  variables: "ROUND=0",
  "stable-for": "1s",
};

async function deploy(
  inputs: Inputs,
  during?: (action: ChildProcess, log: () => string) => void,
  folder = cwd,
): Promise<Run> {
  const options = { cwd: folder, at: box, inputs: { ...BASE, ...inputs } };
  return await runAction(during === undefined ? options : { ...options, during });
}

function leavesNothing(run: Run): void {
  expect(run.leftovers).toEqual([]);
  expect(survivors(run)).toEqual([]);
}

function works(run: Run): void {
  expect(run.log).toMatch(/Status: (deployed|unchanged)\./);
  expect(run.code).toBe(0);
  expect(run.outputs.reason).toBe("");
  expect(run.log).not.toMatch(/^::(error|warning)/m);
  leavesNothing(run);
}

function isRefused(run: Run, says: RegExp): void {
  expect(run.log).toMatch(says);
  expect(run.code).toBe(1);
  expect(run.outputs).toMatchObject({ status: "failed", reason: "connect" });
  const errors = run.log.match(/^::error.*/gm) ?? [];
  expect(errors).toHaveLength(1);
  expect(errors[0]).toMatch(says);
  leavesNothing(run);
}

/** Does something once the log says so. */
function when(pattern: RegExp, act: (action: ChildProcess) => void) {
  return (action: ChildProcess, log: () => string): void => {
    const timer = setInterval(() => {
      if (!pattern.test(log())) return;
      clearInterval(timer);
      act(action);
    }, 20);
    action.on("close", () => clearInterval(timer));
  };
}

// --- more sshd's ------------------------------------------------------------------------------------------------

let lastPort = 2200;

interface Sshd {
  readonly node: string;
  readonly port: number;
  /** `host:port` */
  readonly address: string;
  readonly log: () => string;
}

/** One more sshd on a node, with these settings besides the usual ones; these options stand before the key in authorized_keys. */
function sshd(node: string, settings: readonly string[] = [], keyOptions = ""): Sshd {
  lastPort += 1;
  const port = lastPort;
  const publicKey = readFileSync(join(box.keys, "id_ed25519.pub"), "utf8");
  // Of its keywords some count when they come first, some when they come last, and some add up.
  const keywords = settings.map((setting) => setting.replace(/ .*/, "")).join("|") || "none";
  const script = `
    cat >"/run/keys-$1" # which sshd reads as the user
    { echo "$2"; grep -vE "^($3|Port|PidFile|AuthorizedKeysFile) " /etc/ssh/sshd_config; } >"/run/sshd-$1.conf"
    if /usr/sbin/sshd -t -o PerSourcePenalties=no 2>/dev/null; then lenient=-oPerSourcePenalties=no; else lenient=; fi
    /usr/sbin/sshd -f "/run/sshd-$1.conf" -E "/run/sshd-$1.log" $lenient`;
  const lines = [
    ...settings,
    `Port ${port}`,
    `PidFile /run/sshd-${port}.pid`,
    `AuthorizedKeysFile /run/keys-${port}`,
  ];
  own.onNode(
    node,
    script,
    [String(port), lines.join("\n"), keywords],
    `${keyOptions} ${publicKey}`.trimStart(),
  );
  return {
    node,
    port,
    address: `${at(node)}:${port}`,
    log: () => own.onNode(node, 'cat "/run/sshd-$1.log"', [String(port)]),
  };
}

function hostKeyOf(node: string): string {
  const line = box.knownHosts.split("\n").find((each) => each.startsWith(`${at(node)} `));
  return line?.split(" ").slice(1).join(" ") ?? "";
}

function known(...hosts: readonly Sshd[]): string {
  const lines = hosts.map(({ node, port }) => `[${at(node)}]:${port} ${hostKeyOf(node)}`);
  return [box.knownHosts.trim(), ...lines].join("\n");
}

function to(server: Sshd): Inputs {
  return { "ssh-host": server.address, "ssh-known-hosts": known(server) };
}

/** Nothing of `docker system dial-stdio` may stay on a node once the action is gone. */
async function noDialStdio(node: string): Promise<void> {
  const running = (): string => own.onNode(node, "grep -lsz 'dial[-]stdio' /proc/[0-9]*/cmdline || true");
  await until(`${node} runs no docker system dial-stdio`, () => running() === "", 5);
}

// --- one manager ------------------------------------------------------------------------------------------------

describe("ways to Docker's socket that work", () => {
  const NO_STREAMS = "AllowStreamLocalForwarding no";
  const OTHER = "/run/other-docker.sock";
  beforeAll(() => void own.onNode("n1", 'ln -s /run/docker.sock "$1"', [OTHER]));

  const cases: [string, "forwarding" | "dial-stdio", readonly string[], string, Inputs][] = [
    ["stream-local forwarding", "forwarding", [], "", {}],
    ["stream-local forwarding of a user in the group docker", "forwarding", [], "", { "ssh-user": "deploy" }],
    ["AllowStreamLocalForwarding no", "dial-stdio", [NO_STREAMS], "", {}],
    [
      "AllowStreamLocalForwarding no and MaxSessions 1",
      "dial-stdio",
      [NO_STREAMS, "MaxSessions 1"],
      "",
      { "ssh-user": "deploy" },
    ],
    ["MaxSessions 0, which leaves forwarding", "forwarding", ["MaxSessions 0"], "", {}],
    // sshd takes it to forbid the other kind, too, whatever its manual says.
    ["AllowTcpForwarding no", "dial-stdio", ["AllowTcpForwarding no"], "", {}],
    ["DisableForwarding yes", "dial-stdio", ["DisableForwarding yes"], "", {}],
    ["a key for forwarding only", "forwarding", [], 'restrict,port-forwarding,command="/bin/false"', {}],
    [
      "a key for docker system dial-stdio only",
      "dial-stdio",
      [],
      'restrict,command="docker system dial-stdio"',
      {},
    ],
    ["a socket elsewhere, forwarded to", "forwarding", [], "", { "docker-socket": OTHER }],
    ["a socket elsewhere, dialled", "dial-stdio", [NO_STREAMS], "", { "docker-socket": OTHER }],
    ["sudo", "dial-stdio", [], "", { "ssh-user": "sudoer", "ssh-sudo": "true" }],
    [
      "sudo and a socket elsewhere",
      "dial-stdio",
      ["MaxSessions 1"],
      "",
      { "ssh-user": "sudoer", "ssh-sudo": "true", "docker-socket": OTHER },
    ],
  ];
  test.each(cases)("%s", async (_name, way, settings, keyOptions, inputs) => {
    const server = sshd("n1", settings, keyOptions);
    const run = await deploy({ ...to(server), variables: `ROUND=${server.port}`, ...inputs });
    works(run);
    expect(run.log).toContain("Status: deployed.");
    // sshd tells of every session, and forwarding needs none.
    expect(/Starting session/.test(server.log())).toBe(way === "dial-stdio");
    await noDialStdio("n1");
  });
});

describe("ways to Docker's socket that don't", () => {
  const cases: [string, readonly string[], string, Inputs, RegExp][] = [
    [
      "a key that may do nothing",
      [],
      'restrict,command="/bin/false"',
      {},
      /The SSH login at \S+ works, but Docker's socket there can't be reached\..*dial-stdio` says: it ended with exit code 1\./,
    ],
    [
      "neither forwarding nor sessions",
      ["AllowStreamLocalForwarding no", "MaxSessions 0"],
      "",
      {},
      /works, but Docker's socket there can't be reached\..*sshd opens no session for it/,
    ],
    [
      "a socket that is not there",
      [],
      "",
      { "docker-socket": "/run/nowhere.sock" },
      /works, but Docker's socket there can't be reached\..*\/run\/nowhere\.sock.*no such file or directory/,
    ],
    [
      "a user who may not open the socket",
      [],
      "",
      { "ssh-user": "nodocker" },
      /works, but Docker's socket there can't be reached\..*permission denied.*nodocker may open \/var\/run\/docker\.sock \(group docker\)/,
    ],
    [
      "sudo of a user without it",
      [],
      "",
      { "ssh-user": "nodocker", "ssh-sudo": "true" },
      /works, but Docker's socket there can't be reached\..*`sudo -n docker system dial-stdio` says: sudo: a password is required.*that nodocker may run docker by sudo without a password/,
    ],
    [
      "an account without a shell",
      ["AllowStreamLocalForwarding no", "ForceCommand /usr/sbin/nologin"],
      "",
      {},
      /works, but Docker's socket there can't be reached\..*`docker system dial-stdio` says: /,
    ],
    [
      "a command that says hello instead",
      ["AllowStreamLocalForwarding no"],
      'command="echo hello"',
      {},
      /works, but Docker's socket there can't be reached\..*`docker system dial-stdio` says: /,
    ],
  ];
  test.each(cases)("%s is refused in words", async (_name, settings, keyOptions, inputs, says) => {
    const run = await deploy({ ...to(sshd("n1", settings, keyOptions)), ...inputs });
    expect(run.code).toBe(1);
    isRefused(run, says);
    await noDialStdio("n1");
  });
});

test("the disk of the manager is not written to", async () => {
  const find = `find / \\( -path /proc -o -path /sys -o -path "$2" \\) -prune -o \\( -user deploy -o -path '/tmp*' \\) -cnewer "$1" -print`;
  const script =
    "touch /run/before; sleep 0.05; mount -t tmpfs tmpfs /tmp; touch /tmp; sleep 0.05; touch /run/before";
  own.onNode("n1", script);
  for (const settings of [[], ["AllowStreamLocalForwarding no"]]) {
    const server = sshd("n1", settings);
    works(await deploy({ ...to(server), "ssh-user": "deploy", variables: `ROUND=${server.port}` }));
  }
  await noDialStdio("n1");
  const written = (): string => own.onNode("n1", find, ["/run/before", box.state]);
  expect(written()).toBe("");
  own.onNode("n1", "su deploy -c 'touch ~/file'");
  expect(written()).toBe("/run/home/deploy\n/run/home/deploy/file"); // So it would have been seen.
});

test("a manager at an IPv6 address", async () => {
  const address = own.onNode("n1", "ip -6 -o addr show dev eth0 scope global | awk '{ print $4 }'");
  const [ip = ""] = address.split("/");
  expect(ip).toMatch(/^fd00:/);
  for (const [host, name] of [
    [`[${ip}]`, ip],
    [`root@[${ip}]:22`, ip],
  ]) {
    const run = await deploy({ "ssh-host": host ?? "", "ssh-known-hosts": `${name} ${hostKeyOf("n1")}` });
    works(run);
    expect(run.log).toContain(`Connected to the manager ${ip}.`);
  }
  const refused = await deploy({
    "ssh-host": `[${ip}]:1`,
    "ssh-known-hosts": `[${ip}]:1 ${hostKeyOf("n1")}`,
  });
  isRefused(refused, new RegExp(`Nothing listens at \\[${ip}\\]:1\\.`));
});

// --- jump hosts -------------------------------------------------------------------------------------------------

describe("jump hosts", () => {
  const accepted = (log: string, from: string): number =>
    (log.match(new RegExp(`Accepted publickey for \\S+ from ${from.replaceAll(".", "\\.")} `, "g")) ?? [])
      .length;

  test("one: the manager sees it, and not the runner", async () => {
    const [first, second] = [sshd(WORKER), sshd("n1")];
    const run = await deploy({
      "ssh-host": second.address,
      "ssh-jump": first.address,
      "ssh-known-hosts": known(first, second),
    });
    works(run);
    expect(accepted(first.log(), `${own.net}.254`)).toBe(1);
    expect(accepted(second.log(), N6)).toBe(1);
    expect(first.log()).not.toContain("Starting session");
  });

  test("two in a chain, each with a user of its own, to a manager without stream-local forwarding", async () => {
    const [first, second] = [sshd(WORKER), sshd("n2")];
    const last = sshd("n1", ["AllowStreamLocalForwarding no", "MaxSessions 1"]);
    const run = await deploy({
      "ssh-host": `deploy@${last.address}`,
      "ssh-jump": `nodocker@${first.address}, sudoer@${second.address}`,
      "ssh-known-hosts": known(first, second, last),
      variables: `ROUND=${last.port}`,
    });
    works(run);
    expect(first.log()).toContain("Accepted publickey for nodocker");
    expect(second.log()).toContain(`Accepted publickey for sudoer from ${N6}`);
    expect(last.log()).toContain(`Accepted publickey for deploy from ${N2}`);
    await noDialStdio("n1");
  });

  test("one behind which several managers are tried", async () => {
    const jump = sshd(WORKER);
    const run = await deploy({
      "ssh-host": `${N1}:1, ${N2}`,
      "ssh-jump": jump.address,
      "ssh-known-hosts": `${known(jump)}\n[${N1}]:1 ${hostKeyOf("n1")}`,
    });
    works(run);
    expect(run.log).toContain(`Connected to the manager ${N2}.`);
    expect(run.log).toMatch(new RegExp(`^${N1}: The jump host ${jump.address} can't reach ${N1}:1`, "m"));
  });

  describe("whose key is not the known one", () => {
    const otherKey = mkdtempSync(join(tmpdir(), "key-"));
    let wrong = "";
    beforeAll(() => {
      execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", join(otherKey, "k")]);
      wrong = readFileSync(join(otherKey, "k.pub"), "utf8").split(" ").slice(0, 2).join(" ");
    });
    const CREDENTIAL = /Accepted|Failed|Postponed|userauth|publickey|password|for root|for invalid/;

    test("get no credential, and neither does the manager behind", async () => {
      const [jump, manager] = [sshd(WORKER), sshd("n1")];
      const run = await deploy({
        "ssh-host": manager.address,
        "ssh-jump": jump.address,
        "ssh-known-hosts": `[${N6}]:${jump.port} ${wrong}\n[${N1}]:${manager.port} ${hostKeyOf("n1")}`,
      });
      isRefused(
        run,
        new RegExp(`The host key of ${jump.address} is not the expected one:.*Nothing was sent to it`),
      );
      expect(jump.log()).toContain("Connection from");
      expect(jump.log()).not.toMatch(CREDENTIAL);
      expect(manager.log()).not.toContain("Connection from");
    });

    test("a manager of another key gets no credential from behind a good jump host", async () => {
      const [jump, manager] = [sshd(WORKER), sshd("n1")];
      const run = await deploy({
        "ssh-host": manager.address,
        "ssh-jump": jump.address,
        "ssh-known-hosts": `[${N6}]:${jump.port} ${hostKeyOf(WORKER)}\n[${N1}]:${manager.port} ${wrong}`,
      });
      isRefused(
        run,
        new RegExp(`The host key of ${manager.address} is not the expected one:.*Nothing was sent to it`),
      );
      expect(manager.log()).toContain(`Connection from ${N6}`);
      expect(manager.log()).not.toMatch(CREDENTIAL);
    });
  });

  test("one whose key nobody has given is refused before anybody is contacted", async () => {
    const [jump, manager] = [sshd(WORKER), sshd("n1")];
    const run = await deploy({
      "ssh-host": manager.address,
      "ssh-jump": jump.address,
      "ssh-known-hosts": known(manager),
    });
    expect(run.log).toContain(`"ssh-known-hosts" has no key for [${N6}]:${jump.port}.`);
    expect(run.outputs).toMatchObject({ status: "failed", reason: "input" });
    expect(run.log.match(/^::error/gm)).toHaveLength(1);
    expect(jump.log() + manager.log()).not.toContain("Connection from");
    leavesNothing(run);
  });

  beforeAll(() => void own.onNode(WORKER, 'ip route add unreachable "$1"', [NOBODY]));
  const unreachable: [string, readonly string[], string, string, RegExp][] = [
    [
      "that forwards nothing",
      ["AllowTcpForwarding no"],
      "",
      N1,
      /The jump host \S+ does not forward connections\./,
    ],
    ["whose key may not forward", [], "restrict", N1, /The jump host \S+ does not forward connections\./],
    [
      "whose key may forward elsewhere only",
      [],
      `restrict,port-forwarding,permitopen="${N2}:22"`,
      N1,
      /The jump host \S+ does not forward connections\..*permitopen/,
    ],
    [
      "where nobody listens at the next port",
      [],
      "",
      `${N1}:1`,
      /The jump host \S+ can't reach \S+:1 \(.*Connection refused\)/,
    ],
    [
      "that has no way to the next address",
      [],
      "",
      NOBODY,
      /The jump host \S+ can't reach \S+\.99:22 \(.*(No route to host|open failed)\)/,
    ],
    [
      "that does not know the next name",
      [],
      "",
      "manager.invalid",
      /The jump host \S+ can't reach manager\.invalid:22 \(.*\)/,
    ],
  ];
  test.each(unreachable)("one %s is refused in words", async (_name, settings, keyOptions, host, says) => {
    const jump = sshd(WORKER, settings, keyOptions);
    const next = host.replace(/^(.*):(\d+)$/, "[$1]:$2");
    const run = await deploy({
      "ssh-host": host,
      "ssh-jump": jump.address,
      "ssh-known-hosts": `${known(jump)}\n${next} ${hostKeyOf("n1")}`,
    });
    expect(run.code).toBe(1);
    isRefused(run, says);
  });
});

// --- several managers -------------------------------------------------------------------------------------------

describe("several managers", () => {
  const closed = `${N2}:1`;
  const knownAll = (): string => `${box.knownHosts.trim()}\n[${N2}]:1 ${hostKeyOf("n2")}`;

  test("the first that works is used, and the log says why the others are not", async () => {
    const run = await deploy({ "ssh-host": `${closed}, ${N6}\n${N3}`, "ssh-known-hosts": knownAll() });
    works(run);
    expect(run.log.match(new RegExp(`^${N2}: Nothing listens at ${closed}\\.`, "gm"))).toHaveLength(1);
    expect(run.log.match(new RegExp(`^${N6}: ${N6} is a worker, and only a manager`, "gm"))).toHaveLength(1);
    expect(run.log).toContain(`Connected to the manager ${N3}.`);
    expect(run.summary).toContain(N3);
    expect(run.summary).not.toContain(N6);
  });

  test("where none works, one error names each and its reason", async () => {
    const locked = sshd("n3", ["DenyUsers root"]);
    const run = await deploy({
      "ssh-host": `${closed}, ${N6}, ${locked.address}`,
      "ssh-known-hosts": `${knownAll()}\n[${N3}]:${locked.port} ${hostKeyOf("n3")}`,
    });
    isRefused(run, /None of the 3 managers can be used: /);
    // Each time, not only at the end.
    for (const line of run.log.match(/None of the 3 managers.*/g) ?? []) {
      expect(line).toContain(`${N2} (Nothing listens at ${closed}.`);
      expect(line).toContain(`${N6} (${N6} is a worker, and only a manager can deploy.`);
      expect(line).toContain(`${N3} (root@${locked.address} refused the login`);
    }
  });

  test("a login that is refused by one is no reason to give up", async () => {
    const server = sshd("n2", ["AllowUsers nobody"]);
    const run = await deploy({ "ssh-host": `${server.address}, ${N3}`, "ssh-known-hosts": known(server) });
    works(run);
    expect(run.log).toMatch(new RegExp(`^${N2}: root@${server.address} refused the login`, "m"));
    expect(run.log).toContain(`Connected to the manager ${N3}.`);
  });
});

// --- servers that don't play along ------------------------------------------------------------------------------

describe("servers that are slow or full", () => {
  test.each(["silent", "dripping"] as const)("a %s one is given up after 20 s, in words", async (kind) => {
    const run = await waiting[kind];
    expect(run.code).toBe(1);
    isRefused(run, /127\.0\.0\.1:\d+ did not complete the SSH handshake within 20 s\./);
    expect(run.ms).toBeGreaterThan(19_000);
    expect(run.ms).toBeLessThan(28_000);
  });

  test("one that is full (MaxStartups) for 3 s is tried again", async () => {
    const server = sshd("n1", ["MaxStartups 1"]);
    const holder = connect(server.port, N1).on("error", () => undefined);
    await new Promise((done) => holder.once("data", done));
    const free = when(/::group::Connect/, () => setTimeout(() => holder.destroy(), 3000));
    const run = await deploy(to(server), free);
    works(run);
    expect(run.log).toMatch(
      /^No SSH session with .*Its sshd may be full \(MaxStartups\) or restarting\. Trying again\.$/m,
    );
    expect(run.ms).toBeGreaterThan(3000);
  });
});

// --- cancelled --------------------------------------------------------------------------------------------------

describe.each(["SIGINT", "SIGTERM"] as const)("a job that is cancelled with %s", (signal) => {
  const watching = /::group::Deploy and watch[\s\S]*\] web: /;
  const moments: [string, RegExp, number, () => Inputs | Promise<Inputs>, RegExp][] = [
    [
      "during the handshake",
      /::group::Connect/,
      300,
      async () => await listening(() => undefined),
      /Nothing had been sent/,
    ],
    [
      "during the handshake behind a jump host",
      /::group::Connect/,
      800,
      () => ({ "ssh-host": `${NOBODY}:22`, "ssh-jump": N6, "ssh-fingerprint": box.fingerprint }),
      /Nothing had been sent/,
    ],
    [
      "between two tries",
      /Trying again/,
      0,
      () => ({ "ssh-host": `${N1}:1`, "ssh-fingerprint": box.fingerprint }),
      /Nothing had been sent/,
    ],
    ["while it watches", watching, 0, () => ({}), /goes on rolling out/],
    [
      "while it watches by dial-stdio",
      watching,
      0,
      () => to(sshd("n1", ["AllowStreamLocalForwarding no", "MaxSessions 1"])),
      /goes on rolling out/,
    ],
  ];
  test.each(moments)("%s leaves nothing behind", async (_moment, pattern, afterMs, inputs, says) => {
    let killedAt = 0;
    const run = await deploy(
      { ...(await inputs()), variables: `ROUND=${Math.random()}`, "stable-for": "30s" },
      when(pattern, (action) => {
        setTimeout(() => {
          killedAt = Date.now();
          action.kill(signal);
        }, afterMs);
      }),
    );
    expect(Date.now() - killedAt).toBeLessThan(3000);
    expect(run.code).toBe(1);
    expect(run.log.match(/^::error.*/gm)).toEqual([
      expect.stringContaining(`::error::Cancelled: the runner sent ${signal}.`),
    ]);
    expect(run.outputs).toMatchObject({ status: "failed", reason: "" });
    expect(run.summary).toMatch(says);
    leavesNothing(run);
    await noDialStdio("n1");
  });
});

// --- a connection that is lost ----------------------------------------------------------------------------------

describe("a connection that is lost", () => {
  /** Those that listen and those that serve a session. */
  function killSshd(node: string): void {
    own.onNode(node, 'for pid in $(pgrep -x sshd); do kill -KILL "$pid" || true; done');
  }
  const startSshd = (node: string): string => own.run(["start-sshd", node]);
  const leader = (): string => own.run(["leader"]);
  const alive = (node: string): boolean => existsSync(join(box.state, "nodes", node, "docker.sock"));
  const managers = Array.from({ length: MANAGERS }, (_, index) => `n${index + 1}`);
  /** All managers, this one first. */
  function startingWith(node: string): Inputs {
    return { "ssh-host": [node, ...managers.filter((each) => each !== node)].map(at).join("\n") };
  }
  const lost = (host: string, why = ".*"): RegExp =>
    new RegExp(`^The connection to ${host} was lost \\(${why}\\); connecting again\\.$`, "m");

  describe("while docker sends", () => {
    const NAMES = Array.from({ length: 12 }, (_, index) => `s${String(index + 1).padStart(2, "0")}`);
    const many = workspace({
      "stack.yml": `x-all: &all
  image: $IMAGE
  environment: { ROUND: $ROUND }
  stop_grace_period: 1s
  deploy: { ${ON_WORKER} }
services:
${NAMES.map((name) => `  ${name}: *all\n`).join("")}`,
    });
    interface Spec {
      readonly Name: string;
      readonly TaskTemplate: { readonly ContainerSpec: { readonly Env: readonly string[] } };
    }
    const roundOf = (spec?: Spec): string | undefined => spec?.TaskTemplate.ContainerSpec.Env[0];

    /** What each service has, and what it had before. */
    function rounds(): Record<string, readonly (string | undefined)[]> {
      const host = `unix://${box.state}/nodes/n2/docker.sock`;
      const ids = docker(["stack", "services", "-q", "many"], host).split("\n");
      const services = JSON.parse(docker(["service", "inspect", ...ids], host)) as {
        readonly Spec: Spec;
        readonly PreviousSpec?: Spec;
      }[];
      return Object.fromEntries(
        services.map(({ Spec, PreviousSpec }) => [Spec.Name, [roundOf(Spec), roundOf(PreviousSpec)]]),
      );
    }

    const cases: [string, readonly string[], string, string | undefined, string][] = [
      ["creates, by forwarding", [], "ROUND=1", undefined, "Creating"],
      ["updates, by forwarding", [], "ROUND=2", "ROUND=1", "Updating"],
      ["updates, by dial-stdio", ["AllowStreamLocalForwarding no"], "ROUND=3", "ROUND=2", "Updating"],
    ];
    test.each(cases)(
      "and %s: every service is sent, and none twice",
      async (_how, settings, round, before, verb) => {
        const first = sshd("n1", settings);
        const run = await deploy(
          {
            "ssh-host": `${first.address}, ${N2}`,
            "ssh-known-hosts": known(first),
            "stack-name": "many",
            variables: round,
          },
          when(new RegExp(`${verb} service many_(.*\n.*){4}`), () => killSshd("n1")),
          many,
        );
        startSshd("n1");
        works(run);
        expect(run.log).toContain("Status: deployed.");
        expect(run.log).toMatch(lost(N1));
        expect(run.log).toContain(`Connected to the manager ${N2} again.`);
        // An update that is sent a second time would leave its own spec as the one from before.
        expect(rounds()).toEqual(Object.fromEntries(NAMES.map((name) => [`many_${name}`, [round, before]])));
      },
    );
  });

  describe("while it watches", () => {
    /** Needs 8 s to become healthy. */
    const slow = workspace({
      "stack.yml": `services:
  slow:
    image: $IMAGE
    entrypoint: ["/bin/busybox", "sh", "-c", "/bin/busybox sleep 8; /bin/busybox touch /ready; exec /bin/busybox sleep 100000"]
    environment: { ROUND: $ROUND }
    healthcheck: { test: [CMD, /bin/busybox, test, -e, /ready], interval: 1s, retries: 60 }
    stop_grace_period: 1s
    deploy: { ${ON_WORKER} }
`,
    });
    const watching = /::group::Deploy and watch[\s\S]*\] \w+: /;
    const changed = (): Inputs => ({ variables: `ROUND=${Math.random()}` });

    async function watchAndLose(node: string, lose: () => void): Promise<Run> {
      const inputs = { ...startingWith(node), ...changed(), "stack-name": "slow" };
      return await deploy(inputs, when(watching, lose), slow);
    }

    test("and sshd is killed: the next manager tells of the rest", async () => {
      const run = await watchAndLose("n1", () => killSshd("n1"));
      startSshd("n1");
      works(run);
      expect(run.log).toContain("Status: deployed.");
      expect(run.log).toMatch(lost(N1));
      expect(run.log).toContain(`Connected to the manager ${N2} again.`);
    });

    test("and the only manager's sshd is back after 2 s", async () => {
      const run = await deploy(
        { "ssh-host": N1, "stable-for": "4s", ...changed() },
        when(watching, () => {
          killSshd("n1");
          setTimeout(() => startSshd("n1"), 2000);
        }),
      );
      works(run);
      expect(run.log).toContain(`Connected to the manager ${N1} again.`);
    });

    test("and the jump host's sshd is back after 2 s", async () => {
      const run = await deploy(
        { "ssh-host": N1, "ssh-jump": N6, "stable-for": "4s", ...changed() },
        when(watching, () => {
          killSshd(WORKER);
          setTimeout(() => startSshd(WORKER), 2000);
        }),
      );
      works(run);
      expect(run.log).toContain(`Connected to the manager ${N1} again.`);
    });

    test("and never comes back ends in words at the timeout", async () => {
      const run = await deploy(
        { "ssh-host": N1, "stable-for": "4s", timeout: "5s", ...changed() },
        when(watching, () => killSshd("n1")),
      );
      startSshd("n1");
      expect(run.code).toBe(1);
      expect(run.log.match(/^::error.*/gm)).toEqual([
        expect.stringMatching(/Nothing listens at .*:22|does not answer|stopped answering/),
      ]);
      expect(run.summary).toMatch(/could not be put back/);
      leavesNothing(run);
      expect(run.ms).toBeLessThan(25_000);
    });

    test("and is opened again when the job is cancelled leaves nothing behind", async () => {
      const run = await deploy({ "ssh-host": N1, "stable-for": "20s", ...changed() }, (action, log) => {
        when(watching, () => killSshd("n1"))(action, log);
        when(/connecting again\.\n/, () => void action.kill("SIGTERM"))(action, log);
      });
      startSshd("n1");
      expect(run.code).toBe(1);
      expect(run.log.match(/^::error.*/gm)).toEqual([
        expect.stringContaining("Cancelled: the runner sent SIGTERM."),
      ]);
      expect(run.ms).toBeLessThan(10_000);
      leavesNothing(run);
    });

    test("and a release that fails is put back by another manager", async () => {
      const failing = workspace({
        "stack.yml": `services:\n  web:\n    image: $IMAGE\n    environment: { FAIL: "$FAIL" }\n    deploy: { ${ON_WORKER} }\n`,
      });
      const inputs = { ...startingWith("n1"), "stack-name": "failing" };
      works(await deploy({ ...inputs, variables: "FAIL=" }, undefined, failing));
      const run = await deploy(
        { ...inputs, variables: "FAIL=late", "failure-action": "pause", "stable-for": "6s" },
        when(watching, () => killSshd("n1")),
        failing,
      );
      startSshd("n1");
      expect(run.log).toMatch(lost(N1));
      expect(run.outputs).toMatchObject({ status: "failed", reason: "rollout" });
      expect(run.log).toMatch(
        /^::error::Service web failed.*late FATAL.*Put back to what ran before: web; all of it runs\.$/m,
      );
      leavesNothing(run);
    });

    test("and the cable is cut: nobody says good-bye, but keep-alive finds out", async () => {
      const node = leader() === "n3" ? "n2" : "n3";
      const run = await watchAndLose(node, () => own.run(["cut", node]));
      own.run(["heal", node]);
      works(run);
      expect(run.log).toMatch(lost(at(node), "Keepalive timeout"));
      expect(run.ms).toBeLessThan(30_000);
    });

    /** Managers that stay off from then on. */
    const off: string[] = [];
    const powerOff = (node: string): void => {
      off.push(node);
      own.run(["power-off", node]);
    };

    test("and the leader is powered off: another manager tells of the rest", async () => {
      const node = leader();
      const run = await watchAndLose(node, () => powerOff(node));
      works(run);
      expect(run.log).toContain("Status: deployed.");
      expect(run.log).toMatch(lost(at(node)));
      expect(run.log).toMatch(new RegExp(`^Connected to the manager ${own.net}\\.\\d again\\.$`, "m"));
      expect(run.ms).toBeLessThan(60_000);
    });

    test("and the only manager is back while the swarm elects a leader", async () => {
      const node = leader();
      const only = managers.find((each) => each !== node && !off.includes(each)) ?? "";
      const run = await deploy(
        { "ssh-host": at(only), "stable-for": "4s", ...changed() },
        when(watching, () => {
          powerOff(node);
          killSshd(only);
          startSshd(only);
        }),
      );
      works(run);
      expect(run.log).toContain(`Connected to the manager ${at(only)} again.`);
    });
  });

  test("for good: managers that are off are passed over", async () => {
    const node = leader();
    const off = managers.filter((each) => !alive(each));
    expect(off).toHaveLength(2);
    const run = await deploy({
      "ssh-host": [...off, node].map(at).join(","),
      variables: `ROUND=${Math.random()}`,
    });
    works(run);
    for (const each of off)
      expect(run.log).toMatch(
        new RegExp(`^${at(each)}: ${at(each)}:22 (can't be reached|did not complete)`, "m"),
      );
    expect(run.log).toContain(`Connected to the manager ${at(node)}.`);
    expect(run.ms).toBeLessThan(45_000);
  });
});
