import { type Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { type Client, type ClientChannel } from "ssh2";
import { cited } from "../foreign-text.ts";
import { type SshTarget } from "../inputs/inputs.ts";

const DEFAULT_SOCKET = "/var/run/docker.sock";
/** How long a command over there may take to end once it has lost its connection. */
const FAREWELL_MS = 1000;

/**
 * How an SSH session gets to Docker's socket. Stream-local forwarding costs no process and no session over there; where sshd refuses
 * it, or sudo is needed, `docker system dial-stdio` does the same over a channel.
 */
export class DockerWay {
  readonly #client: Client;
  readonly #target: SshTarget;
  #kind: "unknown" | "forwarding" | "dial-stdio";
  #said = "";
  /** How the command that was started last came to its end. */
  #exit = "";
  /** Resolves when the command that was started last has ended. */
  #ended = Promise.resolve();

  constructor(client: Client, target: SshTarget) {
    this.#client = client;
    this.#target = target;
    this.#kind = target.sudo ? "dial-stdio" : "unknown";
  }

  /** Connections that may be open at once: sshd counts those of dial-stdio as sessions (MaxSessions), of which it may allow just one. */
  get most(): number {
    return this.#dials ? 1 : Number.POSITIVE_INFINITY;
  }

  get #dials(): boolean {
    return this.#kind === "dial-stdio";
  }

  /** What failed, as far as somebody said so, in sentences for an error: empty where nobody did. */
  async failure(): Promise<string> {
    const { socket, sudo } = this.#target;
    await Promise.race([this.#ended, sleep(2 * FAREWELL_MS, undefined, { ref: false })]);
    const said = cited(this.#said);
    if (!this.#dials) return said === "" ? "" : ` What answers there says: ${said}.`;
    const refused = sudo ? "" : ` sshd refuses to forward to ${socket}, or nothing listens there;`;
    return `${refused} \`${this.#command()}\` says: ${said || this.#exit || "nothing"}.`;
  }

  /** Notes what comes back first: where it is no HTTP, it is somebody's reason. */
  heard(chunk: Buffer): void {
    if (!chunk.toString("latin1").startsWith("HTTP/")) this.#note(chunk);
  }

  #note(chunk: Buffer | string): void {
    if (this.#said.length < 1000) this.#said += chunk.toString("utf8");
  }

  /** A connection to Docker's socket. Rejects where none can be had; one by dial-stdio may also just end, and `failure` says why. */
  async open(): Promise<Duplex> {
    if (!this.#dials) {
      try {
        return await this.forward();
      } catch (error) {
        if (!this.#dials) throw error;
      }
    }
    return await this.#dial();
  }

  /** A connection by stream-local forwarding, and by nothing else. What becomes of the first one is how it is done from then on. */
  async forward(): Promise<ClientChannel> {
    return await new Promise((resolve, reject) => {
      this.#client.openssh_forwardOutStreamLocal(this.#target.socket, (error, channel) => {
        if (error === undefined) {
          this.#kind = "forwarding";
          resolve(channel);
          return;
        }
        // "open failed" stands for a refusal, for a socket that is not there, and for one that the user may not open.
        if (this.#kind === "unknown" && isRefusal(error)) this.#kind = "dial-stdio";
        reject(error);
      });
    });
  }

  async #dial(): Promise<ClientChannel> {
    return await new Promise((resolve, reject) => {
      this.#client.exec(this.#command(), (error, channel) => {
        if (error !== undefined) {
          this.#said = "sshd opens no session for it (MaxSessions, or a key or user without one)";
          reject(error);
          return;
        }
        channel.stderr.on("data", (chunk: Buffer) => this.#note(chunk));
        channel.on("exit", (code: number | null, signal?: string) => {
          this.#exit = code === null ? `it was ended by ${signal}` : `it ended with exit code ${code}`;
        });
        this.#ended = new Promise((ended) => channel.on("close", () => ended()));
        resolve(channel);
      });
    });
  }

  /** Lets go of a connection. A command gets the time to end by itself, since its last words may be why nothing worked. */
  leave(channel: Duplex): void {
    if (!this.#dials) {
      channel.destroy();
      return;
    }
    channel.end();
    channel.resume();
    const timer = setTimeout(() => channel.destroy(), FAREWELL_MS).unref();
    channel.on("close", () => clearTimeout(timer));
  }

  #command(): string {
    const { sudo, socket } = this.#target;
    const host = socket === DEFAULT_SOCKET ? "" : ` -H unix://${socket}`;
    return `${sudo ? "sudo -n " : ""}docker${host} system dial-stdio`;
  }
}

/** Of the channel, not of the session. */
function isRefusal(error: unknown): boolean {
  return error instanceof Error && "reason" in error;
}
