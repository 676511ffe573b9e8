import { once } from "node:events";
import { type IncomingMessage, type ServerResponse, createServer } from "node:http";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { Cancelled, ConnectError } from "../../../src/errors.ts";
import { EngineApi, Timeout, json } from "../../../src/io/engine.ts";
import { EngineSwarm } from "../../../src/io/engine-swarm.ts";
import { type Reached, SteadyEngine, pauseBefore } from "../../../src/io/steady-engine.ts";
import { sendWrite } from "../../../src/io/write.ts";
import { temporaryFolder } from "../../doubles/folder.ts";

let folder = temporaryFolder();
beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(() => folder[Symbol.dispose]());

type Serve = (request: IncomingMessage, response: ServerResponse) => void;
const NEVER = new AbortController().signal;
const REFUSED = new ConnectError("Nothing listens.", "Check the host.", undefined, "passing");

/** A manager on a real socket: it answers when it is greeted, and leaves the rest to `serve`. */
async function manager(address: string, serve: Serve): Promise<Reached> {
  let lost: string | undefined;
  const server = createServer((request, response) => {
    request.on("close", () => (lost = response.writableEnded ? undefined : "the server ended the session"));
    if (request.url === "/info") response.writeHead(200, { "api-version": "1.41" }).end("{}");
    else serve(request, response);
  });
  const socket = join(folder.path, `${address}.sock`);
  server.listen(socket);
  await once(server, "listening");
  const api = EngineApi.at(`unix://${socket}`, NEVER);
  await api.greet();
  const close = async (): Promise<void> => {
    api.close();
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  };
  return { api, address, lost: () => lost, verified: Promise.resolve(), [Symbol.asyncDispose]: close };
}

const works: Serve = (_request, response) => void response.end('{"ok":true}');
const hangsUp: Serve = (request) => void request.socket.destroy();
const isSilent: Serve = () => undefined;

function steady(first: Reached, reach: () => Promise<Reached>, signal = NEVER) {
  const said: string[] = [];
  return Object.assign(new SteadyEngine(first, reach, signal, (line) => void said.push(line)), { said });
}

describe("the pause before a try", () => {
  test.each([
    [1, 250, 500],
    [2, 500, 1000],
    [4, 2000, 4000],
    [5, 4000, 8000],
    [50, 4000, 8000],
  ])("number %d takes between %d and %d ms", (attempt, least, most) => {
    expect(pauseBefore(attempt, 0)).toBe(least);
    expect(pauseBefore(attempt, 1)).toBe(most);
  });

  test("is never quite the same, so that several runners don't come back in step", () => {
    expect(new Set(Array.from({ length: 20 }, () => pauseBefore(3))).size).toBeGreaterThan(10);
  });
});

describe("a connection that is lost", () => {
  test("is opened again, and what only reads is asked again", async () => {
    await using engine = steady(await manager("m1", hangsUp), async () => await manager("m2", works));
    expect(await json(engine, "/info")).toEqual({ ok: true });
    expect(engine.address).toBe("m2");
    expect(engine.lost).toBeUndefined();
    expect(engine.said).toEqual([
      "The connection to m1 was lost (the server ended the session); connecting again.",
      "Connected to the manager m2 again.",
    ]);
  });

  test("tells which manager takes the place of the one that was in use", async () => {
    const told: string[] = [];
    await using engine = steady(await manager("m1", hangsUp), async () => await manager("m2", works));
    engine.onManager((address) => void told.push(address));
    expect(told).toEqual(["m1"]);
    await json(engine, "/info");
    expect(told).toEqual(["m1", "m2"]);
  });

  test("is opened once, however many were waiting for an answer", async () => {
    let opened = 0;
    await using engine = steady(await manager("m1", hangsUp), async () => {
      opened += 1;
      return await manager("m2", works);
    });
    await Promise.all(["/a", "/b", "/c", "/d"].map(async (path) => await json(engine, path)));
    expect(opened).toBe(1);
  });

  test("a write is not sent again: whether it happened is for somebody else to find out", async () => {
    await using engine = steady(await manager("m1", hangsUp), async () => await manager("m2", works));
    const sending = engine.send("/services/create", { method: "POST", body: {} });
    await expect(sending).rejects.toThrow("The manager m1 does not answer (the server ended the session).");
    expect(engine.address).toBe("m1");
  });

  test("is given up when the deadline has come; until then it is said to be lost", async () => {
    let tries = 0;
    await using engine = steady(await manager("m1", hangsUp), async () => {
      tries += 1;
      return await Promise.reject(REFUSED);
    });
    const start = Date.now();
    engine.waitUntil(start + 700);
    await expect(json(engine, "/info")).rejects.toBe(REFUSED);
    expect(tries).toBeGreaterThanOrEqual(2);
    expect(Date.now() - start).toBeGreaterThanOrEqual(700);
    expect(Date.now() - start).toBeLessThan(2500);
    expect(engine.lost).toBe("the server ended the session");

    // The time is not spent a second time: whoever comes afterwards gets one more try.
    tries = 0;
    await expect(json(engine, "/services")).rejects.toBe(REFUSED);
    expect(tries).toBe(1);
    expect(engine.said).toHaveLength(1);
  });

  test("is not opened again where that can't help", async () => {
    let tries = 0;
    const wrongKey = new ConnectError("The host key is not the expected one.", "Check it.");
    await using engine = steady(await manager("m1", hangsUp), async () => {
      tries += 1;
      return await Promise.reject(wrongKey);
    });
    await expect(json(engine, "/info")).rejects.toBe(wrongKey);
    expect(tries).toBe(1);
  });

  test("and a job that is cancelled: nobody waits for the next try", async () => {
    const stop = new AbortController();
    await using engine = steady(
      await manager("m1", hangsUp),
      async () => await Promise.reject(REFUSED),
      stop.signal,
    );
    setTimeout(() => stop.abort(new Cancelled("SIGTERM")), 50);
    const start = Date.now();
    await expect(json(engine, "/info")).rejects.toThrow(Cancelled);
    expect(Date.now() - start).toBeLessThan(240);
  });
});

