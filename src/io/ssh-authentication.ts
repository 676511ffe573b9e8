import { type Duplex } from "node:stream";
import {
  type AnyAuthMethod,
  type AuthHandlerMiddleware,
  type AuthenticationType,
  type GetStreamCallback,
  type IdentityCallback,
  type KeyboardInteractiveAuthMethod,
  OpenSSHAgent,
  type ParsedKey,
} from "ssh2";
import { ConnectError, messageOf } from "../errors.ts";
import { type SshHost } from "../inputs/inputs.ts";
import { type SshLogin, inWords } from "./ssh-login.ts";

/** ssh2 takes `false` for the end of the list, which its types don't know. */
const NO_MORE = false as unknown as AuthenticationType;

/** Our logins at one host, one after the other, and what came of them. */
export class Authentication {
  readonly #at: SshHost;
  readonly #login: SshLogin;
  /** The ways to log in that the server would take. */
  #accepted: readonly string[] = [];
  /** Those of ours that it was shown. */
  readonly #tried = new Set<AnyAuthMethod["type"]>();
  /** How many it was shown so far. */
  #tries = 0;
  /** It took one of ours, and wants another one as well. */
  #halfIn = false;
  /** Undefined where nobody asks it. */
  readonly #agent: OwnAgent | undefined;

  constructor(at: SshHost, login: SshLogin) {
    this.#at = at;
    this.#login = login;
    const { agent } = login.target;
    this.#agent = agent === undefined ? undefined : new OwnAgent(agent);
  }

  /** The SSH agent has been asked for something, and has not answered yet. */
  get waitsForAgent(): boolean {
    return this.#agent?.isAsked === true;
  }

  /** No login was refused, nor half of what the server wants: where we are in, the first one did it. */
  get isFirst(): boolean {
    return this.#tries === 1;
  }

  /** The session is over: nothing more is asked of the agent. */
  close(): void {
    this.#agent?.close();
  }

  /**
   * ssh2's own order begins with a question ("none") that costs a round trip and that no server of ours says yes to. A server that wants
   * several logins, one after the other (AuthenticationMethods), may refuse one now that it takes when another one has succeeded.
   */
  handler(): AuthHandlerMiddleware {
    const open = new Set(this.#logins());
    const refused = new Set<AnyAuthMethod>();
    let last: AnyAuthMethod | undefined;
    return (methods: readonly string[] | null, partly, next) => {
      if (methods !== null) this.#accepted = methods;
      if (partly && last !== undefined) {
        this.#halfIn = true;
        open.delete(last);
        refused.clear();
      }
      this.#tries += 1;
      last = [...open].find((login) => !refused.has(login) && isWanted(login, methods));
      if (last !== undefined) {
        refused.add(last);
        this.#tried.add(last.type);
      }
      next(last ?? NO_MORE);
    };
  }

  /** In the order in which they are tried. */
  #logins(): readonly AnyAuthMethod[] {
    const { target, privateKey } = this.#login;
    const { password } = target;
    const username = this.#at.user;
    const logins: AnyAuthMethod[] = [];
    if (privateKey !== undefined) logins.push({ type: "publickey", username, key: privateKey });
    if (this.#agent !== undefined) {
      // What a server says to an agent's keys, ssh2 keeps for itself: how it takes logins at all is asked first.
      logins.push({ type: "none", username });
      logins.push({ type: "agent", username, agent: this.#agent });
    }
    if (password !== undefined) {
      logins.push({ type: "password", username, password });
      const prompt: KeyboardInteractiveAuthMethod["prompt"] = (_name, _text, _language, prompts, finish) =>
        finish(prompts.map(() => password));
      logins.push({ type: "keyboard-interactive", username, prompt });
    }
    return logins;
  }

  /** Of all of them: what was tried, and what the server would have taken. */
  refusal(cause: unknown): ConnectError {
    const accepted = this.#accepted.join(", ");
    const who = `${this.#at.user}@${inWords(this.#at)}`;
    const taken = accepted === "" ? "" : ` It would take: ${accepted}.`;
    if (this.#agent?.keys === 0) {
      return new ConnectError(
        `The SSH agent at SSH_AUTH_SOCK has no keys, so there is nothing to log in with as ${who}.${taken}`,
        'Add the key in a step before this one (ssh-add), or give it as "ssh-private-key".',
        cause,
      );
    }
    if (this.#halfIn) {
      return new ConnectError(
        `${who} wants more than what it took so far (${this.#ways()}). It still wants: ${accepted}.`,
        'Its sshd asks for several logins one after the other (AuthenticationMethods): give "ssh-private-key" and "ssh-password", both of them right.',
        cause,
      );
    }
    if (isOutOfTries(cause)) {
      return new ConnectError(
        `${who} refused the login (${this.#ways()}) and allows no more tries (MaxAuthTries).${taken}`,
        this.#tried.has("agent")
          ? 'Give the key that it takes as "ssh-private-key", or leave only that one in the agent.'
          : "Give only the key or the password that it takes, and check that the user is right.",
        cause,
      );
    }
    return new ConnectError(
      `${who} refused the login (${this.#ways()}).${taken}`,
      this.#login.target.password === undefined
        ? `Check that the user is right and that the public half of the key is in ~${this.#at.user}/.ssh/authorized_keys there.`
        : "Check the user and the password, and that sshd takes passwords (PasswordAuthentication).",
      cause,
    );
  }

  #ways(): string {
    const tried = [
      this.#tried.has("publickey") && "the given key",
      (this.#tried.has("password") || this.#tried.has("keyboard-interactive")) && "the given password",
      this.#agent?.keys !== undefined && "the keys of the SSH agent",
    ].filter((way) => way !== false);
    return tried.length === 0 ? "the SSH agent has only keys to offer" : `tried ${tried.join(" and ")}`;
  }
}

/** RFC 4253, 11.1; OpenSSH gives another number, that of a breach of the protocol, and these words. */
const NO_MORE_AUTH_METHODS_AVAILABLE = 14;

/** Instead of a refusal of the last login the server has ended the session. */
export function isOutOfTries(error: unknown): boolean {
  const isFinal = (error as { code?: unknown }).code === NO_MORE_AUTH_METHODS_AVAILABLE;
  return isFinal || /too many authentication failures/i.test(messageOf(error));
}

/** Before the server has said what it takes, anything may do. */
function isWanted({ type }: AnyAuthMethod, methods: readonly string[] | null): boolean {
  if (methods === null || methods.length === 0) return true;
  return methods.includes(type === "agent" ? "publickey" : type);
}

/** The runner's agent, which may be silent: ssh2 would wait for it for ever, and the process with it. */
class OwnAgent extends OpenSSHAgent {
  /** How many it has; undefined until it has told. */
  keys: number | undefined;
  /** Each question has a connection of its own, which ends with the answer. */
  readonly #asked = new Set<Duplex>();
  #isClosed = false;

  get isAsked(): boolean {
    return this.#asked.size > 0;
  }

  override getStream(done: GetStreamCallback): void {
    super.getStream((error, stream) => {
      if (stream !== undefined) {
        this.#asked.add(stream);
        stream.on("close", () => this.#asked.delete(stream));
        if (this.#isClosed) stream.destroy();
      }
      done(error, stream);
    });
  }

  override getIdentities(done: IdentityCallback<ParsedKey>): void {
    super.getIdentities((error, keys) => {
      this.keys = keys?.length;
      done(error, keys);
    });
  }

  close(): void {
    this.#isClosed = true;
    for (const stream of this.#asked) stream.destroy();
  }
}
