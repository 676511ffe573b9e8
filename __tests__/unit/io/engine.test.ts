import { once } from "node:events";
import { type IncomingMessage, type ServerResponse, createServer } from "node:http";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { ConnectError } from "../../../src/errors.ts";
import { EngineApi } from "../../../src/io/engine.ts";
import { temporaryFolder } from "../../doubles/folder.ts";

let folder = temporaryFolder();
beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(() => folder[Symbol.dispose]());

interface Met {
  readonly asked: readonly string[];
  readonly version: string;
  readonly info: unknown;
}

/** Greets a server that answers in this way. */
async function meet(answer: (path: string, response: ServerResponse) => void): Promise<Met> {
  const asked: string[] = [];
  const server = createServer((request: IncomingMessage, response) => {
    asked.push(request.url ?? "");
    answer(request.url ?? "", response);
  });
  const socket = join(folder.path, "d.sock");
  server.listen(socket);
  await once(server, "listening");
  try {
    const api = EngineApi.at(`unix://${socket}`, new AbortController().signal);
    await api.greet();
    api.close();
    return { asked, version: api.apiVersion, info: api.info };
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

function says(response: ServerResponse, status: number, body: object, version = "1.51"): void {
  response.writeHead(status, { "api-version": version });
  response.end(JSON.stringify(body));
}

describe("an engine", () => {
  test("tells its version and its state in one answer", async () => {
    const met = await meet((_path, response) => says(response, 200, { ID: "x" }));
    expect(met).toEqual({ asked: ["/info"], version: "1.51", info: { ID: "x" } });
  });

  test("that wants to hear a version is asked for it", async () => {
    const met = await meet((path, response) => {
      if (path === "/info") says(response, 404, { message: "page not found" });
      else says(response, 200, path === "/_ping" ? {} : { ID: "x" });
    });
    expect(met).toEqual({ asked: ["/info", "/_ping", "/v1.51/info"], version: "1.51", info: { ID: "x" } });
  });

  test.each([
    ["is too old", 200, "1.40", "speaks API 1.40, which is too old"],
    ["is none", 403, "1.51", "is no Docker engine (status 403)"],
  ])("that %s is refused", async (_fact, status, version, message) => {
    const meeting = meet((_path, response) => says(response, status, {}, version));
    await expect(meeting).rejects.toThrow(ConnectError);
    await expect(meeting).rejects.toThrow(message);
  });
});

describe("the time that a call has", () => {
  /** An engine that takes `ms` for each answer, over one connection at a time. */
  async function slow(ms: number): Promise<{ api: EngineApi } & Disposable> {
    const server = createServer((_request, response) => {
      setTimeout(() => says(response, 200, {}), ms);
    });
    const socket = join(folder.path, "d.sock");
    server.listen(socket);
    await once(server, "listening");
    const api = EngineApi.at(`unix://${socket}`, new AbortController().signal);
    api.most = 1;
    const close = (): void => {
      api.close();
      server.closeAllConnections();
      server.close();
    };
    return { api, [Symbol.dispose]: close };
  }

  test("begins when its turn has come where only one connection may be open", async () => {
    using engine = await slow(150);
    const calls = ["/a", "/b", "/c"].map(async (path) => await engine.api.send(path, { deadlineMs: 300 }));
    const answers = await Promise.all(calls);
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
  });

  test("ends it, and not the ones that wait behind it", async () => {
    using engine = await slow(300);
    const late = engine.api.send("/a", { deadlineMs: 50 });
    const next = engine.api.send("/b", { deadlineMs: 3000 });
    await expect(late).rejects.toThrow("no answer within 0.05 s");
    expect((await next).status).toBe(200);
  });
});
