import { once } from "node:events";
import { type Server, type Socket, createServer } from "node:net";
import { join } from "node:path";
import { type Duplex } from "node:stream";
import { type SshHost } from "../inputs/inputs.ts";
import { DockerWay } from "./docker-way.ts";
import { openConnection } from "./ssh-connection.ts";
import { type SshLogin } from "./ssh-login.ts";

/** One SSH session and a local socket that ends at the manager's Docker socket. Dispose of it, or the process stays. */
export interface Tunnel extends AsyncDisposable {
  /** `unix://…`, for the Engine API. */
  readonly dockerHost: string;
  readonly way: DockerWay;
  /** Why the session ended, if it did so by itself. */
  readonly lost: () => string | undefined;
}

/** Connects to one manager, and listens on a socket of that name in `folder`. */
export async function openTunnel(
  login: SshLogin,
  manager: SshHost,
  path: { readonly folder: string; readonly name: string },
  handshakeMs: number,
  signal: AbortSignal,
): Promise<Tunnel> {
  const connection = await openConnection(login, manager, handshakeMs, signal);
  const way = new DockerWay(connection.client, login.target);
  const socket = join(path.folder, path.name);
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (local) => {
    sockets.add(local);
    local.on("close", () => sockets.delete(local));
    void splice(local, way);
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
  return { dockerHost: `unix://${socket}`, way, lost: connection.lost, [Symbol.asyncDispose]: close };
}

async function closeServer(server: Server): Promise<void> {
  if (!server.listening) return;
  await new Promise<void>((resolve) => server.close(() => resolve()));
}

async function splice(local: Socket, way: DockerWay): Promise<void> {
  local.on("error", () => local.destroy());
  let channel: Duplex;
  try {
    channel = await way.open(); // ssh2 throws where the session has just gone, before it tells its listeners.
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
