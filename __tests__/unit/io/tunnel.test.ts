import { once } from "node:events";
import { existsSync } from "node:fs";
import { type AddressInfo, type Socket, connect, createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import {
  AgentProtocol,
  type Algorithms,
  type AuthContext,
  type AuthenticationType,
  type ServerChannel,
  utils,
} from "ssh2";
import { Cancelled, ConnectError, InputError, type Outlook } from "../../../src/errors.ts";
import { type SshTarget } from "../../../src/inputs/inputs.ts";
import { fingerprint } from "../../../src/io/known-hosts.ts";
import { prepareLogin } from "../../../src/io/ssh-login.ts";
import { type Tunnel, openTunnel } from "../../../src/io/tunnel.ts";
import { temporaryFolder } from "../../doubles/folder.ts";
import { type Sshd, keyPair, sshd } from "../../doubles/sshd.ts";

const KEY = keyPair();
const NEVER = new AbortController().signal;
let folder = temporaryFolder();
beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(() => folder[Symbol.dispose]());

interface Changes extends Partial<SshTarget> {
  readonly host?: string;
}

function target(port: number, { host = "127.0.0.1", ...changes }: Changes = {}): SshTarget {
  return {
    kind: "ssh",
    managers: [{ host, port, user: "deploy" }],
    jumps: [],
    sudo: false,
    socket: "/var/run/docker.sock",
    privateKey: KEY.private,
    passphrase: undefined,
    password: undefined,
    agent: undefined,
    knownHosts: undefined,
    fingerprints: [],
    ...changes,
  };
}

async function reach(at: SshTarget, signal = NEVER): Promise<Tunnel> {
  const [manager] = at.managers;
  if (manager === undefined) throw new Error("there is no manager");
  const options = { path: join(folder.path, "s"), handshakeMs: 20_000, eager: true };
  return await openTunnel(prepareLogin(at), manager, options, signal);
}

async function open(server: Sshd, changes: Changes = {}, signal = NEVER): Promise<Tunnel> {
  return await reach(target(server.port, { knownHosts: server.knownHost, ...changes }), signal);
}

const withKey = (login: AuthContext): boolean =>
  login.method === "publickey" && login.key.data.equals(KEY.blob);
/** Says everything back in capitals. */
const shout = (channel: ServerChannel): void =>
  void channel.on("data", (data: Buffer) => channel.write(data.toString().toUpperCase()));

async function refused(opening: Promise<Tunnel>): Promise<string> {
  try {
    await (await opening)[Symbol.asyncDispose]();
    return "";
  } catch (error) {
    expect(error).toBeInstanceOf(ConnectError);
    return error instanceof Error ? error.message : "";
  }
}

async function said(socket: Socket): Promise<string> {
  const [data] = (await once(socket, "data")) as [Buffer];
  return data.toString();
}

function socketsOf(server: Sshd): string[] {
  return server.heard.filter((line) => line.startsWith("socket"));
}

describe("a tunnel", () => {
  test.each([
    ["ecdsa", utils.generateKeyPairSync("ecdsa", { bits: 384 }).private],
    ["rsa", utils.generateKeyPairSync("rsa", { bits: 2048 }).private],
  ])("is logged in with an %s key without asking whether it would do", async (_type, privateKey) => {
    await using server = await sshd({ accepts: ({ method }) => method === "publickey" });
    await using tunnel = await open(server, { privateKey });
    expect(tunnel.lost()).toBeUndefined();
    expect(server.heard).toEqual(["publickey deploy"]);
  });

  test("is logged in with an RSA key once the server has said yes to a login, where it does not say what it takes", async () => {
    const privateKey = utils.generateKeyPairSync("rsa", { bits: 2048 }).private;
    await using server = await sshd({ accepts: ({ method }) => method === "publickey", tellsNothing: true });
    await using tunnel = await open(server, { privateKey });
    expect(tunnel.lost()).toBeUndefined();
    expect(server.heard).toEqual(["publickey deploy", "publickey deploy"]); // It is asked about it first.
  });

  test("ends at the manager's Docker socket, both ways, for several connections at once", async () => {
    await using server = await sshd({ accepts: withKey, serve: shout });
    await using tunnel = await open(server);
    const path = tunnel.dockerHost.replace("unix://", "");
    const [a, b] = [connect(path), connect(path)];
    a.write("get /a");
    b.write("get /b");
    expect(await Promise.all([said(a), said(b)])).toEqual(["GET /A", "GET /B"]);
    expect(new Set(socketsOf(server))).toEqual(new Set(["socket /var/run/docker.sock"]));
    expect(tunnel.lost()).toBeUndefined();
    a.destroy();
    b.destroy();
  });

  test("keeps the other direction open when one side has said all", async () => {
    await using server = await sshd({
      accepts: withKey,
      serve: (channel) => {
        let heard = "";
        channel.on("data", (data: Buffer) => (heard += data.toString()));
        channel.on("end", () => channel.end(`heard ${heard}`));
      },
    });
    await using tunnel = await open(server);
    const socket = connect({ path: tunnel.dockerHost.replace("unix://", ""), allowHalfOpen: true });
    socket.end("all of it");
    expect(await said(socket)).toBe("heard all of it");
  });

  test("leaves no socket behind", async () => {
    await using server = await sshd({ accepts: withKey, serve: shout });
    const tunnel = await open(server);
    const path = tunnel.dockerHost.replace("unix://", "");
    expect(existsSync(path)).toBe(true);
    await tunnel[Symbol.asyncDispose]();
    expect(existsSync(path)).toBe(false);
  });

  test("that is lost says so, and hangs nobody up in the air", async () => {
    await using server = await sshd({ accepts: withKey, serve: shout });
    await using tunnel = await open(server);
    const socket = connect(tunnel.dockerHost.replace("unix://", ""));
    socket.write("x");
    await said(socket);
    const closed = once(socket, "close");
    server.hangUp();
    await closed;
    expect(tunnel.lost()).toBe("the server ended the session");
    const late = connect(tunnel.dockerHost.replace("unix://", ""));
    late.on("error", () => undefined);
    await once(late, "close");
  });

  test("opens connections ahead, and uses them", async () => {
    await using server = await sshd({ accepts: withKey, serve: shout });
    await using tunnel = await open(server);
    const path = tunnel.dockerHost.replace("unix://", "");
    expect(socketsOf(server)).toEqual([]);
    for (let n = 1; n <= 3; n += 1) {
      const socket = connect(path);
      socket.write("x");
      expect(await said(socket)).toBe("X");
      socket.destroy();
    }
    // The first, and 16 ahead, of which the later two have been taken.
    expect(socketsOf(server)).toHaveLength(17);
  });

  test.each<[string, (channel: ServerChannel) => void]>([
    ["ended", (channel) => void channel.end()],
    ["closed", (channel) => channel.close()],
    ["answered before it was asked", (channel) => void channel.write("HTTP/1.1 400 Bad Request\r\n\r\n")],
  ])("does not use what was opened ahead and is %s meanwhile", async (_fact, tireOf) => {
    const channels: ServerChannel[] = [];
    const serve = (channel: ServerChannel): void => {
      channels.push(channel);
      shout(channel);
    };
    await using server = await sshd({ accepts: withKey, serve });
    await using tunnel = await open(server);
    const path = tunnel.dockerHost.replace("unix://", "");
    const ask = async (): Promise<string> => {
      const socket = connect(path);
      socket.write("x");
      const answer = await said(socket);
      socket.destroy();
      return answer;
    };
    expect(await ask()).toBe("X");
    while (channels.length < 17) await sleep(5);
    const ahead = channels.slice(1);
    const gone = Promise.all(ahead.map(async (channel) => await once(channel, "close")));
    ahead.forEach(tireOf);
    await gone;
    expect(await Promise.all([ask(), ask(), ask()])).toEqual(["X", "X", "X"]);
    expect(socketsOf(server)).toHaveLength(20);
    expect(tunnel.lost()).toBeUndefined();
  });

  test("asks a server that forwards no sockets at once only", async () => {
    await using server = await sshd({ accepts: withKey });
    await using tunnel = await open(server);
    for (let n = 1; n <= 2; n += 1) {
      const socket = connect(tunnel.dockerHost.replace("unix://", ""));
      socket.on("error", () => undefined);
      await once(socket, "close");
    }
    expect(socketsOf(server)).toHaveLength(17);
  });

  test("to a server that forwards no sockets closes the connection", async () => {
    await using server = await sshd({ accepts: withKey });
    await using tunnel = await open(server);
    const socket = connect(tunnel.dockerHost.replace("unix://", ""));
    socket.on("error", () => undefined);
    await once(socket, "close");
    expect(tunnel.lost()).toBeUndefined();
  });
});

describe("the host key", () => {
  const other = keyPair();

  test("that is not the known one ends the connection before any credential is sent, and is shown", async () => {
    await using server = await sshd({ accepts: () => true });
    const message = await refused(
      open(server, { knownHosts: `[127.0.0.1]:${server.port} ${other.public}`, password: "p" }),
    );
    expect(message).toContain(
      `it offered ecdsa-sha2-nistp256 ${fingerprint(server.hostKey)}, expected ${fingerprint(other.blob)}`,
    );
    expect(message).toContain("Nothing was sent to it.");
    expect(server.heard).toEqual([]);
  });

  test("that has not the pinned fingerprint, too", async () => {
    await using server = await sshd({ accepts: () => true });
    const message = await refused(
      open(server, { knownHosts: undefined, fingerprints: [fingerprint(other.blob)] }),
    );
    expect(message).toContain(fingerprint(server.hostKey));
    expect(server.heard).toEqual([]);
  });

  const keyOf = (server: Sshd): string => server.knownHost.split(" ").slice(1).join(" ");

  test.each<[string, (server: Sshd) => Changes]>([
    ["though its fingerprint is pinned", (server) => ({ fingerprints: [fingerprint(server.hostKey)] })],
    ["though it is trusted as well", (server) => ({ knownHosts: server.knownHost })],
    ["where nothing else is known of the host", () => ({})],
    [
      "where another key is known",
      (server) => ({ knownHosts: `[127.0.0.1]:${server.port} ${other.public}` }),
    ],
  ])("that is revoked is refused %s, and nobody is told to add it", async (_fact, more) => {
    await using server = await sshd({ accepts: () => true });
    const { knownHosts = "", ...changes } = more(server);
    const message = await refused(
      open(server, { ...changes, knownHosts: `@revoked * ${keyOf(server)}\n${knownHosts}` }),
    );
    expect(message).toContain(
      `is revoked: it offered ecdsa-sha2-nistp256 ${fingerprint(server.hostKey)}, which a line of "ssh-known-hosts" revokes.`,
    );
    expect(message).not.toContain("put this line");
    expect(server.heard).toEqual([]);
  });

  test.each<[string, string, (name: string) => string]>([
    ["there are lines for another host", `other ${other.public}`, (name) => `has no key for ${name}.`],
    ["there are lines for another port", `127.0.0.1 ${other.public}`, (name) => `has no key for ${name}.`],
    ["another key is revoked", `@revoked * ${other.public}`, (name) => `has no key for ${name}.`],
    [
      "a certificate authority vouches for it",
      `@cert-authority * ${other.public}`,
      (name) => `trusts ${name} through @cert-authority, which is not supported.`,
    ],
  ])(
    "of which nothing is known is asked for and refused, with the line to add: %s",
    async (_fact, knownHosts, lacking) => {
      await using server = await sshd({ accepts: () => true });
      const message = await refused(open(server, { knownHosts, password: "p" }));
      expect(message).toContain(
        `The host key of 127.0.0.1:${server.port} is not known: it offered ecdsa-sha2-nistp256 ${fingerprint(server.hostKey)}, and "ssh-known-hosts" ${lacking(`[127.0.0.1]:${server.port}`)} Nothing was sent to it.`,
      );
      expect(message).toContain("`ssh-keygen -lf /etc/ssh/ssh_host_ecdsa_key.pub`");
      expect(server.heard).toEqual([]);
      const [, line = ""] =
        /put this line into "ssh-known-hosts": (\S+ \S+ \S+)\. If not/.exec(message) ?? [];
      await using tunnel = await open(server, { knownHosts: `${knownHosts}\n${line}` });
      expect(tunnel.lost()).toBeUndefined();
    },
  );

  test("of another type than the known ones is shown as well", async () => {
    await using server = await sshd({ accepts: () => true });
    const message = await refused(
      open(server, {
        knownHosts: `[127.0.0.1]:${server.port} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS`,
      }),
    );
    expect(message).toContain(`it offered ecdsa-sha2-nistp256 ${fingerprint(server.hostKey)}`);
    expect(server.heard).toEqual([]);
  });

  test.each([
    ["one of several fingerprints", (print: string) => [`SHA256:${"a".repeat(43)}`, print]],
    ["a fingerprint with padding", (print: string) => [`${print}=`]],
  ])("may be known by %s", async (_fact, fingerprints) => {
    await using server = await sshd({ accepts: withKey });
    await using tunnel = await open(server, {
      knownHosts: undefined,
      fingerprints: fingerprints(fingerprint(server.hostKey)),
    });
    expect(tunnel.lost()).toBeUndefined();
  });
});

describe("a login", () => {
  test.each<[string, Changes, (login: AuthContext) => boolean]>([
    ["with a key", {}, withKey],
    [
      "with a password",
      { privateKey: undefined, password: " p " },
      (login) => login.method === "password" && login.password === " p ",
    ],
  ])("%s", async (_fact, changes, accepts) => {
    await using server = await sshd({ accepts });
    await using tunnel = await open(server, changes);
    expect(tunnel.lost()).toBeUndefined();
    expect(server.heard.every((line) => line.endsWith(" deploy"))).toBe(true);
  });

  test("with the password where the server asks for it in a dialogue", async () => {
    await using server = await sshd({ accepts: () => false, dialogue: "p" });
    await using tunnel = await open(server, { privateKey: undefined, password: "p" });
    expect(tunnel.lost()).toBeUndefined();
    expect(server.heard).toContain("keyboard-interactive deploy");
  });

  test.each<[string, Changes, string]>([
    ["the key", {}, "(tried the given key)"],
    ["the password", { privateKey: undefined, password: "p" }, "(tried the given password)"],
    ["both", { password: "p" }, "(tried the given key and the given password)"],
  ])("that is refused says what was tried: %s", async (_fact, changes, tried) => {
    await using server = await sshd({ accepts: () => false });
    const message = await refused(open(server, changes));
    expect(message).toContain(`deploy@127.0.0.1:${server.port} refused the login ${tried}`);
    expect(message).not.toContain(KEY.private.split("\n")[1]);
  });
});

describe("a server that wants several logins", () => {
  test.each<[readonly AuthenticationType[], readonly string[]]>([
    [
      ["publickey", "password"],
      ["publickey", "password"],
    ],
    [
      ["password", "publickey"],
      ["publickey", "password", "publickey"],
    ],
    [
      ["keyboard-interactive", "publickey"],
      ["publickey", "keyboard-interactive", "publickey"],
    ],
    [
      ["publickey", "keyboard-interactive"],
      ["publickey", "keyboard-interactive"],
    ],
    [
      ["password", "publickey", "keyboard-interactive"],
      ["publickey", "password", "publickey", "keyboard-interactive"],
    ],
  ])("gets %j in this order", async (inTurn, heard) => {
    await using server = await sshd({ accepts: () => false, inTurn });
    await using tunnel = await open(server, { password: "p" });
    expect(tunnel.lost()).toBeUndefined();
    expect(server.heard).toEqual(heard.map((method) => `${method} deploy`));
  });

  test("an RSA key counts once as well", async () => {
    const privateKey = utils.generateKeyPairSync("rsa", { bits: 2048 }).private;
    await using server = await sshd({ accepts: () => false, inTurn: ["password", "publickey"] });
    await using tunnel = await open(server, { privateKey, password: "p" });
    expect(tunnel.lost()).toBeUndefined();
  });

  test.each<[string, Changes, readonly AuthenticationType[], string]>([
    ["a password", {}, ["publickey", "password"], "(tried the given key). It still wants: password."],
    [
      "a key",
      { privateKey: undefined, password: "p" },
      ["password", "publickey"],
      "(tried the given password). It still wants: publickey.",
    ],
    [
      "another key",
      { password: "p" },
      ["publickey", "password", "publickey"],
      "(tried the given key and the given password). It still wants: publickey.",
    ],
  ])("says that it lacks %s", async (_fact, changes, inTurn, words) => {
    await using server = await sshd({ accepts: () => false, inTurn });
    const message = await refused(open(server, changes));
    expect(message).toContain(
      `deploy@127.0.0.1:${server.port} wants more than what it took so far ${words} Its sshd asks for several logins`,
    );
  });
});

describe("the SSH agent", () => {
  /** One with these keys, in this process. */
  async function agent(...keys: readonly string[]): Promise<{ socket: string } & AsyncDisposable> {
    const parsed = keys.flatMap((text) => {
      const key = utils.parseKey(text);
      return key instanceof Error ? [] : [key];
    });
    const server = createServer((socket) => {
      const protocol = new AgentProtocol(false);
      protocol.on("identities", (asked) => protocol.getIdentitiesReply(asked, parsed));
      protocol.on("sign", (asked, key, data) => {
        const signer = parsed.find((each) => each.getPublicSSH().equals(key.getPublicSSH()));
        if (signer === undefined) protocol.failureReply(asked);
        else protocol.signReply(asked, signer.sign(data));
      });
      socket.on("error", () => undefined);
      socket.pipe(protocol).pipe(socket);
    });
    const socket = join(folder.path, "agent");
    server.listen(socket);
    await once(server, "listening");
    return {
      socket,
      [Symbol.asyncDispose]: async () => await new Promise<void>((resolve) => server.close(() => resolve())),
    };
  }
  const only = (socket: string): Changes => ({ privateKey: undefined, agent: socket });

  test("logs in with the key that the server knows", async () => {
    await using keys = await agent(keyPair().private, KEY.private);
    await using server = await sshd({ accepts: withKey });
    await using tunnel = await open(server, only(keys.socket));
    expect(tunnel.lost()).toBeUndefined();
  });

  test("without keys is named as the reason, with what the server would take", async () => {
    await using keys = await agent();
    await using server = await sshd({ accepts: () => false });
    expect(await refused(open(server, only(keys.socket)))).toContain(
      `The SSH agent at SSH_AUTH_SOCK has no keys, so there is nothing to log in with as deploy@127.0.0.1:${server.port}. It would take: publickey, password, keyboard-interactive. Add the key`,
    );
    expect(server.heard).toEqual(["none deploy"]);
  });

  test("whose keys are refused: what the server would take is part of the error", async () => {
    await using keys = await agent(KEY.private);
    await using server = await sshd({ accepts: () => false });
    expect(await refused(open(server, only(keys.socket)))).toContain(
      "refused the login (tried the keys of the SSH agent). It would take: publickey, password, keyboard-interactive.",
    );
  });

  test("that does not answer is left once the job is cancelled", async () => {
    const mute = createServer((socket) => void socket.resume());
    const socket = join(folder.path, "agent");
    mute.listen(socket);
    await using server = await sshd({ accepts: withKey });
    const stop = new AbortController();
    const opening = open(server, only(socket), stop.signal);
    const [question] = (await once(mute, "connection")) as [Socket];
    const left = once(question, "close");
    stop.abort(new Cancelled("SIGINT"));
    await expect(opening).rejects.toThrow(Cancelled);
    await left;
    mute.close();
  });

  test("is not asked where the server takes no keys", async () => {
    await using keys = await agent(KEY.private);
    await using server = await sshd({ accepts: () => false, inTurn: ["password"] });
    expect(await refused(open(server, only(keys.socket)))).toContain(
      "refused the login (the SSH agent has only keys to offer). It would take: password.",
    );
    expect(server.heard).toEqual(["none deploy"]);
  });
});

describe("a manager that can't be reached", () => {
  async function plainServer(
    onConnection: (socket: Socket) => void,
  ): Promise<{ port: number } & AsyncDisposable> {
    const server = createServer((socket) => onConnection(socket.resume().on("error", () => undefined)));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return {
      port: (server.address() as AddressInfo).port,
      [Symbol.asyncDispose]: async () => await new Promise<void>((resolve) => server.close(() => resolve())),
    };
  }

  const trusting = { fingerprints: [fingerprint(KEY.blob)] };

  test("nothing listens", async () => {
    const gone = await plainServer(() => undefined);
    await gone[Symbol.asyncDispose]();
    const message = await refused(reach(target(gone.port, trusting)));
    expect(message).toContain(`Nothing listens at 127.0.0.1:${gone.port}.`);
  });

  test("its name does not exist", async () => {
    const message = await refused(reach(target(22, { ...trusting, host: "manager.invalid" })));
    expect(message).toContain("The host name manager.invalid can't be resolved.");
  });

  const full =
    /No SSH session with \S+: the server hung up\. Its sshd may be full \(MaxStartups\) or restarting\./;
  test.each<[string, (socket: Socket) => void, RegExp, Outlook]>([
    ["it hangs up at once", (socket) => void socket.end(), full, "passing"],
    ["it is full and says so", (socket) => void socket.end("Exceeded MaxStartups\r\n"), full, "passing"],
    [
      "it speaks HTTP",
      (socket) => void socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"),
      /What answers at \S+ is no SSH server: HTTP\/1\.1 400 Bad Request\. Check the host and the port\./,
      "lasting",
    ],
    [
      "it floods us",
      (socket) => void socket.write("x".repeat(9000)),
      /What answers at \S+ is no SSH server: x{300}… Check/,
      "lasting",
    ],
  ])("%s", async (_fact, behave, says, outlook) => {
    await using server = await plainServer(behave);
    const opening = reach(target(server.port, trusting));
    await expect(opening).rejects.toMatchObject({ message: expect.stringMatching(says), outlook });
  });

  test.each<[string, Algorithms, RegExp]>([
    [
      "key exchange",
      { kex: ["diffie-hellman-group14-sha1"] },
      /no key exchange algorithm that this action can use\. Let it offer one of these, too \(KexAlgorithms\): curve25519-sha256, /,
    ],
    ["cipher", { cipher: ["aes256-cbc"] }, /no cipher .*\(Ciphers\): aes256-gcm@openssh\.com, /],
    [
      "MAC",
      { cipher: ["aes256-ctr"], hmac: ["hmac-md5"] },
      /no MAC .*\(MACs\): hmac-sha2-256-etm@openssh\.com, /,
    ],
  ])("it has no %s in common with us", async (_what, algorithms, says) => {
    await using server = await sshd({ accepts: withKey, algorithms });
    await expect(open(server)).rejects.toMatchObject({
      message: expect.stringMatching(says),
      outlook: "lasting",
    });
  });

  test("and the job is cancelled meanwhile", async () => {
    const sockets: Socket[] = [];
    await using server = await plainServer((socket) => void sockets.push(socket));
    const stop = new AbortController();
    const opening = reach(target(server.port, trusting), stop.signal);
    stop.abort(new Cancelled("SIGTERM"));
    await expect(opening).rejects.toThrow(Cancelled);
    sockets.forEach((socket) => socket.destroy());
  });

  test("since the job was cancelled before", async () => {
    await expect(reach(target(22, trusting), AbortSignal.abort(new Cancelled("SIGINT")))).rejects.toThrow(
      Cancelled,
    );
  });
});

describe("what can be said before anything is contacted", () => {
  test("a key that is none", () => {
    const changes = { privateKey: "x", fingerprints: ["SHA256:x"] };
    expect(() => prepareLogin(target(2222, changes))).toThrow(InputError);
    expect(() => prepareLogin(target(2222, changes))).toThrow('"ssh-private-key" is no private key');
  });
});
