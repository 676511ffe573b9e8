import { once } from "node:events";
import { existsSync } from "node:fs";
import { type Server, type Socket, createServer } from "node:net";
import { join } from "node:path";
import { Client, type ClientChannel, type ConnectConfig, type ServerHostKeyAlgorithm } from "ssh2";
import { Cancelled, ConnectError, InputError, messageOf } from "../errors.ts";
import { type SshTarget } from "../inputs/inputs.ts";
import { type HostKey, fingerprint, knownKeys, typeOfKey } from "./known-hosts.ts";
import { readPrivateKey } from "./private-key.ts";

const REMOTE_SOCKET = "/var/run/docker.sock";
const HANDSHAKE_TIMEOUT_MS = 20_000;
const KEEPALIVE_MS = 10_000;

/** One SSH session and a local socket that ends at the manager's Docker socket. Dispose of it, or the process stays. */
export interface Tunnel extends AsyncDisposable {
  /** `unix://…`, for docker and for the Engine API. */
  readonly dockerHost: string;
  /** Why the session ended, if it did so by itself. */
  lost(): string | undefined;
}

/** Everything about the login that can be checked without contacting anyone. */
export interface SshLogin {
  readonly target: SshTarget;
  readonly privateKey: string | undefined;
  readonly trusted: readonly HostKey[];
  readonly revoked: readonly HostKey[];
}

/** Reads the key and the host keys; throws an `InputError` where they can't serve. */
export function prepareLogin(target: SshTarget): SshLogin {
  if (target.agent !== undefined && !existsSync(target.agent)) {
    const message = `Neither "ssh-private-key" nor "ssh-password" is given, and no SSH agent listens at SSH_AUTH_SOCK (${target.agent}).`;
    throw new InputError([
      {
        message,
        hint: "If the key comes from a secret, check the secret's name: an undefined secret is empty.",
      },
    ]);
  }
  const privateKey =
    target.privateKey === undefined ? undefined : readPrivateKey(target.privateKey, target.passphrase);
  const known =
    target.knownHosts === undefined ? undefined : knownKeys(target.knownHosts, target.host, target.port);
  if (known !== undefined && known.accepted.length === 0 && target.fingerprints.length === 0) {
    const name = target.port === 22 ? target.host : `[${target.host}]:${target.port}`;
    const message = known.certAuthority
      ? `"ssh-known-hosts" trusts ${name} through @cert-authority, which is not supported.`
      : `"ssh-known-hosts" has no key for ${name}.`;
    const port = target.port === 22 ? "" : `-p ${target.port} `;
    throw new InputError([
      {
        message,
        hint: `Add the lines of \`ssh-keyscan ${port}${target.host}\` after checking them, or give "ssh-fingerprint".`,
      },
    ]);
  }
  return { target, privateKey, trusted: known?.accepted ?? [], revoked: known?.revoked ?? [] };
}

/** Connects, checks the host key before any credential is sent, logs in, and listens on `folder`/docker.sock. */
export async function openTunnel(login: SshLogin, folder: string, signal: AbortSignal): Promise<Tunnel> {
  const client = new Client();
  const state: SessionState = { lost: undefined };
  const lose = (why: string): void => void (state.lost ??= why);
  // One listener for life: an `error` of a session that nobody listens to ends the process.
  client.on("error", (error) => lose(error.message));
  client.on("end", () => lose("the server ended the session"));
  client.on("close", () => lose("the server closed the session"));
  await connect(client, login, signal);
  const path = join(folder, "docker.sock");
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (local) => {
    sockets.add(local);
    local.on("close", () => sockets.delete(local));
    forward(client, local, state);
  });
  const close = async (): Promise<void> => {
    lose("this step closed the session");
    for (const local of sockets) local.destroy();
    await closeServer(server);
    client.end();
    client.destroy();
  };
  try {
    server.listen(path);
    await once(server, "listening", { signal });
  } catch (error) {
    await close();
    throw error;
  }
  return { dockerHost: `unix://${path}`, lost: () => state.lost, [Symbol.asyncDispose]: close };
}

async function closeServer(server: Server): Promise<void> {
  if (!server.listening) return;
  await new Promise<void>((resolve) => server.close(() => resolve()));
}

/** Why the session is gone, once it is. */
interface SessionState {
  lost: string | undefined;
}

function forward(client: Client, local: Socket, state: SessionState): void {
  local.on("error", () => local.destroy());
  const opened = (error: Error | undefined, channel: ClientChannel): void => {
    if (error !== undefined) {
      local.destroy();
      return;
    }
    channel.on("error", () => local.destroy());
    channel.on("close", () => local.destroy());
    local.on("close", () => channel.destroy());
    if (local.destroyed) channel.destroy();
    else local.pipe(channel).pipe(local);
  };
  try {
    client.openssh_forwardOutStreamLocal(REMOTE_SOCKET, opened);
  } catch (error) {
    // ssh2 throws where the session has just gone, before it tells its listeners.
    state.lost ??= messageOf(error);
    local.destroy();
  }
}

/** What ssh2 can check, in its own order. */
const HOST_KEY_ALGORITHMS: readonly ServerHostKeyAlgorithm[] = [
  "ssh-ed25519",
  "ecdsa-sha2-nistp256",
  "ecdsa-sha2-nistp384",
  "ecdsa-sha2-nistp521",
  "rsa-sha2-512",
  "rsa-sha2-256",
  "ssh-rsa",
];