describe("a swarm without a leader", () => {
  const leaderless: Serve = (_request, response) =>
    void response.writeHead(503).end('{"message":"The swarm does not have a leader."}');

  test("is asked again, and that is said once", async () => {
    let asked = 0;
    const elects: Serve = (request, response) => ((asked += 1) <= 2 ? leaderless : works)(request, response);
    await using engine = steady(await manager("m1", elects), async () => await Promise.reject(REFUSED));
    expect(await json(engine, "/services")).toEqual({ ok: true });
    expect(engine.said).toEqual([
      "The swarm has no leader at the moment (The swarm does not have a leader.); asking again.",
    ]);
  });

  test("until the deadline", async () => {
    await using engine = steady(await manager("m1", leaderless), async () => await Promise.reject(REFUSED));
    engine.waitUntil(Date.now() + 300);
    await expect(json(engine, "/services")).rejects.toThrow("The swarm does not have a leader");
  });

  test("takes no write a second time without a look, and none once the job is cancelled", async () => {
    const heard: string[] = [];
    const serve: Serve = (request, response) => {
      heard.push(`${request.method} ${request.url?.replace(/\?.*/, "")}`);
      if (request.method === "POST") leaderless(request, response);
      else response.end("[]");
    };
    const stop = new AbortController();
    await using engine = steady(await manager("m1", serve), async () => await Promise.reject(REFUSED));
    const write = { method: "POST", path: "/services/create", body: { Name: "shop_web" }, auth: undefined };
    const sending = sendWrite(engine, write, "", stop.signal);
    setTimeout(() => stop.abort(new Cancelled("SIGINT")), 150);
    await expect(sending).rejects.toThrow(Cancelled);
    expect(heard).toEqual(["POST /v1.41/services/create", "GET /v1.41/services"]);
  });
});

