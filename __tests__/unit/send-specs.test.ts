import { describe, expect, test } from "@jest/globals";
import { ConnectError, ManagerRefusal, describe as inWords } from "../../src/errors.ts";
import { textAt } from "../../src/json.ts";
import { type PlannedService, futureId } from "../../src/plan.ts";
import { sendSpecs } from "../../src/send-specs.ts";
import { type ServiceSpec, type Swarm } from "../../src/swarm.ts";
import { emptySurvey, service, serviceSpec } from "../doubles/swarm.ts";
import { scriptedWorld } from "../doubles/world.ts";

const NOW = service({ spec: serviceSpec("app:v2"), version: 7 });

function update(changes: Partial<PlannedService> = {}): PlannedService {
  const rest = { name: "web", fields: ["image"], sameTemplate: false, auth: "AUTH" };
  return { ...rest, change: "update", wanted: serviceSpec("app:v1"), before: NOW, ...changes };
}

function creation(name: string, spec: ServiceSpec = {}): PlannedService {
  return update({ name, change: "create", wanted: { Name: `shop_${name}`, ...spec }, before: undefined });
}

async function sent(
  services: readonly PlannedService[],
  swarm: Partial<Swarm> = {},
  networks: readonly string[] = [],
  lives: readonly ReturnType<typeof service>[] = [NOW],
) {
  const world = scriptedWorld({ files: {}, specs: [], frames: [{ services: lives }], swarm });
  const session = await world.connect(undefined);
  const plan = { stack: "shop", services, needs: { networks, configs: [], secrets: [] } };
  const definitions = new Map(networks.map((name) => [name, { Driver: "overlay", Internal: true }]));
  const names: string[] = [];
  const result = await sendSpecs(
    { plan, survey: emptySurvey() },
    definitions,
    world,
    session,
    (name) => void names.push(name),
  ).then(
    (created) => created.networks,
    (error: unknown) => (error instanceof ManagerRefusal ? error.said : inWords(problemOf(error))),
  );
  return { result, names, heard: world.transcript.filter((line) => line.startsWith("  > swarm")) };
}

function problemOf(error: unknown) {
  const [problem] = (error as ConnectError).problems;
  return problem ?? { message: String(error) };
}

test("what changes is updated at the version that was surveyed, what is gone is created, the rest is left alone", async () => {
  const same = update({ name: "same", change: "unchanged" });
  const { result, names, heard } = await sent([update(), creation("new"), same]);
  expect(heard).toEqual(["  > swarm: update shop_web at 7", "  > swarm: create service shop_new"]);
  expect(names.toSorted()).toEqual(["shop_new", "shop_web"]);
  expect(result).toEqual(new Map());
});

test("networks are made first, as they were, and their ids take the place of what the plan had", async () => {
  const specs: ServiceSpec[] = [];
  const definitions: unknown[] = [];
  const attached = creation("new", { TaskTemplate: { Networks: [{ Target: futureId("shop_side") }] } });
  const { result } = await sent(
    [attached],
    {
      createNetwork: async (_name, definition) => await Promise.resolve((definitions.push(definition), "n1")),
      createService: async (spec) => await Promise.resolve(void specs.push(spec)),
    },
    ["shop_side"],
  );
  expect(definitions).toEqual([{ Driver: "overlay", Internal: true }]);
  expect(specs).toEqual([{ Name: "shop_new", TaskTemplate: { Networks: [{ Target: "n1" }] } }]);
  expect(result).toEqual(new Map([["shop_side", "n1"]]));
});

describe("a version that has grown stale meanwhile", () => {
  const stale = (version: number) => ({
    updateService: async (each: { version: number }) =>
      await (each.version === version
        ? Promise.resolve()
        : Promise.reject(new ManagerRefusal(500, "POST", "update out of sequence"))),
  });

  test("is read again where the spec is still what it was", async () => {
    const { names } = await sent([update()], stale(9), [], [{ ...NOW, version: 9 }]);
    expect(names).toEqual(["shop_web"]);
  });

  test("is somebody else's work where it is not", async () => {
    const theirs = { ...NOW, version: 9, spec: serviceSpec("app:v3") };
    const { result, names } = await sent([update()], stale(9), [], [theirs]);
    expect(names).toEqual([]);
    expect(result).toMatch(/^The service shop_web could not be sent: somebody else has changed it meanwhile/);
    expect(result).toMatch(/run this job again when they are done\.$/);
  });
});

describe("after one that failed", () => {
  const many = Array.from({ length: 12 }, (_, at) => creation(`s${at}`));
  const failing = (failure: Error, asked: string[]): Partial<Swarm> => ({
    createService: async (spec) => {
      asked.push(textAt(spec, "Name"));
      return await (asked.length === 1 ? Promise.reject(failure) : Promise.resolve());
    },
  });

  test("nothing more is sent, and a refused one counts as not sent", async () => {
    const asked: string[] = [];
    const { result, names } = await sent(
      many,
      failing(new ManagerRefusal(400, "POST", "no such mode"), asked),
    );
    expect(asked).toHaveLength(8); // As many as are on their way at once.
    expect(names).not.toContain("shop_s0");
    expect(result).toMatch(
      /^The service shop_s0 could not be sent: The manager refused POST: no such mode\./,
    );
  });

  test("one that got no answer may have been taken", async () => {
    const { names } = await sent(many, failing(new ConnectError("gone", "look"), []));
    expect(names).toContain("shop_s0");
  });
});
