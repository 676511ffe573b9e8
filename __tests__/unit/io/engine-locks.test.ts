import { once } from "node:events";
import { type Server, createServer } from "node:http";
import { type AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { Cancelled, LockError } from "../../../src/errors.ts";
import { EngineApi, json } from "../../../src/io/engine.ts";
import { EngineLocks } from "../../../src/io/engine-locks.ts";
import { SteadyEngine } from "../../../src/io/steady-engine.ts";

/** What a manager answers (20.10), by method and path; the path alone counts. */
const ANSWERS: Readonly<Record<string, readonly [number, object]>> = {
  "GET /info": [200, {}],
  "POST /configs/create": [201, { ID: "c1" }],
  "GET /configs/lock": [
    200,
    {
      ID: "c1",
      Version: { Index: 16 },
      CreatedAt: "2026-11-25T14:09:40.685152145Z",
      UpdatedAt: "2026-11-25T14:09:48.764519331Z",
      Spec: { Name: "lock", Labels: { holder: "us" }, Data: "aGk=" },
    },
  ],
  "POST /configs/c1/update": [200, {}],
  "DELETE /configs/c1": [204, {}],
};
const TAKEN = { message: "rpc error: code = AlreadyExists desc = config lock already exists" };
const OUTDATED = { message: "rpc error: code = Unknown desc = update out of sequence" };
const GONE = { message: "config c1 not found" };

let answers: Record<string, readonly [number, object]> = {};
let heard: string[] = [];
let server: Server;
let engine: SteadyEngine;
let stop = new AbortController();

beforeEach(async () => {
  answers = { ...ANSWERS };
  heard = [];
  stop = new AbortController();
  server = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString()));
    request.on("end", () => {
      const url = (request.url ?? "").replace(/^\/v[\d.]+/, "");
      heard.push(`${request.method ?? ""} ${url} ${body}`.trim());
      const [status, answer] = answers[`${request.method ?? ""} ${url.split("?")[0] ?? ""}`] ?? [404, GONE];
      response.writeHead(status, { "api-version": "1.41", date: "Wed, 25 Nov 2026 14:09:50 GMT" });
      response.end(status === 204 ? undefined : JSON.stringify(answer));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const api = EngineApi.at(`tcp://127.0.0.1:${port}`, stop.signal);
  await api.greet();
  heard = [];
  const reached = {
    api,
    address: "m1",
    lost: () => undefined,
    verified: Promise.resolve(),
    [Symbol.asyncDispose]: async () => await Promise.resolve(api.close()),
  };
  engine = new SteadyEngine(
    reached,
    async () => await Promise.resolve(reached),
    stop.signal,
    () => undefined,
  );
});
afterEach(async () => {
  await engine[Symbol.asyncDispose]();
  server.closeAllConnections();
  server.close();
});

const LOCK = { id: "c1", version: 16, labels: {}, createdAt: 0, changedAt: 0, readAt: 0 };

describe("a lock on the swarm", () => {
  test("is a config with labels, and content for whoever finds it", async () => {
    expect(await new EngineLocks(engine).create("lock", { holder: "us" })).toBe("c1");
    const [call = ""] = heard;
    const body = JSON.parse(call.replace("POST /configs/create ", "")) as {
      Name: string;
      Labels: object;
      Data: string;
    };
    expect(body).toMatchObject({ Name: "lock", Labels: { holder: "us" } });
    expect(Buffer.from(body.Data, "base64").toString()).toMatch(/^Swarm Stack Deploy holds this/);
  });

  test("that somebody else has created is not ours", async () => {
    answers["POST /configs/create"] = [409, TAKEN];
    expect(await new EngineLocks(engine).create("lock", {})).toBeUndefined();
  });

  test("is read with the times of the swarm and of the manager", async () => {
    const read = await new EngineLocks(engine).read("lock");
    expect(read).toEqual({
      id: "c1",
      version: 16,
      labels: { holder: "us" },
      createdAt: Date.parse("2026-11-25T14:09:40.685Z"),
      changedAt: Date.parse("2026-11-25T14:09:48.764Z"),
      readAt: Date.parse("2026-11-25T14:09:50Z"),
    });
  });

  test("that is not there is none", async () => {
    expect(await new EngineLocks(engine).read("other")).toBeUndefined();
  });

  test("that can't be read is an error", async () => {
    answers["GET /configs/lock"] = [403, { message: "no" }];
    await expect(new EngineLocks(engine).read("lock")).rejects.toThrow(
      "The manager refused GET /configs/lock: no.",
    );
  });

  test("gets other labels only at the version that was read", async () => {
    expect(await new EngineLocks(engine).relabel("lock", LOCK, { holder: "me" })).toBe(true);
    expect(heard).toEqual(['POST /configs/c1/update?version=16 {"Name":"lock","Labels":{"holder":"me"}}']);
    answers["POST /configs/c1/update"] = [500, OUTDATED];
    expect(await new EngineLocks(engine).relabel("lock", LOCK, {})).toBe(false);
    delete answers["POST /configs/c1/update"];
    expect(await new EngineLocks(engine).relabel("lock", LOCK, {})).toBe(false);
    answers["POST /configs/c1/update"] = [403, { message: "no" }];
    await expect(new EngineLocks(engine).relabel("lock", LOCK, {})).rejects.toThrow("no");
  });

  test("is removed by its id, and one that is gone is gone", async () => {
    await new EngineLocks(engine).remove("c1");
    await new EngineLocks(engine).remove("c2");
    expect(heard).toEqual(["DELETE /configs/c1", "DELETE /configs/c2"]);
    answers["DELETE /configs/c1"] = [500, { message: "no" }];
    await expect(new EngineLocks(engine).remove("c1")).rejects.toThrow("no");
  });
});

test("while the lock is not ours nothing is written, but for the lock itself", async () => {
  const lost = new LockError("lost", "hint");
  engine.guard({
    makeSure: async () => await Promise.reject(lost),
    [Symbol.asyncDispose]: async () => await Promise.resolve(),
  });
  for (const method of ["POST", "DELETE"])
    await expect(json(engine, "/services/x", { method })).rejects.toBe(lost);
  expect(heard).toEqual([]);
  await json(engine, "/configs/lock");
  await new EngineLocks(engine).relabel("lock", LOCK, {});
  await new EngineLocks(engine).remove("c1");
  expect(heard).toHaveLength(3);
});

test("when the job is cancelled, nothing goes out but what is about the lock", async () => {
  stop.abort(new Cancelled("SIGTERM"));
  await expect(json(engine, "/configs/lock")).rejects.toBeInstanceOf(Cancelled);
  expect(heard).toEqual([]);
  expect((await new EngineLocks(engine).read("lock"))?.id).toBe("c1");
  await new EngineLocks(engine).remove("c1");
  expect(heard).toEqual(["GET /configs/lock", "DELETE /configs/c1"]);
});

test("a removal that gets no answer is not tried for long", async () => {
  server.closeAllConnections();
  server.close();
  await expect(new EngineLocks(engine).remove("c1")).rejects.toThrow("does not answer");
});
