import { type Duplex } from "node:stream";
import { type Client, type ClientChannel } from "ssh2";
import { type SshTarget } from "../inputs/inputs.ts";

const DEFAULT_SOCKET = "/var/run/docker.sock";

/**
 * How an SSH session gets to Docker's socket. Stream-local forwarding costs no process and no session over there; where sshd refuses
 * it, or sudo is needed, `docker system dial-stdio` does the same over a channel.
 */
export class DockerWay {
  readonly #client: Client;
  readonly #target: SshTarget;
  #kind: "unknown" | "forwarding" | "dial-stdio";
  #said = "";

  constructor(client: Client, target: SshTarget) {
    this.#client = client;
    this.#target = target;
    this.#kind = target.sudo ? "dial-stdio" : "unknown";
  }

  /** Connections that may be open at once: sshd counts those of dial-stdio as sessions (MaxSessions), of which it may allow just one. */
  get most(): number {
    return this.#kind === "dial-stdio" ? 1 : Number.POSITIVE_INFINITY;
  }

  /** In words, for the log. */
  get name(): string {
    return this.#kind === "dial-stdio" ? `\`${this.#command()}\`` : "stream-local forwarding";
  }

  /** Why Docker could not be reached, as far as somebody said so. */
  get failure(): string {
    return this.#said.trim().replace(/\s+/g, " ");
  }

  /** A connection to Docker's socket. Rejects where none can be had; one by dial-stdio may also just end, and `failure` says why. */
  async open(): Promise<Duplex> {
    if (this.#kind !== "dial-stdio") {
      try {
        const channel = await this.forward();
        this.#kind = "forwarding";
        return channel;
      } catch (error) {
        // "open failed" stands for a refusal, for a socket that is not there, and for one that the user may not open.
        if (this.#kind === "forwarding" || !isRefusal(error)) throw error;
        this.#kind = "dial-stdio";
      }
    }
    return await this.#dial();
  }

  /** A connection by stream-local forwarding, and by nothing else. */
  async forward(): Promise<ClientChannel> {
    return await new Promise((resolve, reject) => {
      this.#client.openssh_forwardOutStreamLocal(this.#target.socket, (error, channel) => {
        if (error === undefined) resolve(channel);
        else reject(error);
      });
    });
  }

  async #dial(): Promise<ClientChannel> {
    return await new Promise((resolve, reject) => {
      this.#client.exec(this.#command(), (error, channel) => {
        if (error !== undefined) {
          this.#said = `sshd opens no session for it (${error.message})`;
          reject(error);
          return;
        }
        channel.stderr.on("data", (chunk: Buffer) => (this.#said += chunk.toString("utf8").slice(0, 2000)));
        channel.on("exit", (code: number | null) => {
          if (code !== 0 && this.#said === "") this.#said = `it ended with exit code ${code ?? "none"}`;
        });
        resolve(channel);
      });
    });
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
