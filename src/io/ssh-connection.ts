import { Socket, connect as connectTcp } from "node:net";
import { type Duplex } from "node:stream";
import {
  type AnyAuthMethod,
  type AuthenticationType,
  Client,
  type ConnectConfig,
  type IdentityCallback,
  type KeyboardInteractiveAuthMethod,
  OpenSSHAgent,
  type ParsedKey,
  type ServerHostKeyAlgorithm,
} from "ssh2";
import { Cancelled, ConnectError, messageOf } from "../errors.ts";
import { cited } from "../foreign-text.ts";
import { type SshHost } from "../inputs/inputs.ts";
import { type HostKey, type KnownKeys, fingerprint, typeOfKey } from "./known-hosts.ts";
import { type SshLogin, knownHostsName } from "./ssh-login.ts";

/** TCP repeats its first packet after 1 and 3 s; who has not answered then is off or behind a firewall. */
const CONNECT_TIMEOUT_MS = 5000;
/** A peer that is gone without a word is found out after three of these. */
const KEEPALIVE_MS = 4000;

/** One SSH session with a manager, whatever it goes through on the way. */
export interface SshConnection {
  readonly client: Client;
  /** Why the session ended, if it did so by itself. */
  readonly lost: () => string | undefined;
  readonly close: () => void;
}

/** Connects hop by hop; each one's host key is checked before any credential is sent to it. Every hop has `handshakeMs` to log us in. */
export async function openConnection(
  login: SshLogin,
  manager: SshHost,
  handshakeMs: number,
  signal: AbortSignal,
): Promise<SshConnection> {
  const hops: Hop[] = [];
  const close = (): void => {
    for (const hop of hops.toReversed()) hop.close();
  };
  try {
    for (const at of [...login.target.jumps, manager]) {
      const previous = hops.at(-1);
      const way = previous === undefined ? await dial(at, signal) : await through(previous, at, signal);
      hops.push(await logIn(at, way, login, handshakeMs, signal));
    }
  } catch (error) {
    close();
    throw error;
  }
  const last = hops.at(-1);
  if (last === undefined) throw new RangeError("there is no host to connect to");
  return { client: last.client, lost: () => hops.map(({ lost }) => lost()).find(Boolean), close };
}

