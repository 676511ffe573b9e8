import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, readFileSync, readdirSync, statSync } from "node:fs";
import { type Server, type Socket, connect, createServer } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import {
  Control,
  type Run,
  cleanUp,
  docker,
  leavesNothing,
  pushImage,
  removedLater,
  runAction,
  sandbox,
  stackName,
  until,
  when,
  works,
  workspace,
} from "./rig.ts";
import { type Sshd, Sshds } from "./sshd.ts";

/** The way to Docker's socket on a manager, over sshd's with all kinds of settings. What becomes of a way that is lost: lost-connection.test.ts. */

const control = new Control();
const sshds = new Sshds(sandbox, control);
const MANAGER = "n1";
const WORKER = "n2";
const N1 = sandbox.manager;
const N2 = sandbox.worker;
/** An address of the sandbox's network that no node has. */
const NOBODY = `${sandbox.net}.99`;
/** Docker's socket by another name. */
const OTHER_SOCKET = "/run/other-docker.sock";

const stack = stackName("tunnel");
/** Of all stacks, which need not create one each at once. */
const network = `${stack}-net`;
const wrongKey = workspace({});

beforeAll(async () => {
  pushImage(stack, "v1");
  control.onNode(MANAGER, 'ln -sf /run/docker.sock "$1"', [OTHER_SOCKET]);
  control.onNode(WORKER, 'ip route replace unreachable "$1"', [NOBODY]);
  execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", join(wrongKey, "k")]);
  docker(["network", "create", "--driver", "overlay", network]);
});
afterAll(() => {
  sshds.stop();
  cleanUp();
  docker(["network", "rm", network]);
  sockets.forEach((socket) => socket.destroy());
  servers.forEach((server) => server.close());
});

const servers: Server[] = [];
const sockets = new Set<Socket>();

type Inputs = Readonly<Record<string, string>>;
const TRUSTING: Inputs = { "ssh-known-hosts": "", "ssh-fingerprint": sandbox.fingerprint };

/** The inputs that lead to a server on this machine. */
async function listening(behave: (socket: Socket) => void): Promise<Inputs> {
  const server = createServer((socket) => {
    sockets.add(socket.on("error", () => undefined));
    behave(socket);
  }).listen(0, "127.0.0.1");
  servers.push(server);
  await new Promise((done) => server.once("listening", done));
  const { port } = server.address() as { port: number };
  return { "ssh-host": `127.0.0.1:${port}`, ...TRUSTING };
}

const isSilent = (): void => undefined;

/** A byte a second. */
function drips(socket: Socket): void {
  const banner = "SSH-2.0-OpenSSH_9.2p1 and a comment that takes longer than anybody would wait for it\r\n";
  let sent = 0;
  const timer = setInterval(() => {
    socket.write(banner.charAt(sent));
    sent += 1;
  }, 1000);
  socket.on("close", () => clearInterval(timer));
}

const BASE: Inputs = {
  project: stack,
  version: "v1",
  build: "false",
  prune: "false",
  "stable-for": "1s",
};
let stacks = 0;

/**
 * Deploys one more stack: those of one name would wait for each other. Without tasks that is over at once, and all that is sent and
 * asked goes the same way.
 */
async function deploy(
  inputs: Inputs,
  during?: (action: ChildProcess, log: () => string) => void,
  environment: Readonly<Record<string, string>> = {},
): Promise<Run> {
  stacks += 1;
  const cwd = workspace({
    "stack.yml": `services:\n  web:\n    image: $IMAGE\n    deploy: { replicas: 0 }\nnetworks:\n  default: { external: true, name: ${network} }\n`,
  });
  const own = { "stack-name": removedLater(`${stack}-${stacks}`) };
  const options = { cwd, inputs: { ...BASE, ...own, ...inputs }, environment };
  return await runAction(during === undefined ? options : { ...options, during });
}

function isRefused(run: Run, says: RegExp): void {
  expect(run.log).toMatch(says);
  expect(run.code).toBe(1);
  expect(run.outputs).toMatchObject({ status: "failed", reason: "connect" });
  const errors = run.log.match(/^::error.*/gm) ?? [];
  expect(errors).toHaveLength(1);
  expect(errors[0]).toMatch(says);
  expect(run.log).not.toContain("(SSH)"); // ssh2's own words are nobody's.
  leavesNothing(run);
}

function known(...hosts: readonly Sshd[]): string {
  return hosts.map((each) => each.known).join("\n");
}

const closed = `${N1}:1`;
const knownAll = (...more: readonly Sshd[]): string =>
  [`${N1},[${N1}]:1 ${sshds.hostKeyOf(MANAGER)}`, `${N2} ${sshds.hostKeyOf(WORKER)}`, known(...more)].join(
    "\n",
  );

/** Numbers of packets, RFC 4253, 12, and RFC 5656, 7.1. */
const KEXINIT = 20;
const KEX_ECDH_INIT = 30;

// --- servers that don't play along ------------------------------------------------------------------------------