describe("a write whose answer says no leader, or is lost", () => {
  const NETWORK = { Name: "shop_default", Labels: { "com.docker.stack.namespace": "shop" } };
  const network = { method: "POST", path: "/networks/create", body: NETWORK, auth: undefined };

  test("is found done where it was carried out late, and not sent again", async () => {
    let posts = 0;
    const serve: Serve = (request, response) => {
      if (request.method === "GET") response.end(JSON.stringify([{ ...NETWORK, Id: "n1" }]));
      else if ((posts += 1) === 1) request.socket.destroy();
    };
    const first = await manager("m1", serve);
    await using engine = steady(first, async () => await manager("m2", serve));
    expect(await sendWrite(engine, network, "", NEVER)).toEqual({ status: 201, body: { Id: "n1" } });
    expect(posts).toBe(1);
  });

  test("is sent again where it was not; that the first try was only late is no refusal", async () => {
    const heard: string[] = [];
    const serve: Serve = (request, response) => {
      heard.push(request.method ?? "");
      const posts = heard.filter((method) => method === "POST").length;
      if (request.method === "GET")
        response.end(posts === 1 ? "[]" : JSON.stringify([{ ...NETWORK, Id: "n1" }]));
      else if (posts === 1) response.writeHead(500).end('{"message":"code = DeadlineExceeded"}');
      else response.writeHead(409).end('{"message":"network with name shop_default already exists"}');
    };
    await using engine = steady(await manager("m1", serve), async () => await Promise.reject(REFUSED));
    expect(await sendWrite(engine, network, "", NEVER)).toEqual({ status: 201, body: { Id: "n1" } });
    expect(heard).toEqual(["POST", "GET", "POST", "GET"]);
  });

  test("is refused as the manager says, where nothing was done", async () => {
    let posts = 0;
    const serve: Serve = (request, response) => {
      if (request.method === "GET") response.end("[]");
      else if ((posts += 1) === 1) response.writeHead(500).end('{"message":"code = DeadlineExceeded"}');
      else response.writeHead(500).end('{"message":"update out of sequence"}');
    };
    await using engine = steady(await manager("m1", serve), async () => await Promise.reject(REFUSED));
    const write = {
      method: "POST",
      path: "/services/s1/update",
      body: { Name: "shop_web" },
      auth: undefined,
    };
    expect(await sendWrite(engine, write, "?version=7", NEVER)).toEqual({
      status: 500,
      body: { message: "update out of sequence" },
    });
  });

  test("is given up at the deadline", async () => {
    const serve: Serve = (request, response) =>
      void (request.method === "GET"
        ? response.end("[]")
        : response.writeHead(503).end('{"message":"The swarm does not have a leader."}'));
    await using engine = steady(await manager("m1", serve), async () => await Promise.reject(REFUSED));
    engine.waitUntil(Date.now() + 400);
    expect(await sendWrite(engine, network, "", NEVER)).toMatchObject({ status: 503 });
  });
});

describe("what a manager has to ask others for", () => {
  test("may take its time: the connection is not to blame", async () => {
    await using engine = steady(await manager("m1", isSilent), async () => await manager("m2", works));
    const asking = engine.send("/tasks/t1/logs", { deadlineMs: 100 });
    await expect(asking).rejects.toThrow("no answer within 0.1 s");
    expect(engine.said).toEqual([]);
    expect(engine.address).toBe("m1");
  });

  test("a node that does not send a task's log is named as the reason", async () => {
    const engine = {
      apiVersion: "1.41",
      info: null,
      isOver: () => false,
      send: async () => await Promise.reject(new Timeout(1)),
    };
    const swarm = new EngineSwarm(engine, () => "m1", NEVER);
    await expect(swarm.taskLogs("t1", 10)).rejects.toThrow("the node did not send it within 8 s");
    expect(await swarm.askRegistry("app:v1", undefined)).toEqual({
      kind: "refused",
      status: 504,
      message: "the registry did not answer within 60 s",
    });
  });
});

describe("before an engine has shown to be a manager", () => {
  const noOther = async (): Promise<never> => await Promise.reject(new Error("nobody else is asked"));
  const write = { method: "POST", body: {} };

  /** It notes what it is asked. */
  async function engineThat(verified: Promise<void>): Promise<{ engine: SteadyEngine; asked: string[] }> {
    verified.catch(() => undefined);
    const asked: string[] = [];
    const reached = await manager("m1", (request, response) => {
      asked.push(`${request.method} ${request.url}`);
      response.end("{}");
    });
    return { engine: steady({ ...reached, verified }, noOther), asked };
  }

  test("questions go out, answers wait, and nothing is written", async () => {
    let show = (): void => undefined;
    const { engine, asked } = await engineThat(new Promise((resolve) => (show = resolve)));
    await using _ = engine;
    const told: string[] = [];
    const reading = engine.send("/services", {}).then(() => told.push("read"));
    const writing = engine.send("/services/create", write).then(() => told.push("written"));
    while (asked.length === 0) await new Promise((done) => setTimeout(done, 5));
    await new Promise((done) => setTimeout(done, 50));
    expect(asked).toEqual(["GET /v1.41/services"]);
    expect(told).toEqual([]);
    show();
    await Promise.all([reading, writing]);
    expect(asked).toEqual(["GET /v1.41/services", "POST /v1.41/services/create"]);
  });

  test("that it is none is what everybody hears", async () => {
    const why = new ConnectError("m1 is a worker.", "Give a manager.");
    const { engine, asked } = await engineThat(Promise.reject(why));
    await using _ = engine;
    await expect(engine.send("/services", {})).rejects.toBe(why);
    await expect(engine.send("/services/create", write)).rejects.toBe(why);
    expect(asked).toEqual(["GET /v1.41/services"]);
  });
});