interface Hop {
  readonly at: SshHost;
  readonly client: Client;
  readonly lost: () => string | undefined;
  readonly close: () => void;
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

/** A TCP connection. Looking up the name is not part of the time it has: a slow name server is no reason to give up. */
async function dial(at: SshHost, signal: AbortSignal): Promise<Socket> {
  const { host, port } = at;
  return await unlessCancelled(signal, (resolve, reject) => {
    // ssh2 leaves Nagle on: 5.5 times slower per call (TOOLCHAIN A3).
    const socket = connectTcp({ host, port, noDelay: true });
    let timer: NodeJS.Timeout | undefined;
    socket.on("connectionAttempt", () => {
      timer ??= setTimeout(() => socket.destroy(tooSlow()), CONNECT_TIMEOUT_MS);
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

/** `host:port`, an IPv6 address in brackets. */
function inWords({ host, port }: SshHost): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
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
  offered: Buffer | undefined;
  /** The ways to log in that the server would take. */
  accepted: readonly string[];
  /** It took one of ours, and wants another one as well. */
  halfIn: boolean;
  /** How many the SSH agent has; undefined where it was not asked. */
  agentKeys: number | undefined;
}

async function logIn(
  at: SshHost,
  sock: Duplex,
  login: SshLogin,
  handshakeMs: number,
  signal: AbortSignal,
): Promise<Hop> {
  const known = login.known.get(at) ?? { accepted: [], revoked: [], certAuthority: false };
  const attempt: Attempt = {
    at,
    login,
    known,
    handshakeMs,
    offered: undefined,
    accepted: [],
    halfIn: false,
    agentKeys: undefined,
  };
  const client = new Client();
  let lost: string | undefined;
  // One listener for life: an `error` of a session that nobody listens to ends the process.
  client.on("error", (error) => (lost ??= error.message));
  client.on("end", () => (lost ??= "the server ended the session"));
  client.on("close", () => (lost ??= "the server closed the session"));
  const close = (): void => {
    lost ??= "this step closed the session";
    client.end();
    if (sock instanceof Socket)
      sock.destroySoon(); // Otherwise the step would wait for the server to close its side, too.
    else client.destroy();
  };
  await ready(client, optionsFor(attempt, sock), attempt, signal).catch((error: unknown) => {
    sock.destroy();
    throw error;
  });
  return { at, client, lost: () => lost, close };
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
    authHandler: authHandler(attempt),
  };
}

/** ssh2 takes `false` for the end of the list, which its types don't know. */
const NO_MORE = false as unknown as AuthenticationType;

/** Notes how many keys it has. */
class CountedAgent extends OpenSSHAgent {
  readonly #attempt: Attempt;

  constructor(socket: string, attempt: Attempt) {
    super(socket);
    this.#attempt = attempt;
  }

  override getIdentities(done: IdentityCallback<ParsedKey>): void {
    super.getIdentities((error, keys) => {
      this.#attempt.agentKeys = keys?.length;
      done(error, keys);
    });
  }
}

/** In the order in which they are tried. */
function loginsOf(attempt: Attempt): readonly AnyAuthMethod[] {
  const { target, privateKey } = attempt.login;
  const { password, agent } = target;
  const username = attempt.at.user;
  const logins: AnyAuthMethod[] = [];
  if (privateKey !== undefined) logins.push({ type: "publickey", username, key: privateKey });
  if (agent !== undefined) {
    // What a server says to an agent's keys, ssh2 keeps for itself: how it takes logins at all is asked first.
    logins.push({ type: "none", username });
    logins.push({ type: "agent", username, agent: new CountedAgent(agent, attempt) });
  }
  if (password !== undefined) {
    logins.push({ type: "password", username, password });
    const prompt: KeyboardInteractiveAuthMethod["prompt"] = (_name, _text, _language, prompts, finish) =>
      finish(prompts.map(() => password));
    logins.push({ type: "keyboard-interactive", username, prompt });
  }
  return logins;
}

/**
 * ssh2's own order begins with a question ("none") that costs a round trip and that no server of ours says yes to. A server that wants
 * several logins, one after the other (AuthenticationMethods), may refuse one now that it takes when another one has succeeded.
 */
function authHandler(attempt: Attempt): Exclude<ConnectConfig["authHandler"], undefined> {
  const open = new Set(loginsOf(attempt));
  const refused = new Set<AnyAuthMethod>();
  let last: AnyAuthMethod | undefined;
  return (methods, partly, next) => {
    if (methods !== null) attempt.accepted = methods;
    if (partly && last !== undefined) {
      attempt.halfIn = true;
      open.delete(last);
      refused.clear();
    }
    last = [...open].find((login) => !refused.has(login) && isWanted(login, methods));
    if (last !== undefined) refused.add(last);
    next(last ?? NO_MORE);
  };
}

/** Before the server has said what it takes, anything may do. */
function isWanted({ type }: AnyAuthMethod, methods: readonly string[] | null): boolean {
  if (methods === null || methods.length === 0) return true;
  return methods.includes(type === "agent" ? "publickey" : type);
}

/** The part of ssh2 that writes messages; private there, so it is looked at before it is used. */
interface Protocol {
  authPK?: (user: string, key: unknown, algorithm: string | undefined, sign?: Sign) => void;
}

type Sign = (data: Buffer, done: (signature: Buffer) => void) => void;

/**
 * ssh2 first asks whether a key would do: a round trip for what the answer to its signature tells as well (RFC 4252, 7). With which hash
 * an RSA key signs depends on the server, so that is left to ssh2.
 */
function signAtOnce(client: Client, key: ParsedKey): void {
  const { _protocol: protocol } = client as { readonly _protocol?: Protocol };
  const ask = protocol?.authPK;
  if (protocol === undefined || ask === undefined || key.type === "ssh-rsa") return;
  protocol.authPK = (user, offered, algorithm, sign) => {
    const signNow: Sign = (data, done) => done(key.sign(data));
    ask.call(protocol, user, offered, algorithm, sign ?? (offered === key ? signNow : undefined));
  };
}

async function ready(
  client: Client,
  options: ConnectConfig,
  attempt: Attempt,
  signal: AbortSignal,
): Promise<void> {
  await unlessCancelled<void>(signal, (resolve, reject) => {
    const failed = (error: Error): void => reject(explain(error, attempt));
    const ended = (): void => failed(new Error("the server closed the connection"));
    client.on("error", failed);
    client.on("end", ended);
    client.on("close", ended);
    client.on("ready", () => {
      client.off("error", failed).off("end", ended).off("close", ended);
      resolve();
    });
    try {
      client.connect(options); // Throws on options it can't use.
      if (attempt.login.privateKey !== undefined) signAtOnce(client, attempt.login.privateKey);
    } catch (error) {
      queueMicrotask(() => reject(explain(error, attempt)));
    }
    return () => client.destroy();
  });
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

function explain(error: unknown, attempt: Attempt): ConnectError {
  const { at, offered, handshakeMs } = attempt;
  const name = inWords(at);
  const { level } = error as { level?: string };
  if (offered !== undefined && !isTrusted(offered, attempt)) return hostKeyError(attempt, offered, error);
  if (level === "client-authentication") return loginError(attempt, error);
  if (level === "agent") {
    const message = `The SSH agent at SSH_AUTH_SOCK can't be used: ${messageOf(error)}.`;
    return new ConnectError(message, "Start it and add the key in a step before this one.", error);
  }
  if (level === "client-timeout") {
    const message = `${name} did not complete the SSH handshake within ${handshakeMs / 1000} s.`;
    return new ConnectError(message, "Check that an SSH server answers at this port.", error, "passing");
  }
  // Before it has said a word, an sshd that is full (MaxStartups) or starting up just hangs up.
  const hint =
    offered === undefined
      ? "Its sshd may be full (MaxStartups) or restarting."
      : "Try from the runner: ssh -v.";
  const why = HANGING_UP.test(messageOf(error)) ? "the server hung up" : cited(messageOf(error));
  const message = `No SSH session with ${name}: ${why}.`;
  return new ConnectError(message, hint, error, "passing");
}

function loginError(attempt: Attempt, cause: unknown): ConnectError {
  const { at, login, accepted } = attempt;
  const who = `${at.user}@${inWords(at)}`;
  const taken = accepted.length === 0 ? "" : ` It would take: ${accepted.join(", ")}.`;
  if (attempt.agentKeys === 0) {
    return new ConnectError(
      `The SSH agent at SSH_AUTH_SOCK has no keys, so there is nothing to log in with as ${who}.${taken}`,
      'Add the key in a step before this one (ssh-add), or give it as "ssh-private-key".',
      cause,
    );
  }
  if (attempt.halfIn) {
    return new ConnectError(
      `${who} wants more than what it took so far (${ways(attempt)}). It still wants: ${accepted.join(", ")}.`,
      'Its sshd asks for several logins one after the other (AuthenticationMethods): give "ssh-private-key" and "ssh-password", both of them right.',
      cause,
    );
  }
  return new ConnectError(
    `${who} refused the login (${ways(attempt)}).${taken}`,
    login.target.password === undefined
      ? `Check that the user is right and that the public half of the key is in ~${at.user}/.ssh/authorized_keys there.`
      : "Check the user and the password, and that sshd takes passwords (PasswordAuthentication).",
    cause,
  );
}

function ways({ login, agentKeys }: Attempt): string {
  const { target, privateKey } = login;
  const tried = [
    privateKey !== undefined && "the given key",
    target.password !== undefined && "the given password",
    agentKeys !== undefined && "the keys of the SSH agent",
  ].filter((way) => way !== false);
  return tried.length === 0 ? "the SSH agent has only keys to offer" : `tried ${tried.join(" and ")}`;
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