/** A server shows only one of its keys: the known types are asked for first, and the others so that a changed key can be shown. */
function hostKeyAlgorithms(trusted: readonly HostKey[]): ServerHostKeyAlgorithm[] {
  const isKnown = (algorithm: string): boolean =>
    trusted.some(({ type }) => type === algorithm.replace(/^rsa-sha2-.*/, "ssh-rsa"));
  return [
    ...HOST_KEY_ALGORITHMS.filter((algorithm) => isKnown(algorithm)),
    ...HOST_KEY_ALGORITHMS.filter((algorithm) => !isKnown(algorithm)),
  ];
}

async function connect(client: Client, login: SshLogin, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const { target } = login;
  const offered: { key: Buffer | undefined } = { key: undefined };
  const options: ConnectConfig = {
    host: target.host,
    port: target.port,
    username: target.user,
    readyTimeout: HANDSHAKE_TIMEOUT_MS,
    keepaliveInterval: KEEPALIVE_MS,
    keepaliveCountMax: 3,
    hostVerifier: (key: Buffer) => {
      offered.key = key;
      return isTrusted(key, login);
    },
    algorithms: { serverHostKey: hostKeyAlgorithms(login.trusted) },
    ...(login.privateKey === undefined ? {} : { privateKey: login.privateKey }),
    ...(target.passphrase === undefined ? {} : { passphrase: target.passphrase }),
    ...(target.password === undefined ? {} : { password: target.password, tryKeyboard: true }),
    ...(target.agent === undefined ? {} : { agent: target.agent }),
  };
  await new Promise<void>((resolve, reject) => {
    const fail = (error: unknown): void => {
      signal.removeEventListener("abort", abort);
      client.destroy();
      reject(error);
    };
    const abort = (): void =>
      fail(signal.reason instanceof Error ? signal.reason : new Cancelled("a signal"));
    signal.addEventListener("abort", abort, { once: true });
    const failed = (error: Error): void => fail(explain(error, login, offered.key));
    const ended = (): void => failed(new Error("the server closed the connection"));
    client.on("error", failed);
    client.on("end", ended);
    client.on("connect", () => client.setNoDelay(true)); // ssh2 leaves Nagle on: 5.5 times slower per call (TOOLCHAIN A3).
    client.on("keyboard-interactive", (_name, _instructions, _language, prompts, finish) => {
      finish(prompts.map(() => target.password ?? ""));
    });
    client.on("ready", () => {
      signal.removeEventListener("abort", abort);
      client.off("error", failed);
      client.off("end", ended);
      resolve();
    });
    try {
      client.connect(options); // Throws on options it can't use.
    } catch (error) {
      fail(explain(error, login, undefined));
    }
  });
}

function isTrusted(key: Buffer, login: SshLogin): boolean {
  if (login.revoked.some((known) => known.blob.equals(key))) return false;
  const print = fingerprint(key);
  return (
    login.trusted.some((known) => known.blob.equals(key)) ||
    login.target.fingerprints.some((pinned) => pinned.replace(/=$/, "") === print)
  );
}

function explain(error: unknown, login: SshLogin, offered: Buffer | undefined): ConnectError {
  const { host, port, user } = login.target;
  const at = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const { level, code } = error as { level?: string; code?: string };
  if (offered !== undefined && !isTrusted(offered, login)) return hostKeyError(at, login, offered, error);
  if (level === "client-authentication") {
    return new ConnectError(
      `${user}@${at} refused the login (${ways(login)}).`,
      login.target.password === undefined
        ? `Check that the user is right and that the public half of the key is in ~${user}/.ssh/authorized_keys on the manager.`
        : "Check the user and the password, and that sshd takes passwords (PasswordAuthentication).",
      error,
    );
  }
  if (level === "client-timeout") {
    return new ConnectError(
      `${at} did not complete the SSH handshake within ${HANDSHAKE_TIMEOUT_MS / 1000} s.`,
      "Check that an SSH server answers at this port.",
      error,
    );
  }
  if (code === "ENOTFOUND" || code === "EAI_AGAIN") {
    return new ConnectError(
      `The host name ${host} can't be resolved.`,
      'Check "ssh-host"; the runner must know the name.',
      error,
    );
  }
  if (code === "ECONNREFUSED") {
    return new ConnectError(
      `Nothing listens at ${at}.`,
      "Check the host, the port and that sshd runs.",
      error,
    );
  }
  if (code === "ETIMEDOUT" || code === "EHOSTUNREACH" || code === "ENETUNREACH") {
    return new ConnectError(
      `${at} can't be reached (${code}).`,
      "Check that the runner may reach the manager: firewall, address, VPN.",
      error,
    );
  }
  return new ConnectError(
    `No SSH session with ${at}: ${messageOf(error)}.`,
    "Try from the runner: ssh -v.",
    error,
  );
}

function ways(login: SshLogin): string {
  const { target } = login;
  const tried = [
    login.privateKey !== undefined && "the given key",
    target.password !== undefined && "the given password",
    target.agent !== undefined && "the keys of the SSH agent",
  ].filter((way) => way !== false);
  return `tried ${tried.join(" and ")}`;
}

function hostKeyError(at: string, login: SshLogin, offered: Buffer, cause: unknown): ConnectError {
  const type = typeOfKey(offered);
  const print = fingerprint(offered);
  const expected = [...login.trusted.map((key) => fingerprint(key.blob)), ...login.target.fingerprints];
  const revoked = login.revoked.some((known) => known.blob.equals(offered));
  const message = revoked
    ? `The host key of ${at} is revoked: it offered ${type} ${print}.`
    : `The host key of ${at} is not the expected one: it offered ${type} ${print}, expected ${expected.join(" or ")}.`;
  return new ConnectError(
    `${message} Nothing was sent to it.`,
    revoked
      ? "The server must get a new host key; until then it may be anybody."
      : "If the server was set up anew, check on it with `ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub` and replace the pinned key; if not, somebody may stand in between.",
    cause,
  );
}
