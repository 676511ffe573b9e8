import { Socket, connect as connectTcp } from "node:net";
import { type Duplex } from "node:stream";
import { Client, type ConnectConfig, type ServerHostKeyAlgorithm } from "ssh2";
import { Cancelled, ConnectError, messageOf } from "../errors.ts";
import { cited } from "../foreign-text.ts";
import { type SshHost } from "../inputs/inputs.ts";
import { type HostKey, type KnownKeys, fingerprint, typeOfKey } from "./known-hosts.ts";
import { WrongGuess, exchangeKeysAtOnce, logInAtOnce } from "./ssh-ahead.ts";
import { Authentication, isOutOfTries } from "./ssh-authentication.ts";
import { type SshLogin, inWords, knownHostsName } from "./ssh-login.ts";

/** TCP repeats its first packet after 1 and 3 s; who has not answered then is off or behind a firewall. */
const CONNECT_TIMEOUT_MS = 5000;
/** Of several addresses of one name each but the last gets this; Node's own 250 ms would give up where the first packet is lost. */
const ADDRESS_TIMEOUT_MS = 2500;
/** A peer that is gone without a word is found out after three of these. */
const KEEPALIVE_MS = 4000;

/** One SSH session with a manager, whatever it goes through on the way. */
export interface SshConnection {
  readonly client: Client;
  /** The first login did it. Otherwise the server has not heard what was sent behind that one. */
  readonly atOnce: boolean;
  /** Why the session ended, if it did so by itself. */
  readonly lost: () => string | undefined;
  readonly close: () => void;
}

/** Sends what a session begins with right behind the login to it. */
export type Pipeline = (client: Client) => void;

/**
 * Connects hop by hop; each one's host key is checked before any credential is sent to it. Every hop has `handshakeMs` to log us in.
 * With a `pipeline` nobody waits for a turn: the key exchange begins with the first packet, and `pipeline` is called where the manager's
 * server is known to read on after a login: OpenSSH hands what has come behind it to the session (its packet.c, `ssh_packet_get_state`),
 * and after a refusal answers "unimplemented" to each packet.
 */
export async function openConnection(
  login: SshLogin,
  manager: SshHost,
  handshakeMs: number,
  signal: AbortSignal,
  pipeline?: Pipeline,
): Promise<SshConnection> {
  const hops: Hop[] = [];
  const close = (): void => {
    for (const hop of hops.toReversed()) hop.close();
  };
  try {
    for (const at of [...login.target.jumps, manager]) {
      const previous = hops.at(-1);
      const hop = async (unasked: boolean): Promise<Hop> => {
        const way = previous === undefined ? await dial(at, signal) : await through(previous, at, signal);
        const behind = at === manager ? pipeline : undefined;
        return await logIn({ at, login, handshakeMs }, way, signal, { unasked, behind });
      };
      const reached = hop(pipeline !== undefined).catch(async (error: unknown) => {
        if (error instanceof WrongGuess) return await hop(false);
        throw error;
      });
      hops.push(await reached);
    }
  } catch (error) {
    close();
    throw error;
  }
  const last = hops.at(-1);
  if (last === undefined) throw new RangeError("there is no host to connect to");
  const lost = (): string | undefined => hops.map((hop) => hop.lost()).find(Boolean);
  return { client: last.client, atOnce: last.atOnce, lost, close };
}

interface Hop extends SshConnection {
  readonly at: SshHost;
}

/** What `begin` comes to, or an error as soon as the job is cancelled. `begin` gives what undoes its work; that is called on any error. */
async function unlessCancelled<T>(
  signal: AbortSignal,
  begin: (resolve: (value: T) => void, reject: (error: unknown) => void) => () => void,
): Promise<T> {
  signal.throwIfAborted();
  return await new Promise((resolve, reject) => {
    const cancel = (): void => fail(signal.reason);
    const done = (value: T): void => {
      signal.removeEventListener("abort", cancel);
      resolve(value);
    };
    const fail = (error: unknown): void => {
      signal.removeEventListener("abort", cancel);
      undo();
      reject(error instanceof Error ? error : new Cancelled("a signal"));
    };
    signal.addEventListener("abort", cancel, { once: true });
    const undo = begin(done, fail);
  });
}

