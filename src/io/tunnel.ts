import { once } from "node:events";
import { type Server, type Socket, createServer } from "node:net";
import { type Duplex } from "node:stream";
import { type SshHost } from "../inputs/inputs.ts";
import { DockerWay } from "./docker-way.ts";
import { type Pipeline, type SshConnection, openConnection } from "./ssh-connection.ts";
import { type SshLogin } from "./ssh-login.ts";

/** One SSH session and a local socket that ends at the manager's Docker socket. Dispose of it, or the process stays. */
export interface Tunnel extends AsyncDisposable {
  /** `unix://…`, for the Engine API. */
  readonly dockerHost: string;
  readonly way: DockerWay;
  /** Resolves once Docker's socket was reached for the first time; `way` knows how then. */
  readonly opened: Promise<void>;
  /** Why the session ended, if it did so by itself. */
  readonly lost: () => string | undefined;
}

export interface TunnelOptions {
  /** Of the local socket. */
  readonly path: string;
  /** For the login at each hop. */
  readonly handshakeMs: number;
  /** Sends what need not wait for an answer, up to asking for connections to Docker's socket. A server may be at odds with that. */
  readonly eager: boolean;
}

/** Connects to one manager, and listens on a local socket. */
export async function openTunnel(
  login: SshLogin,
  manager: SshHost,
  { path: socket, handshakeMs, eager }: TunnelOptions,
  signal: AbortSignal,
): Promise<Tunnel> {
  const channelsOf = (client: SshConnection["client"]): Channels =>
    new Channels(new DockerWay(client, login.target));
  let early: Channels | undefined;
  const openAhead: Pipeline = (client) => {
    early = channelsOf(client);
    early.openAhead(AHEAD + 1);
  };
  const connection = await openConnection(login, manager, handshakeMs, signal, eager ? openAhead : undefined);
  const channels = connection.atOnce && early !== undefined ? early : channelsOf(connection.client);
  const { way } = channels;
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (local) => {
    sockets.add(local);
    local.on("close", () => sockets.delete(local));
    void splice(local, channels);
  });
  const close = async (): Promise<void> => {
    for (const local of sockets) local.destroy();
    await closeServer(server);
    connection.close();
  };
  // A session that is gone takes its connections along, so that nobody waits for an answer that can't come.
  connection.client.on("close", () => sockets.forEach((local) => local.destroy()));
  try {
    server.listen(socket);
    await once(server, "listening", { signal });
  } catch (error) {
    await close();
    throw error;
  }
  return {
    dockerHost: `unix://${socket}`,
    way,
    opened: channels.opened,
    lost: connection.lost,
    [Symbol.asyncDispose]: close,
  };
}

async function closeServer(server: Server): Promise<void> {
  if (!server.listening) return;
  await new Promise<void>((resolve) => server.close(() => resolve()));
}

/** What a deployment asks at once, but for its images, beside the first question. */
const AHEAD = 16;

/**
 * A connection that nobody uses yet. Docker ends one that has asked for nothing within five minutes (its ReadHeaderTimeout), and a stream
 * tells of its end only while it flows; ssh2's don't count as destroyed even then.
 */
class Idle {
  readonly #channel: Duplex;
  #over = false;
  readonly #end = (): void => {
    this.#over = true;
    this.#channel.destroy();
  };

  constructor(channel: Duplex) {
    this.#channel = channel;
    channel.on("error", () => channel.destroy());
    // Nor is one of use whose other side speaks first.
    for (const event of ["data", "end", "close"]) channel.on(event, this.#end);
  }

  /** Undefined where it has come to its end. */
  take(): Duplex | undefined {
    if (this.#over) return undefined;
    this.#channel.pause();
    for (const event of ["data", "end", "close"]) this.#channel.off(event, this.#end);
    return this.#channel;
  }
}

/** Connections to Docker's socket. Each takes a round trip to open, so a number of them are opened ahead, along with the first at the latest. */
class Channels {
  readonly way: DockerWay;
  /** Resolves when the first one is there. */
  readonly opened: Promise<void>;
  #tellOpened = (): void => undefined;
  #ahead: Promise<Idle | undefined>[] | undefined;

  constructor(way: DockerWay) {
    this.way = way;
    this.opened = new Promise((resolve) => (this.#tellOpened = resolve));
  }

  async take(): Promise<Duplex> {
    const channel = await this.#next();
    this.#tellOpened();
    return channel;
  }

  async #next(): Promise<Duplex> {
    for (let next = this.#ahead?.shift(); next !== undefined; next = this.#ahead?.shift()) {
      const channel = (await next)?.take();
      if (channel !== undefined) return channel;
    }
    const opening = this.way.open();
    if (this.#ahead === undefined) this.openAhead(AHEAD);
    return await opening;
  }

  openAhead(count: number): void {
    const length = Number.isFinite(this.way.most) ? 0 : count;
    this.#ahead = Array.from({ length }, async () => {
      try {
        return new Idle(await this.way.forward());
      } catch {
        return undefined; // Nobody waits for it yet: whoever needs it opens one, and hears why that can't be.
      }
    });
  }
}

async function splice(local: Socket, channels: Channels): Promise<void> {
  const { way } = channels;
  local.on("error", () => local.destroy());
  let channel: Duplex;
  try {
    channel = await channels.take(); // ssh2 throws where the session has just gone, before it tells its listeners.
  } catch {
    local.destroy();
    return;
  }
  channel.on("error", () => local.destroy());
  channel.on("close", () => local.destroy());
  local.on("close", () => way.leave(channel));
  if (local.destroyed) {
    way.leave(channel);
    return;
  }
  channel.once("data", (chunk: Buffer) => way.heard(chunk));
  local.pipe(channel).pipe(local);
}
