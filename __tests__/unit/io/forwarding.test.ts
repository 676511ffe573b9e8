import { describe, expect, test } from "@jest/globals";
import { HELD_BACK } from "../../../src/apply.ts";
import { Cancelled } from "../../../src/errors.ts";
import { type RawAnswer } from "../../../src/io/engine.ts";
import { forwarding } from "../../../src/io/forwarding.ts";
import { type PatientEngine } from "../../../src/io/steady-engine.ts";
import { type JsonObject, textAt } from "../../../src/json.ts";
import { type Write } from "../../../src/world.ts";
import { emptySurvey, service, serviceSpec } from "../../doubles/swarm.ts";

const NEVER = new AbortController().signal;

interface Manager extends PatientEngine {
  /** What it was asked, when it begins and ends with it. */
  readonly heard: string[];
}

/** Takes every write but those of the names in `refuses`; falls silent over those in `silent`. */
function manager(refuses: readonly string[] = [], silent: readonly string[] = []): Manager {
  const heard: string[] = [];
  return {
    apiVersion: "1.41",
    info: {},
    isOver: () => false,
    heard,
    send: async (path, { body }): Promise<RawAnswer> => {
      const name = textAt(body, "Name");
      heard.push(`${path} ${name}`);
      await new Promise((done) => setImmediate(done));
      heard.push(`answered ${name}`);
      if (silent.includes(name)) throw new Cancelled("SIGTERM");
      const answer: JsonObject = refuses.includes(name)
        ? { message: `${name} is refused` }
        : { ID: `id-${name}`, Id: `id-${name}` };
      return {
        status: refuses.includes(name) ? 400 : 201,
        body: Buffer.from(JSON.stringify(answer)),
        date: "",
      };
    },
  };
}

function create(kind: string, name: string): Write {
  return { method: "POST", path: `/${kind}s/create`, body: { Name: name }, auth: undefined };
}

function begun(engine: Manager): string[] {
  return engine.heard.filter((line) => line.startsWith("/"));
}

describe("several dockers that send at once", () => {
  test("have their services sent side by side, and it is noted which were taken", async () => {
    const engine = manager();
    const sent: string[] = [];
    const { onWrite } = forwarding(engine, emptySurvey(), NEVER, (name) => sent.push(name));
    const answers = await Promise.all(
      ["a", "b"].map(async (name) => await onWrite(create("service", name), "")),
    );
    expect(answers.map(({ status }) => status)).toEqual([201, 201]);
    expect(engine.heard.slice(0, 2)).toEqual(["/services/create a", "/services/create b"]);
    expect(sent).toEqual(["a", "b"]);
  });

  test("create a network that both want once, and hear the one answer", async () => {
    const engine = manager();
    const { onWrite, created } = forwarding(engine, emptySurvey(), NEVER, () => undefined);
    const asked = ["net", "net", "other", "net"].map(
      async (name) => await onWrite(create("network", name), ""),
    );
    const answers = await Promise.all(asked);
    expect(answers.map(({ body }) => textAt(body, "Id"))).toEqual(["id-net", "id-net", "id-other", "id-net"]);
    expect(created.networks).toEqual(
      new Map([
        ["net", "id-net"],
        ["other", "id-other"],
      ]),
    );
    // One after the other: two at once may get one subnet.
    expect(engine.heard).toEqual([
      "/networks/create net",
      "answered net",
      "/networks/create other",
      "answered other",
    ]);
  });

  test("create a secret that a driver has, whose id specs hold", async () => {
    const { onWrite, created } = forwarding(manager(), emptySurvey(), NEVER, () => undefined);
    await onWrite(create("secret", "shop_vault"), "");
    expect([...created.secrets.keys()]).toEqual(["shop_vault"]);
    expect(created.secrets.get("shop_vault")).not.toBe("");
  });

  test("have nothing more sent once one of them was refused", async () => {
    const engine = manager(["bad"]);
    const sent: string[] = [];
    const { onWrite } = forwarding(engine, emptySurvey(), NEVER, (name) => sent.push(name));
    await onWrite(create("service", "good"), "");
    const refused = await onWrite(create("service", "bad"), "");
    const late = await onWrite(create("service", "late"), "");
    const network = await onWrite(create("network", "net"), "");
    expect(refused).toEqual({ status: 400, body: { message: "bad is refused" } });
    expect([late, network].map(({ body }) => textAt(body, "message"))).toEqual([HELD_BACK, HELD_BACK]);
    expect(begun(engine)).toEqual(["/services/create good", "/services/create bad"]);
    expect(sent).toEqual(["good"]);
  });

  test("all hear that a common network was refused, and the next is held back", async () => {
    const engine = manager(["net"]);
    const { onWrite, created } = forwarding(engine, emptySurvey(), NEVER, () => undefined);
    const asked = ["net", "net", "other"].map(async (name) => await onWrite(create("network", name), ""));
    const said = (await Promise.all(asked)).map(({ body }) => textAt(body, "message"));
    expect(said).toEqual(["net is refused", "net is refused", HELD_BACK]);
    expect(created.networks.size).toBe(0);
  });

  test("count a service that got no answer as sent, and send nothing more", async () => {
    const engine = manager([], ["lost"]);
    const sent: string[] = [];
    const { onWrite } = forwarding(engine, emptySurvey(), NEVER, (name) => sent.push(name));
    await expect(onWrite(create("service", "lost"), "")).rejects.toThrow(Cancelled);
    expect(textAt((await onWrite(create("service", "late"), "")).body, "message")).toBe(HELD_BACK);
    expect(sent).toEqual(["lost"]);
  });
});