describe("servers that are slow or full", () => {
  test.concurrent.each([
    ["silent", isSilent],
    ["dripping", drips],
  ] as const)("a %s one is given up after 20 s, in words", async (_kind, behave) => {
    const run = await deploy(await listening(behave));
    isRefused(run, /127\.0\.0\.1:\d+ did not complete the SSH handshake within 20 s\./);
    expect(run.ms).toBeGreaterThan(19_000);
    expect(run.log).not.toContain("Trying again");
  });

  test.concurrent(
    "our part of the key exchange goes along with our name, and nothing else does",
    async () => {
      let said: Buffer | undefined;
      const reads = (socket: Socket): void =>
        void socket.once("data", (chunk: Buffer) => {
          said ??= chunk; // The next try says less.
          socket.destroy();
        });
      await deploy(
        await listening(reads),
        when(/Trying again/, (action) => action.kill("SIGINT")),
      );
      const all = said ?? Buffer.alloc(0);
      const name = all.indexOf("\r\n") + 2;
      expect(all.toString("latin1", 0, name)).toMatch(/^SSH-2\.0-ssh2js/);
      const packets: number[] = [];
      // Each packet begins with its length, that of its padding, and its number.
      for (let at = name; at < all.length; at += 4 + all.readUInt32BE(at)) packets.push(all[at + 5] ?? 0);
      expect(packets).toEqual([KEXINIT, KEX_ECDH_INIT]);
    },
  );

  test.concurrent("one without an algorithm that we have is tried once", async () => {
    const server = sshds.start(MANAGER, { config: ["KexAlgorithms sntrup761x25519-sha512@openssh.com"] });
    const run = await deploy(server.inputs);
    isRefused(
      run,
      /its sshd offers no key exchange algorithm that this action can use\. .*\(KexAlgorithms\)/,
    );
    expect(run.log).not.toContain("Trying again");
  });

  test.concurrent("a port that nobody listens on is given up after 20 s", async () => {
    const run = await deploy({ ...TRUSTING, "ssh-host": `${N1}:1` });
    isRefused(run, /Nothing listens at \S+:1\. Check the host/);
    expect(run.log.match(/Trying again/g)).toHaveLength(1);
    expect(run.ms).toBeLessThan(55_000);
  });

  test.concurrent("of several managers where none works, one error names each and its reason", async () => {
    const locked = sshds.start(MANAGER, { config: ["DenyUsers root"] });
    const run = await deploy({
      "ssh-host": `${closed}, ${N2}, ${locked.address}`,
      "ssh-known-hosts": knownAll(locked),
    });
    isRefused(run, /None of the 3 managers can be used: /);
    const error = /^::error.*/m.exec(run.log)?.[0];
    expect(error).toContain(`${N1} (Nothing listens at ${closed}.)`);
    expect(error).toContain(`${N2} (${N2} is a worker, and only a manager can deploy.)`);
    expect(error).toContain(`${N1} (root@${locked.address} refused the login`);
    expect(run.log.match(/^No manager can be used at the moment\. Trying again\.$/gm)).toHaveLength(1);
  });

  test.concurrent("a silent one costs 10 s where there is another one to go to", async () => {
    const silent = await listening(isSilent);
    const run = await deploy({ ...TRUSTING, "ssh-host": `${silent["ssh-host"]}, ${N1}` });
    works(run);
    expect(run.log).toMatch(
      /^127\.0\.0\.1: 127\.0\.0\.1:\d+ did not complete the SSH handshake within 10 s\./m,
    );
  });

  test.concurrent("an address that swallows packets costs 5 s", async () => {
    control.onNode(WORKER, "iptables -I INPUT -p tcp --dport 2199 -j DROP");
    const run = await deploy({ ...TRUSTING, "ssh-host": `${N2}:2199, ${N1}` });
    works(run);
    expect(run.log).toMatch(/^\S+: \S+:2199 can't be reached \(no answer within 5 s\)\./m);
    expect(run.ms).toBeGreaterThan(5000);
  });

  test.concurrent("the first packet to a name with an IPv4 and an IPv6 address is lost", async () => {
    const server = sshds.start(MANAGER);
    const rule = 'INPUT -p tcp --dport "$1" --syn -m statistic --mode nth --every 2 --packet 0 -j DROP';
    const drop = `iptables -D ${rule} 2>/dev/null || true; iptables -I ${rule}`; // One of an earlier run would count, too.
    control.onNode(MANAGER, drop, [String(server.port)]);
    const addresses = [
      { address: N1, family: 4 },
      { address: "::1", family: 6 },
    ];
    const folder = workspace({
      "names.cjs": `require("node:dns").lookup = (_name, _options, done) => done(null, ${JSON.stringify(addresses)});`,
    });
    const run = await deploy(
      {
        "ssh-host": `manager.test:${server.port}`,
        "ssh-known-hosts": `[manager.test]:${server.port} ${sshds.hostKeyOf(MANAGER)}`,
      },
      undefined,
      { NODE_OPTIONS: `--require=${join(folder, "names.cjs")}` },
    );
    works(run);
    expect(run.log).not.toContain("Trying again");
  });

  test.concurrent("one that is full (MaxStartups) for 3 s is tried again", async () => {
    const server = sshds.start(MANAGER, { config: ["MaxStartups 1"] });
    const holder = connect(server.port, N1).on("error", () => undefined);
    await new Promise((done) => holder.once("data", done));
    const free = when(/::group::Connect/, () => setTimeout(() => holder.destroy(), 3000));
    const run = await deploy(server.inputs, free);
    works(run);
    const tries = run.log.match(
      /^No SSH session with .*Its sshd may be full \(MaxStartups\) or restarting\. Trying again\.$/gm,
    );
    expect(tries).toHaveLength(1); // The same again is no news.
    expect(run.ms).toBeGreaterThan(3000);
  });

  test.concurrent("a port that nobody listens on yet is tried again", async () => {
    const server = sshds.start(MANAGER);
    sshds.stop(server);
    const run = await deploy(
      server.inputs,
      when(/Nothing listens at .* Trying again\./, () => sshds.restart(server)),
    );
    works(run);
  });
});

// --- one manager ------------------------------------------------------------------------------------------------

const NO_STREAMS = "AllowStreamLocalForwarding no";

describe("ways to Docker's socket that work", () => {
  const cases: [string, "forwarding" | "dial-stdio", readonly string[], string, Inputs][] = [
    ["stream-local forwarding", "forwarding", [], "", {}],
    ["stream-local forwarding of a user in the group docker", "forwarding", [], "", { "ssh-user": "deploy" }],
    ["AllowStreamLocalForwarding no", "dial-stdio", [NO_STREAMS], "", {}],
    ["MaxSessions 1", "dial-stdio", [NO_STREAMS, "MaxSessions 1"], "", { "ssh-user": "deploy" }],
    ["MaxSessions 0, which leaves forwarding", "forwarding", ["MaxSessions 0"], "", {}],
    // sshd takes it to forbid the other kind, too, whatever its manual says.
    ["AllowTcpForwarding no", "dial-stdio", ["AllowTcpForwarding no"], "", {}],
    ["DisableForwarding yes", "dial-stdio", ["DisableForwarding yes"], "", {}],
    ["a user without a shell", "forwarding", [], "", { "ssh-user": "noshell" }],
    ["a socket elsewhere, forwarded to", "forwarding", [], "", { "docker-socket": OTHER_SOCKET }],
    ["a socket elsewhere, dialled", "dial-stdio", [NO_STREAMS], "", { "docker-socket": OTHER_SOCKET }],
    ["sudo", "dial-stdio", [], "", { "ssh-user": "sudoer", "ssh-sudo": "true" }],
    [
      "sudo and a socket elsewhere",
      "dial-stdio",
      ["MaxSessions 1"],
      "",
      { "ssh-user": "sudoer", "ssh-sudo": "true", "docker-socket": OTHER_SOCKET },
    ],
    // Who may open some addresses only may open no socket, whichever addresses they are.
    ["PermitOpen none", "dial-stdio", ["PermitOpen none"], "", {}],
    ["a key with permitopen", "dial-stdio", [], `permitopen="${N1}:22"`, {}],
  ];
  test.concurrent.each(cases)("%s", async (_name, way, config, keyOptions, inputs) => {
    const server = sshds.start(MANAGER, { config, keyOptions });
    works(await deploy({ ...server.inputs, ...inputs }));
    expect(server.sessions() > 0).toBe(way === "dial-stdio");
  });
});

describe("key exchanges", () => {
  // The first one is what we begin with unasked.
  const cases: [string, number][] = [
    ["curve25519-sha256", 1],
    ["curve25519-sha256@libssh.org", 1],
    ["sntrup761x25519-sha512@openssh.com,ecdh-sha2-nistp256,curve25519-sha256", 1],
    ["ecdh-sha2-nistp256", 2],
    ["ecdh-sha2-nistp521", 2],
    ["diffie-hellman-group-exchange-sha256", 2],
    ["diffie-hellman-group16-sha512", 2],
  ];
  test.concurrent.each(cases)("%s takes %d connections", async (algorithms, connections) => {
    const server = sshds.start(MANAGER, { config: [`KexAlgorithms ${algorithms}`] });
    const run = await deploy(server.inputs);
    works(run);
    expect(run.log).not.toContain("Trying again");
    expect(server.log().match(/^Connection from/gm)).toHaveLength(connections);
    expect(server.log().match(/Accepted publickey/g)).toHaveLength(1);
  });

  test.concurrent("a manager and the jump host before it each have one of their own", async () => {
    const first = sshds.start(WORKER, { config: ["KexAlgorithms ecdh-sha2-nistp384"] });
    const second = sshds.start(MANAGER, { config: ["KexAlgorithms diffie-hellman-group14-sha256"] });
    const run = await deploy({
      "ssh-host": second.address,
      "ssh-jump": first.address,
      "ssh-known-hosts": known(first, second),
    });
    works(run);
    expect(run.log).not.toContain("Trying again");
    expect(second.log().match(/Accepted publickey/g)).toHaveLength(1);
  });

  test.concurrent("a key that is not the known one gets no credential by any of them", async () => {
    for (const algorithm of ["curve25519-sha256", "ecdh-sha2-nistp256"]) {
      const server = sshds.start(MANAGER, { config: [`KexAlgorithms ${algorithm}`] });
      const run = await deploy({
        ...server.inputs,
        "ssh-known-hosts": `[${N1}]:${server.port} ${wrong()}`,
      });
      isRefused(run, /The host key of \S+ is not the expected one:.*Nothing was sent to it/);
      expect(server.log()).not.toMatch(CREDENTIAL);
    }
  });
});

describe("a key that may do little, as the README has it in authorized_keys", () => {
  const readme = readFileSync(join(import.meta.dirname, "../../README.md"), "utf8");
  const lines = [...readme.matchAll(/^(restrict,.*) ssh-ed25519 AAAA… \S+$/gm)].map(
    ([, options = ""]) => options,
  );
  const ssh = (server: Sshd, ...argv: readonly string[]): string => {
    const folder = workspace({ known: `${server.known}\n`, key: sandbox.key });
    execFileSync("chmod", ["600", join(folder, "key")]);
    const options = [
      "-F",
      "none",
      "-i",
      join(folder, "key"),
      "-o",
      `UserKnownHostsFile=${join(folder, "known")}`,
    ];
    const args = [...options, "-o", "BatchMode=yes", "-p", String(server.port), ...argv];
    try {
      return execFileSync("ssh", args, { encoding: "utf8", stdio: "pipe", input: "", timeout: 10_000 });
    } catch (error) {
      return `failed: ${String((error as { stderr?: unknown }).stderr)}`;
    }
  };

  test("there is one for forwarding and one for a forced command", () => {
    expect(lines).toEqual([
      'restrict,port-forwarding,command="/bin/false"',
      'restrict,command="docker system dial-stdio"',
    ]);
  });

  test.concurrent("the first works for a user without a shell, and opens none", async () => {
    const server = sshds.start(MANAGER, { keyOptions: lines[0] ?? "" });
    works(await deploy({ ...server.inputs, "ssh-user": "noshell" }));
    works(await deploy({ ...server.inputs, "ssh-user": "deploy" }));
    expect(server.sessions()).toBe(0);
    expect(ssh(server, `deploy@${N1}`, "id")).not.toContain("uid=");
    expect(ssh(server, "-tt", `deploy@${N1}`)).not.toContain("uid=");
  });

  test.concurrent("the second works, runs nothing else and forwards nothing", async () => {
    const server = sshds.start(MANAGER, { keyOptions: lines[1] ?? "" });
    works(await deploy({ ...server.inputs, "ssh-user": "deploy" }));
    expect(ssh(server, `deploy@${N1}`, "id")).not.toContain("uid=");
    expect(ssh(server, "-W", `${N1}:22`, `deploy@${N1}`)).toMatch(/failed: .*administratively prohibited/);
    const socket = join(workspace({}), "s");
    expect(ssh(server, "-o", "ExitOnForwardFailure=yes", "-N", "-R", `1:${socket}`, `deploy@${N1}`)).toMatch(
      /failed: /,
    );
  });
});

describe("ways to Docker's socket that don't", () => {
  const login = "The SSH login at \\S+ works, but Docker's socket there can't be reached\\.";
  const refuses = "sshd refuses to forward to /var/run/docker\\.sock, or nothing listens there;";
  const dials = "`docker system dial-stdio` says:";
  const cases: [string, readonly string[], string, Inputs, string][] = [
    [
      "a key that may do nothing",
      [],
      'restrict,command="/bin/false"',
      {},
      `${login} ${refuses} ${dials} it ended with exit code 1\\.`,
    ],
    [
      "neither forwarding nor sessions",
      ["AllowTcpForwarding no", "MaxSessions 0"],
      "",
      {},
      `${login} ${refuses} ${dials} sshd opens no session for it.*AllowStreamLocalForwarding and AllowTcpForwarding`,
    ],
    [
      "a socket that is not there",
      [],
      "",
      { "docker-socket": "/run/nowhere.sock" },
      `${login}.*/run/nowhere\\.sock.*no such file or directory`,
    ],
    [
      "a user who may not open the socket",
      [],
      "",
      { "ssh-user": "nodocker" },
      `${login}.*permission denied.*nodocker may open /var/run/docker\\.sock \\(group docker\\)`,
    ],
    [
      "sudo of a user without it",
      [],
      "",
      { "ssh-user": "nodocker", "ssh-sudo": "true" },
      `${login} \`sudo -n docker system dial-stdio\` says: sudo: a password is required\\..*that nodocker may run docker by sudo without a password`,
    ],
    [
      "sudo where sshd opens no session",
      ["MaxSessions 0"],
      "",
      { "ssh-user": "sudoer", "ssh-sudo": "true" },
      `${login} \`sudo -n docker system dial-stdio\` says: sshd opens no session for it`,
    ],
    [
      "an account without a shell",
      [NO_STREAMS],
      "",
      { "ssh-user": "noshell" },
      `${login} ${refuses} ${dials} This account is currently not available\\.`,
    ],
    [
      "a command that says hello instead",
      [NO_STREAMS],
      'command="echo hello"',
      {},
      `${login} ${refuses} ${dials} hello\\.`,
    ],
    [
      "a command that says nothing",
      [NO_STREAMS],
      'command="true"',
      {},
      `${login} ${refuses} ${dials} it ended with exit code 0\\.`,
    ],
    [
      "a command that is not there",
      [NO_STREAMS],
      'command="/opt/bin/docker system dial-stdio"',
      {},
      `${login} ${refuses} ${dials} .*/opt/bin/docker: No such file or directory\\.`,
    ],
    [
      "a command that is killed",
      [NO_STREAMS],
      'command="kill -KILL $$"',
      {},
      `${login} ${refuses} ${dials} it was ended by SIGKILL\\.`,
    ],
  ];
  test.concurrent.each(cases)("%s is refused in words", async (_name, config, keyOptions, inputs, says) => {
    const run = await deploy({ ...sshds.start(MANAGER, { config, keyOptions }).inputs, ...inputs });
    isRefused(run, new RegExp(says));
    if (inputs["ssh-sudo"] === "true") expect(run.log).not.toMatch(/forward/);
  });

  test.concurrent("whatever a command says stays one line, short and without effect", async () => {
    const trick = `printf '\\033[31m%s\\n' one '::error::two' '##[error]three' \\"$(head -c 5000 /dev/zero | tr '\\0' x)\\" >&2`;
    const server = sshds.start(MANAGER, { config: [NO_STREAMS], keyOptions: `command="${trick}"` });
    const run = await deploy(server.inputs);
    isRefused(run, /says: one ::error::two .*three x{100,300}…\./);
    const line = run.log.split("\n").find((each) => each.includes("one ::error::two")) ?? "";
    expect(line).not.toContain("\u001b");
    expect(line.length).toBeLessThan(1500);
  });
});

test.concurrent("a manager at an IPv6 address", async () => {
  const address = control.onNode(MANAGER, "ip -6 -o addr show dev eth0 scope global | awk '{ print $4 }'");
  const [ip = ""] = address.split("/");
  expect(ip).toMatch(/^fd00:/);
  const key = sshds.hostKeyOf(MANAGER);
  const run = await deploy({
    "ssh-host": `[${ip}]:1, root@[${ip}]:22`,
    "ssh-known-hosts": `${ip},[${ip}]:1 ${key}`,
  });
  works(run);
  expect(run.log).toContain(`${ip}: Nothing listens at [${ip}]:1.`);
  expect(run.log).toContain(`Connected to ${ip}.`);
  works(await deploy({ "ssh-host": `[${ip}]`, "ssh-known-hosts": `${ip} ${key}` }));
});

// --- host keys --------------------------------------------------------------------------------------------------

/** Nothing of a login in it, whatever its outcome. */
const CREDENTIAL = /Accepted|Failed|Postponed|userauth|publickey|password|for root|for invalid/;
const wrong = (): string => readFileSync(join(wrongKey, "k.pub"), "utf8").split(" ").slice(0, 2).join(" ");

describe("host keys", () => {
  const TYPES = ["ed25519", "ecdsa", "rsa"] as const;
  const publicKeys = (): Record<(typeof TYPES)[number], string> => {
    const lines = TYPES.map((type) => {
      const script = `f=/run/host-key-$1; [ -e "$f" ] || ssh-keygen -q -t "$1" -N "" -C "" -f "$f"; cat "$f.pub"`;
      return [type, control.onNode(MANAGER, script, [type]).trim()] as const;
    });
    return Object.fromEntries(lines) as Record<(typeof TYPES)[number], string>;
  };
  /** An sshd that has a key of each kind. */
  const server = (): Sshd =>
    sshds.start(MANAGER, { config: TYPES.map((type) => `HostKey /run/host-key-${type}`) });
  const hashed = (line: string): string => {
    const folder = workspace({ known_hosts: `${line}\n` });
    execFileSync("ssh-keygen", ["-q", "-H", "-f", join(folder, "known_hosts")], { stdio: "pipe" });
    return readFileSync(join(folder, "known_hosts"), "utf8");
  };

  type Known = (name: string, keys: ReturnType<typeof publicKeys>) => string;
  const good: [string, Known][] = [
    ["only the ECDSA key is known", (name, { ecdsa }) => `${name} ${ecdsa}`],
    ["only the RSA key is known", (name, { rsa }) => `${name} ${rsa}`],
    ["all keys are known", (name, keys) => TYPES.map((type) => `${name} ${keys[type]}`).join("\n")],
    ["another key is known as well", (name, { ed25519 }) => `${name} ${wrong()}\n${name} ${ed25519}`],
    ["the name is hashed", (name, { rsa }) => hashed(`${name} ${rsa}`)],
    ["the line has a wildcard", (name, { ed25519 }) => `${name.replace(/\.\d+\]/, ".*]")} ${ed25519}`],
    [
      "one key is revoked and another one is known",
      (name, { ed25519, rsa }) => `@revoked * ${ed25519}\n${name} ${rsa}`,
    ],
  ];
  test.concurrent.each(good)("%s: it is asked for that one", async (_name, knownHosts) => {
    const keys = publicKeys();
    const at = server();
    works(await deploy({ ...at.inputs, "ssh-known-hosts": knownHosts(`[${N1}]:${at.port}`, keys) }));
  });

  const bad: [string, Known, RegExp][] = [
    [
      "another key is known",
      (name) => `${name} ${wrong()}`,
      /The host key of \S+ is not the expected one: it offered ssh-ed25519 SHA256:\S+, expected SHA256:\S+\. Nothing was sent to it\./,
    ],
    [
      "the key is revoked",
      (name, { ed25519 }) => `${name} ${ed25519}\n@revoked * ${ed25519}`,
      /The host key of \S+ is revoked: it offered ssh-ed25519 SHA256:\S+, which a line of "ssh-known-hosts" revokes\. Nothing was sent to it\./,
    ],
    [
      "the key is revoked and no other one is known",
      (_name, { ed25519 }) => `@revoked * ${ed25519}`,
      /The host key of \S+ is revoked: it offered ssh-ed25519 SHA256:\S+, which a line of "ssh-known-hosts" revokes\. Nothing was sent to it\./,
    ],
    [
      "only other hosts are known",
      () => `other ${wrong()}`,
      /The host key of \S+ is not known: it offered ssh-ed25519 SHA256:\S+, and "ssh-known-hosts" has no key for \S+\. Nothing was sent to it\./,
    ],
    [
      "a certificate authority vouches for it",
      () => `@cert-authority * ${wrong()}`,
      /it offered ssh-ed25519 SHA256:\S+, and "ssh-known-hosts" trusts \S+ through @cert-authority, which is not supported\. Nothing was sent to it\./,
    ],
  ];
  test.concurrent.each(bad)("%s: no credential is sent", async (_name, knownHosts, says) => {
    const keys = publicKeys();
    const at = server();
    const run = await deploy({ ...at.inputs, "ssh-known-hosts": knownHosts(`[${N1}]:${at.port}`, keys) });
    isRefused(run, says);
    expect(at.log()).toContain("Connection from");
    expect(at.log()).not.toMatch(CREDENTIAL);
  });

  test.concurrent.each<[string, (name: string) => string]>([
    ["another key is known", (name) => `${name} ${wrong()}`],
    ["none is known", () => `other ${wrong()}`],
  ])("the line that is offered for known_hosts is the right one where %s", async (_fact, knownHosts) => {
    const at = sshds.start(MANAGER);
    const run = await deploy({ ...at.inputs, "ssh-known-hosts": knownHosts(`[${N1}]:${at.port}`) });
    const [, line = ""] = /put this line into "ssh-known-hosts": (\S+ \S+ \S+)\. If not/.exec(run.log) ?? [];
    works(await deploy({ ...at.inputs, "ssh-known-hosts": line }));
  });

  test.concurrent("of several managers one whose key nobody has given is passed over", async () => {
    const [unknown, reached] = [sshds.start(MANAGER), sshds.start(MANAGER)];
    const run = await deploy({
      "ssh-host": `${unknown.address}, ${reached.address}`,
      "ssh-known-hosts": known(reached),
    });
    works(run);
    expect(run.log).toMatch(
      new RegExp(
        `^${N1}: The host key of ${unknown.address} is not known: it offered ssh-ed25519 SHA256:`,
        "m",
      ),
    );
    expect(unknown.log()).not.toMatch(CREDENTIAL);
  });
});

// --- logins -----------------------------------------------------------------------------------------------------

describe("logins", () => {
  const PASSWORD: Inputs = {
    "ssh-private-key": "",
    "ssh-user": "deploy",
    "ssh-password": sandbox.sshPassword,
  };

  test.concurrent("a password where the server asks for it in a dialogue (PAM)", async () => {
    control.onNode(
      MANAGER,
      "printf '%s required %s\\n' auth pam_unix.so account pam_unix.so session pam_permit.so >/etc/pam.d/sshd",
    );
    const server = sshds.start(MANAGER, {
      config: ["UsePAM yes", "KbdInteractiveAuthentication yes", "PasswordAuthentication no"],
    });
    works(await deploy({ ...server.inputs, ...PASSWORD }));
    expect(server.log()).toContain("Accepted keyboard-interactive/pam for deploy");
    const refused = await deploy({ ...server.inputs, ...PASSWORD, "ssh-password": "wrong-password" });
    isRefused(
      refused,
      /refused the login \(tried the given password\)\. It would take: .*keyboard-interactive/,
    );
  });

  test.concurrent.each(["id_ed25519", "id_ecdsa", "id_rsa"])(
    "no key is asked about before it signs: %s",
    async (name) => {
      const server = sshds.start(MANAGER, { config: ["LogLevel VERBOSE"] });
      const key = join(sandbox.keys, name);
      control.onNode(
        MANAGER,
        'cat >>"/run/keys-$1"',
        [String(server.port)],
        readFileSync(`${key}.pub`, "utf8"),
      );
      works(await deploy({ ...server.inputs, "ssh-private-key": readFileSync(key, "utf8") }));
      expect(server.log()).toMatch(/Accepted publickey for root .*: \S+ SHA256:/);
      expect(server.log()).not.toMatch(/Postponed|Failed/);
    },
  );

  test.concurrent("what the server would have taken is part of the error", async () => {
    const server = sshds.start(MANAGER, { config: ["PasswordAuthentication no"] });
    const run = await deploy({ ...server.inputs, ...PASSWORD });
    isRefused(run, /deploy@\S+ refused the login \(tried the given password\)\. It would take: publickey\./);
  });

  test.concurrent.each([
    ["publickey,password", /Partial publickey for deploy[\s\S]*Accepted password for deploy/],
    ["password,publickey", /Partial password for deploy[\s\S]*Accepted publickey for deploy/],
  ])("a key and a password, one after the other, where the server wants both: %s", async (methods, done) => {
    const server = sshds.start(MANAGER, { config: [`AuthenticationMethods ${methods}`] });
    works(await deploy({ ...server.inputs, ...PASSWORD, "ssh-private-key": sandbox.key }));
    expect(server.log()).toMatch(done);
  });

  test.concurrent(
    "a password after a key that is refused, and with it all that was sent behind the key",
    async () => {
      const server = sshds.start(MANAGER, { config: ["LogLevel DEBUG"] });
      const key = readFileSync(join(wrongKey, "k"), "utf8");
      works(await deploy({ ...server.inputs, ...PASSWORD, "ssh-private-key": key }));
      expect(server.log()).toMatch(/Failed publickey for deploy[\s\S]*Accepted password for deploy/);
      expect(server.log().match(/dispatch_protocol_error: type 90 /g)?.length).toBeGreaterThan(1);
      expect(server.log().match(/Connection from/g)).toHaveLength(1);
    },
  );

  test.concurrent("what the server wants besides the key is part of the error", async () => {
    const server = sshds.start(MANAGER, { config: ["AuthenticationMethods publickey,password"] });
    const run = await deploy({ ...server.inputs, "ssh-user": "deploy" });
    isRefused(
      run,
      /deploy@\S+ wants more than what it took so far \(tried the given key\)\. It still wants: password\./,
    );
  });

  test.concurrent.each<[string, number, Inputs, RegExp]>([
    [
      "a wrong key",
      1,
      {},
      /refused the login \(tried the given key\) and allows no more tries \(MaxAuthTries\)/,
    ],
    [
      "a wrong key before the right password",
      1,
      { "ssh-user": "deploy", "ssh-password": sandbox.sshPassword },
      /refused the login \(tried the given key\) and allows no more tries \(MaxAuthTries\)\. Give only/,
    ],
    [
      "five wrong keys of an agent",
      3,
      { "ssh-private-key": "" },
      /refused the login \(tried the keys of the SSH agent\) and allows no more tries \(MaxAuthTries\)\. It would take: publickey/,
    ],
  ])("%s that use up MaxAuthTries %d are tried once", async (_fact, tries, inputs, says) => {
    const server = sshds.start(MANAGER, { config: [`MaxAuthTries ${tries}`] });
    const folder = workspace({});
    const socket = join(folder, "agent");
    const agent = spawn("ssh-agent", ["-D", "-a", socket], { stdio: "ignore" });
    await until("the agent listens", () => existsSync(socket));
    for (const name of ["a", "b", "c", "d", "e"]) {
      const key = join(folder, name);
      execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", key]);
      execFileSync("ssh-add", ["-q", key], { env: { ...process.env, SSH_AUTH_SOCK: socket } });
    }
    const key = readFileSync(join(wrongKey, "k"), "utf8");
    const run = await deploy({ ...server.inputs, "ssh-private-key": key, ...inputs }, undefined, {
      SSH_AUTH_SOCK: socket,
    });
    agent.kill();
    isRefused(run, says);
    expect(server.log().match(/Connection from/g)).toHaveLength(1);
  });

  test.concurrent("an agent that is gone is named as the reason", async () => {
    const server = sshds.start(MANAGER);
    const folder = workspace({});
    const deaf = createServer((socket) => void socket.destroy()).listen(join(folder, "agent"));
    servers.push(deaf);
    const run = await deploy({ ...server.inputs, "ssh-private-key": "" }, undefined, {
      SSH_AUTH_SOCK: join(folder, "agent"),
    });
    isRefused(
      run,
      /The SSH agent at SSH_AUTH_SOCK can't be used: |refused the login \(tried the keys of the SSH agent\)/,
    );
  });

  /** It takes what is asked, and says nothing. */
  const mute = (): Readonly<Record<string, string>> => {
    const socket = join(workspace({}), "agent");
    servers.push(
      createServer((asked) => void sockets.add(asked.resume().on("error", isSilent))).listen(socket),
    );
    return { SSH_AUTH_SOCK: socket };
  };

  test.concurrent("an agent that does not answer is named as the reason after 20 s", async () => {
    const run = await deploy({ ...sshds.start(MANAGER).inputs, "ssh-private-key": "" }, undefined, mute());
    isRefused(run, /The SSH agent at SSH_AUTH_SOCK did not answer within 20 s\./);
    expect(run.ms).toBeLessThan(30_000);
  });

  test.concurrent("an agent that does not answer holds up no job that is cancelled", async () => {
    const { inputs } = sshds.start(MANAGER);
    const cancel = when(/::group::Connect/, (action) => setTimeout(() => action.kill("SIGINT"), 1500));
    const run = await deploy({ ...inputs, "ssh-private-key": "" }, cancel, mute());
    expect(run.log).toContain("::error::Cancelled: the runner sent SIGINT.");
    expect(run.ms).toBeLessThan(19_000);
    leavesNothing(run);
  });

  test.concurrent("an agent without keys is named as the reason", async () => {
    const server = sshds.start(MANAGER);
    const socket = join(workspace({}), "agent");
    const agent = spawn("ssh-agent", ["-D", "-a", socket], { stdio: "ignore" });
    await until("the agent listens", () => existsSync(socket));
    const run = await deploy({ ...server.inputs, "ssh-private-key": "" }, undefined, {
      SSH_AUTH_SOCK: socket,
    });
    agent.kill();
    isRefused(
      run,
      /The SSH agent at SSH_AUTH_SOCK has no keys, so there is nothing to log in with as root@\S+\. It would take: publickey/,
    );
  });
});

// --- jump hosts -------------------------------------------------------------------------------------------------

describe("jump hosts", () => {
  const accepted = (log: string, from: string): number =>
    (log.match(new RegExp(`Accepted publickey for \\S+ from ${from.replaceAll(".", "\\.")} `, "g")) ?? [])
      .length;

  test.concurrent("one: the manager sees it, and not the runner", async () => {
    const [first, second] = [sshds.start(WORKER), sshds.start(MANAGER)];
    const run = await deploy({
      "ssh-host": second.address,
      "ssh-jump": first.address,
      "ssh-known-hosts": known(first, second),
    });
    works(run);
    expect(accepted(first.log(), `${sandbox.net}.254`)).toBe(1);
    expect(accepted(second.log(), N2)).toBe(1);
    expect(first.sessions()).toBe(0);
  });

  test.concurrent(
    "two in a chain, each with a user of its own, to a manager without forwarding",
    async () => {
      const [first, second] = [sshds.start(WORKER), sshds.start(WORKER)];
      const last = sshds.start(MANAGER, { config: [NO_STREAMS, "MaxSessions 1"] });
      const run = await deploy({
        "ssh-host": `deploy@${last.address}`,
        "ssh-jump": `nodocker@${first.address}, sudoer@${second.address}`,
        "ssh-known-hosts": known(first, second, last),
      });
      works(run);
      expect(first.log()).toContain("Accepted publickey for nodocker");
      expect(second.log()).toContain(`Accepted publickey for sudoer from ${N2}`);
      expect(last.log()).toContain(`Accepted publickey for deploy from ${N2}`);
    },
  );

  test.concurrent("one behind which several managers are tried", async () => {
    const [jump, manager] = [sshds.start(WORKER), sshds.start(MANAGER)];
    const run = await deploy({
      "ssh-host": `${N1}:1, ${manager.address}`,
      "ssh-jump": jump.address,
      "ssh-known-hosts": `${known(jump, manager)}\n[${N1}]:1 ${sshds.hostKeyOf(MANAGER)}`,
    });
    works(run);
    expect(run.log).toMatch(
      new RegExp(`^${N1}: The jump host ${jump.address} can't reach ${N1}:1 \\(Connection refused\\)`, "m"),
    );
  });

  test.concurrent(
    "one whose key is not the known one gets no credential, and neither does the manager behind",
    async () => {
      const [jump, manager] = [sshds.start(WORKER), sshds.start(MANAGER)];
      const run = await deploy({
        "ssh-host": manager.address,
        "ssh-jump": jump.address,
        "ssh-known-hosts": `[${N2}]:${jump.port} ${wrong()}\n${known(manager)}`,
      });
      isRefused(
        run,
        new RegExp(`The host key of ${jump.address} is not the expected one:.*Nothing was sent to it`),
      );
      expect(jump.log()).toContain("Connection from");
      expect(jump.log()).not.toMatch(CREDENTIAL);
      expect(manager.log()).not.toContain("Connection from");
    },
  );

  test.concurrent("a manager of another key gets no credential from behind a good one", async () => {
    const [jump, manager] = [sshds.start(WORKER), sshds.start(MANAGER)];
    const run = await deploy({
      "ssh-host": manager.address,
      "ssh-jump": jump.address,
      "ssh-known-hosts": `${known(jump)}\n[${N1}]:${manager.port} ${wrong()}`,
    });
    isRefused(
      run,
      new RegExp(`The host key of ${manager.address} is not the expected one:.*Nothing was sent to it`),
    );
    expect(manager.log()).toContain(`Connection from ${N2}`);
    expect(manager.log()).not.toMatch(CREDENTIAL);
  });

  test.concurrent(
    "one whose key nobody has given gets no credential, and neither does the manager behind",
    async () => {
      const [jump, manager] = [sshds.start(WORKER), sshds.start(MANAGER)];
      const run = await deploy({
        "ssh-host": manager.address,
        "ssh-jump": jump.address,
        "ssh-known-hosts": known(manager),
      });
      isRefused(
        run,
        new RegExp(
          `The host key of ${jump.address} is not known:.*has no key for \\[${N2}\\]:${jump.port}\\.`,
        ),
      );
      expect(jump.log()).toContain("Connection from");
      expect(jump.log()).not.toMatch(CREDENTIAL);
      expect(manager.log()).not.toContain("Connection from");
    },
  );

  const forwardsNothing =
    /The jump host \S+ does not forward connections to \S+:22\. On \S+ sshd needs AllowTcpForwarding .*port-forwarding/;
  const unreachable: [string, readonly string[], string, RegExp][] = [
    ["that forwards nothing", ["AllowTcpForwarding no"], "", forwardsNothing],
    ["whose key may not forward", [], "restrict", forwardsNothing],
    [
      "whose key may forward elsewhere only",
      [],
      `restrict,port-forwarding,permitopen="${N2}:22"`,
      /The jump host \S+ does not forward connections to \S+:22\..*permitopen/,
    ],
  ];
  test.concurrent.each(unreachable)("one %s is refused in words", async (_name, config, keyOptions, says) => {
    const jump = sshds.start(WORKER, { config, keyOptions });
    const run = await deploy({
      "ssh-host": N1,
      "ssh-jump": jump.address,
      "ssh-known-hosts": `${known(jump)}\n${N1} ${sshds.hostKeyOf(MANAGER)}`,
    });
    isRefused(run, says);
  });

  test.concurrent.each([
    [
      "nobody listens at the port",
      `${N1}:1`,
      /^\S+: The jump host \S+ can't reach \S+:1 \(Connection refused\)\. Check the name and the port as \S+ sees them/m,
    ],
    [
      "there is no way to the address",
      NOBODY,
      /^\S+: The jump host \S+ can't reach \S+\.99:22 \((No route to host|its sshd gives no reason)\)/m,
    ],
    [
      "the name is unknown there",
      "manager.invalid",
      /^\S+: The jump host \S+ can't reach manager\.invalid:22 \(.+\)/m,
    ],
    [
      "packets are swallowed",
      `${N1}:2199`,
      /^\S+: The jump host \S+ can't reach \S+:2199 \(no answer within 5 s\)/m,
    ],
  ])("%s, and the next manager is tried", async (_name, host, says) => {
    control.onNode(
      MANAGER,
      "iptables -C INPUT -p tcp --dport 2199 -j DROP || iptables -I INPUT -p tcp --dport 2199 -j DROP",
    );
    const [jump, manager] = [sshds.start(WORKER), sshds.start(MANAGER)];
    const next = host.replace(/^(.*):(\d+)$/, "[$1]:$2");
    const run = await deploy({
      "ssh-host": `${host}, ${manager.address}`,
      "ssh-jump": jump.address,
      "ssh-known-hosts": `${known(jump, manager)}\n${next} ${sshds.hostKeyOf(MANAGER)}`,
    });
    works(run);
    expect(run.log).toMatch(says);
    expect(run.log).not.toContain("(SSH)");
  });
});

// --- several managers -------------------------------------------------------------------------------------------

describe("several managers", () => {
  test.concurrent("the first that works is used, and the log says why the others are not", async () => {
    const run = await deploy({ "ssh-host": `${closed}, ${N2}\n${N1}`, "ssh-known-hosts": knownAll() });
    works(run);
    expect(run.log.match(new RegExp(`^${N1}: Nothing listens at ${closed}\\.`, "gm"))).toHaveLength(1);
    expect(run.log.match(new RegExp(`^${N2}: ${N2} is a worker, and only a manager`, "gm"))).toHaveLength(1);
    expect(run.log).toContain(`Connected to ${N1}.`);
    expect(run.summary).toContain(`manager <code>${N1}</code>`);
  });

  test.concurrent("a login that is refused by one is no reason to give up", async () => {
    const server = sshds.start(MANAGER, { config: ["AllowUsers nobody"] });
    const run = await deploy({
      "ssh-host": `${server.address}, ${N1}`,
      "ssh-known-hosts": knownAll(server),
    });
    works(run);
    expect(run.log).toMatch(new RegExp(`^${N1}: root@${server.address} refused the login`, "m"));
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
      async () => await listening(isSilent),
      /Nothing had been sent/,
    ],
    [
      "while a jump host tries to reach the next one",
      /::group::Connect/,
      800,
      () => ({ ...TRUSTING, "ssh-host": `${NOBODY}:22`, "ssh-jump": N2, "ssh-fingerprint": bothPrints() }),
      /Nothing had been sent/,
    ],
    [
      "between two tries",
      /Trying again/,
      0,
      () => ({ ...TRUSTING, "ssh-host": `${N1}:1` }),
      /Nothing had been sent/,
    ],
    ["while it watches", watching, 0, () => ({}), /Removed, since this deployment created it/],
    [
      "while it watches by dial-stdio",
      watching,
      0,
      () => sshds.start(MANAGER, { config: [NO_STREAMS, "MaxSessions 1"] }).inputs,
      /Removed, since this deployment created it/,
    ],
  ];
  test.concurrent.each(moments)(
    "%s leaves nothing behind",
    async (_moment, pattern, afterMs, inputs, says) => {
      let killedAt = 0;
      const run = await deploy(
        { "stable-for": "30s", ...(await inputs()) },
        when(pattern, (action) => {
          setTimeout(() => {
            killedAt = Date.now();
            action.kill(signal);
          }, afterMs);
          action.on("close", () => (killedAt = Date.now() - killedAt));
        }),
      );
      expect(killedAt).toBeLessThan(7500); // Then the runner would kill it.
      expect(run.code).toBe(1);
      expect(run.log.match(/^::error.*/gm)).toEqual([
        expect.stringContaining(`::error::Cancelled: the runner sent ${signal}.`),
      ]);
      expect(run.outputs).toMatchObject({ status: "failed", reason: "" });
      expect(run.summary).toMatch(says);
      leavesNothing(run);
    },
  );

  // Before its first line Node itself ends at a signal.
  test.concurrent.each([20, 80, 140, 200, 300, 400, 550, 700, 900, 1200])(
    "after %d ms leaves nothing behind",
    async (ms) => {
      const run = await deploy(
        { "stable-for": "30s" },
        (action) => void setTimeout(() => action.kill(signal), ms),
      );
      expect(run.code).not.toBe(0);
      expect(run.log).not.toContain("bug");
      leavesNothing(run);
    },
  );
});

function bothPrints(): string {
  const print = execFileSync("ssh-keygen", ["-lf", "-"], {
    input: sshds.hostKeyOf(WORKER),
    encoding: "utf8",
  });
  return `${sandbox.fingerprint}\n${print.split(" ")[1]}`;
}

test.concurrent(
  "while it works, all there is lies in a folder that is closed to others, and the key nowhere",
  async () => {
    const found: string[] = [];
    const run = await deploy(
      { "stable-for": "3s" },
      when(/::group::Deploy and watch[\s\S]*\] web: /, (action) => {
        const state = readFileSync(`/proc/${action.pid}/environ`, "utf8");
        const temp = /RUNNER_TEMP=([^\0]+)/.exec(state)?.[1] ?? "";
        const folders = readdirSync(temp).filter((name) => !name.startsWith("swarm-stack-file-"));
        for (const name of folders) {
          expect(statSync(join(temp, name)).mode & 0o777).toBe(0o700);
          found.push(...readdirSync(join(temp, name), { recursive: true, encoding: "utf8" }));
        }
        const keyLine = sandbox.key.split("\n")[2] ?? "";
        const grep = `grep -rlF --devices=skip -- "$1" "$2" || true`;
        expect(execFileSync("sh", ["-c", grep, "sh", keyLine, temp], { encoding: "utf8" })).toBe("");
      }),
    );
    works(run);
    expect(found).toContain("manager-1.sock");
  },
);

test("nothing of docker system dial-stdio stays on the manager, once all of these are over", async () => {
  const running = (): string =>
    control.onNode(MANAGER, "grep -lsz 'dial[-]stdio' /proc/[0-9]*/cmdline || true");
  await until("the manager runs no docker system dial-stdio", () => running() === "", 15);
});