function tooSlow(): Error {
  return Object.assign(new Error(`no answer within ${CONNECT_TIMEOUT_MS / 1000} s`), { code: "ETIMEDOUT" });
}

/** A TCP connection. Looking up the name is not part of the time that each address has: a slow name server is no reason to give up. */
async function dial(at: SshHost, signal: AbortSignal): Promise<Socket> {
  const { host, port } = at;
  return await unlessCancelled(signal, (resolve, reject) => {
    // ssh2 leaves Nagle on: 5.5 times slower per call (TOOLCHAIN A3).
    const socket = connectTcp({
      host,
      port,
      noDelay: true,
      autoSelectFamilyAttemptTimeout: ADDRESS_TIMEOUT_MS,
    });
    let timer: NodeJS.Timeout | undefined;
    socket.on("connectionAttempt", () => {
      clearTimeout(timer);
      timer = setTimeout(() => socket.destroy(tooSlow()), CONNECT_TIMEOUT_MS);
    });
    // For life: ssh2 listens only from the handshake on.
    socket.on("error", (error) => reject(explainSocket(error, at)));
    socket.on("connect", () => resolve(socket));
    for (const event of ["connect", "close"]) socket.on(event, () => clearTimeout(timer));
    return () => socket.destroy();
  });
}

/** A jump host's own connection to the next one. */
async function through({ client, at }: Hop, next: SshHost, signal: AbortSignal): Promise<Duplex> {
  return await unlessCancelled(signal, (resolve, reject) => {
    let late = false;
    const timer = setTimeout(() => reject(explainJump(tooSlow(), at, next)), CONNECT_TIMEOUT_MS);
    const undo = (): void => {
      late = true;
      clearTimeout(timer);
    };
    try {
      client.forwardOut("127.0.0.1", 0, next.host, next.port, (error, channel) => {
        clearTimeout(timer);
        if (error !== undefined) reject(explainJump(error, at, next));
        else if (late) channel.destroy();
        else resolve(channel);
      });
    } catch (error) {
      // The session with the jump host has just gone.
      queueMicrotask(() => reject(explainJump(error, at, next)));
    }
    return undo;
  });
}

/** RFC 4254, 5.1. */
const PROHIBITED = 1;

