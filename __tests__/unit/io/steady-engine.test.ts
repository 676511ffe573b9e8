import { once } from "node:events";
import { type Server, createServer } from "node:http";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { ConnectError } from "../../../src/errors.ts";
import { EngineApi } from "../../../src/io/engine.ts";
import { SteadyEngine } from "../../../src/io/steady-engine.ts";
import { temporaryFolder } from "../../doubles/folder.ts";

const NEVER = new AbortController().signal;
let folder = temporaryFolder();
let server: Server;
let asked: string[];
beforeEach(async () => {
  folder = temporaryFolder();
  asked = [];
  server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    response.end("{}");
  });
  server.listen(join(folder.path, "d.sock"));
  await once(server, "listening");
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
  folder[Symbol.dispose]();
});

/** One connection, to an engine that shows to be a manager when `verified` says so; there is no other one. */
function engineThat(verified: Promise<void>): SteadyEngine {
  verified.catch(() => undefined);
  const api = EngineApi.at(`unix://${join(folder.path, "d.sock")}`, NEVER);
  const dispose = async (): Promise<void> => await Promise.resolve(api.close());
  const reached = { api, address: "m1", lost: () => undefined, verified, [Symbol.asyncDispose]: dispose };
  const noOther = async (): Promise<never> => await Promise.reject(new Error("nobody else is asked"));
  return new SteadyEngine(reached, noOther, 1000, NEVER, () => undefined);
}

const WRITE = { method: "POST", body: {} };

describe("before an engine has shown to be a manager", () => {
  test("questions go out, answers wait, and nothing is written", async () => {
    let show = (): void => undefined;
    await using engine = engineThat(new Promise((resolve) => (show = resolve)));
    const told: string[] = [];
    const reading = engine.send("/services", {}).then(() => told.push("read"));
    const writing = engine.send("/services/create", WRITE).then(() => told.push("written"));
    while (asked.length === 0) await new Promise((done) => setTimeout(done, 5));
    await new Promise((done) => setTimeout(done, 50));
    expect(asked).toEqual(["GET /services"]);
    expect(told).toEqual([]);
    show();
    await Promise.all([reading, writing]);
    expect(asked).toEqual(["GET /services", "POST /services/create"]);
  });

  test("that it is none is what everybody hears", async () => {
    const why = new ConnectError("m1 is a worker.", "Give a manager.");
    await using engine = engineThat(Promise.reject(why));
    await expect(engine.send("/services", {})).rejects.toBe(why);
    await expect(engine.send("/services/create", WRITE)).rejects.toBe(why);
    expect(asked).toEqual(["GET /services"]);
  });
});
