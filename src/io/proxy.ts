import { once } from "node:events";
import { type IncomingMessage, createServer } from "node:http";
import { messageOf } from "../errors.ts";
import { type Json } from "../json.ts";
import { type Engine } from "./engine.ts";
import { ANY_API_VERSION, bodyOf, unversioned } from "./stand-in.ts";

export interface Proxy extends AsyncDisposable {
  /** `unix://…` */
  readonly dockerHost: string;
}

/** A socket for docker commands that only ask and answer in JSON, such as `docker login`: it stays while the manager behind it may change. */
export async function openProxy(engine: Engine, socket: string): Promise<Proxy> {
  const server = createServer((request, response) => {
    void pass(engine, request).then(
      ({ status, body }) => {
        response.writeHead(status, { "api-version": ANY_API_VERSION, "content-type": "application/json" });
        response.end(body);
      },
      (error: unknown) => {
        response.writeHead(502, { "content-type": "application/json" });
        response.end(JSON.stringify({ message: messageOf(error) }));
      },
    );
  });
  server.listen(socket);
  await once(server, "listening");
  return {
    dockerHost: `unix://${socket}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

async function pass(engine: Engine, request: IncomingMessage): Promise<{ status: number; body: Buffer }> {
  const text = await bodyOf(request);
  const path = unversioned(request);
  if (path === "/_ping") return { status: 200, body: Buffer.from("OK") };
  const body = text === "" ? {} : { body: JSON.parse(text) as Json };
  const method = request.method ?? "GET";
  // To ask whether a registry knows somebody changes nothing.
  return await engine.send(path, { method, ...body, repeatable: method === "GET" || path === "/auth" });
}