describe("an update whose version is stale by the time it is sent", () => {
  const before = service({ version: 7 });
  const write = {
    method: "POST",
    path: "/services/s1/update",
    body: serviceSpec("app:v2"),
    auth: undefined,
  };

  /** A manager on which the service has had its present version since just now, and this spec. */
  function refusingOnce(spec: JsonObject, present = 9): { engine: PatientEngine; asked: string[] } {
    const asked: string[] = [];
    const engine = {
      apiVersion: "1.41",
      info: {},
      isOver: () => false,
      send: async (path: string): Promise<RawAnswer> => {
        asked.push(path);
        const stale = path.includes("/update") && !path.includes(`version=${present}`);
        const body = stale
          ? { message: "rpc error: code = Unknown desc = update out of sequence" }
          : { ID: "s1", Version: { Index: present }, Spec: spec };
        const raw = Buffer.from(JSON.stringify(body));
        return await Promise.resolve({ status: stale ? 500 : 200, body: raw, date: "" });
      },
    };
    return { engine, asked };
  }

  test("because the orchestrator wrote to the service is sent for the version of now", async () => {
    const { engine, asked } = refusingOnce(before.spec);
    const sent: string[] = [];
    const survey = emptySurvey({ services: [before] });
    const { onWrite } = forwarding(engine, survey, NEVER, (name) => sent.push(name));
    expect(await onWrite(write, "?version=7&registryAuthFrom=spec")).toMatchObject({ status: 200 });
    expect(asked).toEqual([
      "/services/s1/update?version=7&registryAuthFrom=spec",
      "/services/s1",
      "/services/s1/update?version=9&registryAuthFrom=spec",
    ]);
    expect(sent).toEqual(["shop_web"]);
  });

  test("because somebody else changed the service is refused: that was not planned for", async () => {
    const { engine, asked } = refusingOnce(serviceSpec("app:v3"));
    const survey = emptySurvey({ services: [before] });
    const { onWrite } = forwarding(engine, survey, NEVER, () => undefined);
    expect(await onWrite(write, "?version=7")).toMatchObject({ status: 500 });
    expect(asked).toEqual(["/services/s1/update?version=7", "/services/s1"]);
  });
});