function explainJump(error: unknown, at: SshHost, next: SshHost): ConnectError {
  const [from, to] = [inWords(at), inWords(next)];
  if ((error as { reason?: unknown }).reason === PROHIBITED)
    return new ConnectError(
      `The jump host ${from} does not forward connections to ${to}.`,
      `On ${at.host} sshd needs AllowTcpForwarding (and no PermitOpen without ${to}), and the key in authorized_keys port-forwarding (and no permitopen without "${to}").`,
      error,
    );
  const said = messageOf(error).replace(/^\(SSH\) Channel open failure: /, "");
  const why = said === "open failed" ? "its sshd gives no reason" : cited(said);
  return new ConnectError(
    `The jump host ${from} can't reach ${to} (${why}).`,
    `Check the name and the port as ${at.host} sees them, and the firewall between the two.`,
    error,
    /not known|No address/.test(said) ? "lasting" : "passing",
  );
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
function hostKeyAlgorithms(accepted: readonly HostKey[]): ServerHostKeyAlgorithm[] {
  const isKnown = (algorithm: string): boolean =>
    accepted.some(({ type }) => type === algorithm.replace(/^rsa-sha2-.*/, "ssh-rsa"));
  return [
    ...HOST_KEY_ALGORITHMS.filter((algorithm) => isKnown(algorithm)),
    ...HOST_KEY_ALGORITHMS.filter((algorithm) => !isKnown(algorithm)),
  ];
}

/** What is found out on the way, for the words about a failure. */
interface Attempt {
  readonly at: SshHost;
  readonly login: SshLogin;
  readonly known: KnownKeys;
  readonly handshakeMs: number;
  readonly authentication: Authentication;
  offered: Buffer | undefined;
  /** Its first words, up to those by which it shows to be an SSH server. */
  said: string;
}

/** What is sent without waiting for the server's turn, beside the login. */
interface Ahead {
  /** Our part of the key exchange; throws a `WrongGuess` where that does not fit. */
  readonly unasked: boolean;
  /** What goes behind the login. */
  readonly behind: Pipeline | undefined;
}

async function logIn(
  { at, login, handshakeMs }: Pick<Attempt, "at" | "login" | "handshakeMs">,
  sock: Duplex,
  signal: AbortSignal,
  { unasked, behind }: Ahead,
): Promise<Hop> {
  const known = login.known.get(at) ?? { accepted: [], revoked: [], certAuthority: false };
  const attempt: Attempt = {
    at,
    login,
    known,
    handshakeMs,
    authentication: new Authentication(at, login),
    offered: undefined,
    said: "",
  };
  const client = new Client();
  let lost: string | undefined;
  // One listener for life: an `error` of a session that nobody listens to ends the process.
  client.on("error", (error) => (lost ??= error.message));
  client.on("end", () => (lost ??= "the server ended the session"));
  client.on("close", () => {
    lost ??= "the server closed the session";
    attempt.authentication.close();
  });
  const close = (): void => {
    lost ??= "this step closed the session";
    client.end();
    if (sock instanceof Socket)
      sock.destroySoon(); // Otherwise the step would wait for the server to close its side, too.
    else client.destroy();
  };
  listen(sock, attempt);
  const inOneWrite = (...parts: (() => void)[]): void => {
    sock.cork();
    for (const send of parts) send();
    sock.uncork();
  };
  const connect = (): void => {
    client.connect(optionsFor(attempt, sock)); // Throws on options it can't use.
    if (unasked) exchangeKeysAtOnce(client, inOneWrite);
    if (login.privateKey === undefined) return;
    logInAtOnce(client, login.privateKey, (send) => {
      // A server that ends the session over the login would answer a second write with a reset, and its reason be lost.
      inOneWrite(send, () => IS_OPENSSH.test(attempt.said) && behind?.(client));
    });
  };
  await ready(client, connect, attempt, signal).catch((error: unknown) => {
    sock.destroy();
    throw error;
  });
  return { at, client, atOnce: attempt.authentication.isFirst, lost: () => lost, close };
}

function optionsFor(attempt: Attempt, sock: Duplex): ConnectConfig {
  const { at, known, handshakeMs } = attempt;
  return {
    sock,
    username: at.user,
    readyTimeout: handshakeMs,
    keepaliveInterval: KEEPALIVE_MS,
    keepaliveCountMax: 2,
    hostVerifier: (key: Buffer) => {
      attempt.offered = key;
      return isTrusted(key, attempt);
    },
    algorithms: { serverHostKey: hostKeyAlgorithms(known.accepted) },
    authHandler: attempt.authentication.handler(),
    // Others than OpenSSH may forward to sockets, too, and say so if they don't.
    strictVendor: false,
  };
}

async function ready(
  client: Client,
  connect: () => void,
  attempt: Attempt,
  signal: AbortSignal,
): Promise<void> {
  await unlessCancelled<void>(signal, (resolve, reject) => {
    const failed = (error: Error): void =>
      reject(error instanceof WrongGuess ? error : explain(error, attempt));
    const ended = (): void => failed(new Error("the server closed the connection"));
    client.on("error", failed);
    client.on("end", ended);
    client.on("close", ended);
    client.on("ready", () => {
      client.off("error", failed).off("end", ended).off("close", ended);
      resolve();
    });
    try {
      connect();
    } catch (error) {
      queueMicrotask(() => reject(explain(error, attempt)));
    }
    return () => client.destroy();
  });
}

const MOST_WORDS = 4096;

function listen(sock: Duplex, attempt: Attempt): void {
  const hear = (data: Buffer): void => {
    attempt.said += data.toString("latin1", 0, MOST_WORDS);
    if (attempt.said.length >= MOST_WORDS || IS_SSH.test(attempt.said)) sock.off("data", hear);
  };
  sock.on("data", hear);
}

function isTrusted(key: Buffer, { known, login }: Attempt): boolean {
  if (known.revoked.some(({ blob }) => blob.equals(key))) return false;
  const print = fingerprint(key);
  return (
    known.accepted.some(({ blob }) => blob.equals(key)) ||
    login.target.fingerprints.some((pinned) => pinned.replace(/=$/, "") === print)
  );
}

/** No connection at all. */
function explainSocket(error: Error & { readonly code?: string }, at: SshHost): ConnectError {
  const { code = "" } = error;
  const name = inWords(at);
  if (code === "ENOTFOUND" || code === "EAI_AGAIN") {
    const hint = 'Check "ssh-host"; the runner must know the name.';
    const outlook = code === "EAI_AGAIN" ? "passing" : "lasting";
    return new ConnectError(`The host name ${at.host} can't be resolved.`, hint, error, outlook);
  }
  if (code === "ECONNREFUSED") {
    const hint = "Check the host, the port and that sshd runs.";
    return new ConnectError(`Nothing listens at ${name}.`, hint, error, "passing");
  }
  const why = code === "" || error.message.startsWith("no answer") ? error.message : code;
  const hint = "Check that the runner may reach it: firewall, address, VPN.";
  return new ConnectError(`${name} can't be reached (${why}).`, hint, error, "passing");
}

/** Which of these it is depends on which packet came first. */
const HANGING_UP = /ECONNRESET|EPIPE|Connection lost before handshake|the server closed the connection/;
/** Lines of text may come before it (RFC 4253, 4.2). */
const IS_SSH = /^SSH-/m;
const IS_OPENSSH = /^SSH-2\.0-OpenSSH_/m;
/** What an sshd that takes nobody at the moment says in place of that. */
const BUSY = /^(Exceeded MaxStartups|Not allowed at this time)/;

/** By ssh2's word for it: the keyword of sshd_config, and what of it ssh2 can. */
const ALGORITHMS: readonly [string, string, readonly string[]][] = [
  [
    "key exchange algorithm",
    "KexAlgorithms",
    ["curve25519-sha256", "ecdh-sha2-nistp256", "diffie-hellman-group16-sha512"],
  ],
  ["host key format", "HostKeyAlgorithms", HOST_KEY_ALGORITHMS],
  ["cipher", "Ciphers", ["aes256-gcm@openssh.com", "aes128-gcm@openssh.com", "aes256-ctr"]],
  ["MAC", "MACs", ["hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256"]],
];

/** It is an SSH server, and never one for us; or none at all. */
function explainStranger(error: unknown, { at, said }: Attempt): ConnectError | undefined {
  const name = inWords(at);
  const lacking = /no matching (.*)/.exec(messageOf(error))?.[1];
  const [what, keyword, ours = []] = ALGORITHMS.find(([word]) => lacking?.endsWith(word)) ?? [];
  if (what !== undefined) {
    const message = `No SSH session with ${name}: its sshd offers no ${what} that this action can use.`;
    return new ConnectError(
      message,
      `Let it offer one of these, too (${keyword}): ${ours.join(", ")}.`,
      error,
    );
  }
  if (cited(said) === "" || IS_SSH.test(said) || BUSY.test(said)) return undefined;
  const message = `What answers at ${name} is no SSH server: ${cited(said)}`;
  return new ConnectError(
    message.replace(/[.…]?$/, (end) => end || "."),
    "Check the host and the port.",
    error,
  );
}

function explain(error: unknown, attempt: Attempt): ConnectError {
  const { at, offered, handshakeMs } = attempt;
  const name = inWords(at);
  const { level } = error as { level?: string };
  if (offered !== undefined && !isTrusted(offered, attempt)) return hostKeyError(attempt, offered, error);
  if (level === "client-authentication" || isOutOfTries(error)) return attempt.authentication.refusal(error);
  if (level === "agent") {
    const message = `The SSH agent at SSH_AUTH_SOCK can't be used: ${messageOf(error)}.`;
    return new ConnectError(message, "Start it and add the key in a step before this one.", error);
  }
  if (level === "client-timeout" && attempt.authentication.waitsForAgent) {
    const message = `The SSH agent at SSH_AUTH_SOCK did not answer within ${handshakeMs / 1000} s.`;
    return new ConnectError(
      message,
      "Check with `ssh-add -l` in a step before this one that it does.",
      error,
    );
  }
  const stranger = explainStranger(error, attempt);
  if (stranger !== undefined) return stranger;
  if (level === "client-timeout") {
    const message = `${name} did not complete the SSH handshake within ${handshakeMs / 1000} s.`;
    return new ConnectError(message, "Check that an SSH server answers at this port.", error, "passing");
  }
  const isHangUp = HANGING_UP.test(messageOf(error));
  // Before it has shown its key, an sshd that is full (MaxStartups) or starting up just hangs up.
  const hint =
    isHangUp && offered === undefined
      ? "Its sshd may be full (MaxStartups) or restarting."
      : "Try from the runner: ssh -v.";
  const why = isHangUp ? "the server hung up" : cited(messageOf(error));
  const message = `No SSH session with ${name}: ${why}.`;
  return new ConnectError(message, hint, error, "passing");
}

/** Once the key is asked for anyway, everything that is needed to trust it the next time is said. */
function hostKeyError({ at, login, known }: Attempt, offered: Buffer, cause: unknown): ConnectError {
  const type = typeOfKey(offered);
  const name = inWords(at);
  const offer = `it offered ${type} ${fingerprint(offered)}`;
  const expected = [...known.accepted.map((key) => fingerprint(key.blob)), ...login.target.fingerprints];
  const refused = (message: string, hint: string): ConnectError =>
    new ConnectError(`${message} Nothing was sent to it.`, hint, cause);

  if (known.revoked.some(({ blob }) => blob.equals(offered))) {
    return refused(
      `The host key of ${name} is revoked: ${offer}, which a line of "ssh-known-hosts" revokes.`,
      "The server must get a new host key; until then it may be anybody.",
    );
  }
  const look = `\`ssh-keygen -lf /etc/ssh/ssh_host_${kindOf(type)}_key.pub\``;
  const line = `put this line into "ssh-known-hosts": ${knownHostsName(at)} ${type} ${offered.toString("base64")}`;
  const otherwise = "If not, somebody may stand in between.";
  if (expected.length === 0) {
    const lacking = known.certAuthority
      ? `trusts ${knownHostsName(at)} through @cert-authority, which is not supported`
      : `has no key for ${knownHostsName(at)}`;
    return refused(
      `The host key of ${name} is not known: ${offer}, and "ssh-known-hosts" ${lacking}.`,
      `Compare it with what ${look} says there. If it is the same, ${line}. ${otherwise}`,
    );
  }
  return refused(
    `The host key of ${name} is not the expected one: ${offer}, expected ${expected.join(" or ")}.`,
    `If the server was set up anew, check on it with ${look} and ${line}. ${otherwise}`,
  );
}

/** As sshd's files of host keys have it in their names. */
function kindOf(type: string): string {
  return type.replace(/^ssh-/, "").replace(/^ecdsa-.*/, "ecdsa");
}
