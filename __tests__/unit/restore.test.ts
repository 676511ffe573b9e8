import { describe, expect, test } from "@jest/globals";
import { Cancelled, ConnectError, ManagerRefusal } from "../../src/errors.ts";
import { textAt } from "../../src/json.ts";
import { type Plan, type PlannedService, futureId } from "../../src/plan.ts";
import { type Restored, removeNetworks, restore } from "../../src/restore.ts";
import { type Survey, type Swarm } from "../../src/swarm.ts";
import { fakeClock } from "../doubles/clock.ts";
import {
  type Frame,
  type ScriptedSwarm,
  emptySurvey,
  scriptedSwarm,
  service,
  serviceSpec,
  task,
} from "../doubles/swarm.ts";
import { recordedVoice } from "../doubles/voice.ts";

const V1 = serviceSpec("app:v1");
const V2 = serviceSpec("app:v2");
const BEFORE = service({ spec: V1, version: 7 });
const SENT = service({ spec: V2, version: 12 });

function planned(changes: Partial<PlannedService> = {}): PlannedService {
  return {
    name: "web",
    change: "update",
    fields: ["image"],
    sameTemplate: false,
    wanted: V2,
    before: BEFORE,
    auth: undefined,
    ...changes,
  };
}

const NEW_SPEC = serviceSpec("a", { Name: "shop_new" });
const NEW = planned({
  name: "new",
  change: "create",
  wanted: NEW_SPEC,
  before: undefined,
});

async function restored(
  services: readonly PlannedService[],
  frames: readonly Frame[],
  changes: Partial<Swarm> = {},
  sent: readonly string[] = services.map(({ wanted }) => textAt(wanted, "Name")),
): Promise<{ result: Restored; swarm: ScriptedSwarm; said: readonly string[] }> {
  const swarm = scriptedSwarm(frames, changes);
  const voice = recordedVoice();
  const plan: Plan = { stack: "shop", services, needs: { networks: [], configs: [], secrets: [] } };
  const result = await restore(plan, new Set(sent), swarm, fakeClock(), voice);
  return { result, swarm, said: voice.said };
}

test("a service gets back the spec it had, at its present version", async () => {
  const { result, swarm, said } = await restored([planned()], [{ services: [SENT] }]);
  expect(swarm.heard).toEqual(["update shop_web at 12"]);
  expect(swarm.sent.get("s1")).toEqual(V1);
  expect(result).toEqual({
    services: [{ name: "web", serviceName: "shop_web", sent: V1 }],
    removed: [],
    failures: [],
  });
  expect(said).toEqual(["web: back to what ran before."]);
});

test("a service that Swarm has put back already is not sent the same again, which would disarm its rollback", async () => {
  const { result, swarm } = await restored([planned()], [{ services: [{ ...SENT, spec: V1 }] }]);
  expect(swarm.heard).toEqual([]);
  expect(result.services).toHaveLength(1);
});

test("a service that this deployment created is removed", async () => {
  const { result, swarm } = await restored(
    [NEW],
    [{ services: [service({ id: "s9", name: "shop_new", spec: NEW_SPEC })] }],
  );
  expect(swarm.heard).toEqual(["remove s9"]);
  expect(result).toEqual({ services: [], removed: ["new"], failures: [] });
});

test("a service that never came to be needs no removal", async () => {
  const { result, swarm } = await restored([NEW], [{ services: [] }]);
  expect(swarm.heard).toEqual([]);
  expect(result.removed).toEqual([]);
});

describe("what somebody else has changed since is theirs", () => {
  const THEIRS = "somebody else has changed it meanwhile, so it was left alone";

  test("a service that was updated", async () => {
    const theirs = { ...SENT, version: 20, spec: serviceSpec("app:v3") };
    const { result, swarm, said } = await restored([planned()], [{ services: [theirs] }]);
    expect(swarm.heard).toEqual([]);
    expect(result).toEqual({ services: [], removed: [], failures: [`web: ${THEIRS}`] });
    expect(said).toEqual([`web: could not be put back: ${THEIRS}`]);
  });

  test("a service that was created", async () => {
    const theirs = service({ id: "s9", name: "shop_new", spec: { ...NEW_SPEC, Mode: { Global: {} } } });
    const { result, swarm } = await restored([NEW], [{ services: [theirs] }]);
    expect(swarm.heard).toEqual([]);
    expect(result).toEqual({ services: [], removed: [], failures: [`new: ${THEIRS}`] });
  });

  test("even between two tries", async () => {
    const { result } = await restored(
      [planned()],
      [{ services: [SENT] }, { services: [{ ...SENT, version: 13, spec: serviceSpec("app:v3") }] }],
      { updateService: async () => await Promise.reject(new Error("update out of sequence")) },
    );
    expect(result.failures).toEqual([`web: ${THEIRS}`]);
  });
});

test("what was sent is known again by the ids that the swarm gave to its networks, configs and secrets", async () => {
  const spec = (network: string, config: string, secret: string) =>
    serviceSpec("app:v2", {
      TaskTemplate: {
        ContainerSpec: {
          Image: "app:v2",
          Configs: [{ ConfigName: "c", ConfigID: config }],
          Secrets: [{ SecretName: "s", SecretID: secret }],
        },
        Networks: [{ Target: network }],
      },
    });
  const survey = async () =>
    await Promise.resolve(
      emptySurvey({
        networks: [{ Name: "proxy", Id: "n1", Scope: "swarm" }],
        configs: [{ id: "c1", name: "c", bytes: Buffer.from("x") }],
        secrets: [{ id: "s1", name: "s" }],
      }),
    );
  for (const network of ["proxy", futureId("proxy")]) {
    const { result, swarm } = await restored(
      [planned({ wanted: spec(network, futureId("c"), futureId("s")) })],
      [{ services: [{ ...SENT, spec: spec("n1", "c1", "s1") }] }],
      { survey },
    );
    expect(result.failures).toEqual([]);
    expect(swarm.heard).toEqual(["update shop_web at 12"]);
  }
});

test.each([
  ["the job is ended", new Cancelled("SIGTERM")],
  ["the manager is gone", new ConnectError("The manager does not answer.", "")],
])("all are tried, and one reason is told once: %s", async (_fact, error) => {
  const other = planned({ name: "api", before: { ...BEFORE, id: "s2" } });
  const tried: string[] = [];
  const { result } = await restored([planned(), other], [{ services: [SENT, { ...SENT, id: "s2" }] }], {
    updateService: async ({ id }) => {
      tried.push(id);
      await Promise.reject(error);
    },
  });
  expect(tried).toEqual(["s1", "s2"]);
  expect(result.services).toEqual([]);
  expect(result.failures).toEqual([`web, api: ${error.message}`]);
});

test.each<[string, readonly string[], readonly string[]]>([
  ["none of them", [], []],
  ["only the update", ["shop_web"], ["update shop_web at 12"]],
  ["only the new one", ["shop_new"], ["remove s9"]],
  ["both", ["shop_web", "shop_new"], ["update shop_web at 12", "remove s9"]],
  ["another stack's", ["web", "other_web"], []],
])("a service that this run did not send is left alone: it sent %s", async (_fact, sent, heard) => {
  const live = [SENT, service({ id: "s9", name: "shop_new", spec: NEW_SPEC })];
  const { result, swarm, said } = await restored([planned(), NEW], [{ services: live }], {}, sent);
  expect(swarm.heard).toEqual(heard);
  expect(result.services.map(({ serviceName }) => serviceName)).toEqual(
    sent.filter((name) => name === "shop_web"),
  );
  expect(result.removed).toEqual(sent.includes("shop_new") ? ["new"] : []);
  expect(result.failures).toEqual([]);
  expect(said).toHaveLength(heard.length);
});

test("what did not change is not touched", async () => {
  const untouched = (["unchanged", "foreign", "remove"] as const).map((change) => planned({ change }));
  const { swarm } = await restored(untouched, [{ services: [SENT] }]);
  expect(swarm.heard).toEqual([]);
});

describe("the orchestrator writes to a service under update", () => {
  const outOfSequence = new Error("rpc error: code = Unknown desc = update out of sequence");

  test("so a stale version is tried again with the present one", async () => {
    const tried: number[] = [];
    const { result } = await restored(
      [planned()],
      [{ services: [SENT] }, { services: [{ ...SENT, version: 13 }] }],
      {
        updateService: async ({ version }) => {
          tried.push(version);
          if (version === 12) throw outOfSequence;
          await Promise.resolve();
        },
      },
    );
    expect(tried).toEqual([12, 13]);
    expect(result.failures).toEqual([]);
  });

  test("but not for ever", async () => {
    let tries = 0;
    const { result } = await restored([planned()], [{ services: [SENT] }], {
      updateService: async () => {
        tries += 1;
        await Promise.reject(outOfSequence);
      },
    });
    expect(tries).toBe(5);
    expect(result).toMatchObject({
      services: [],
      failures: ["web: rpc error: code = Unknown desc = update out of sequence"],
    });
  });
});

describe("one failure does not keep the others from being put back", () => {
  const API = { ...V2, Name: "shop_api" };
  const other = planned({
    name: "api",
    wanted: API,
    before: { ...BEFORE, id: "s2", name: "shop_api" },
  });

  test.each<[string, readonly Frame[], Partial<Swarm>, string]>([
    [
      "it was removed",
      [{ services: [{ ...SENT, id: "s2", name: "shop_api", spec: API }] }],
      {},
      "web: it was removed meanwhile",
    ],
    [
      "the engine refuses it",
      [{ services: [SENT, { ...SENT, id: "s2", name: "shop_api", spec: API }] }],
      {
        updateService: async ({ id }) =>
          await (id === "s1" ? Promise.reject(new Error("config not found")) : Promise.resolve()),
      },
      "web: config not found",
    ],
  ])("%s", async (_fact, frames, changes, failure) => {
    const { result } = await restored([planned(), other], frames, changes);
    expect(result.failures).toEqual([failure]);
    expect(result.services.map(({ name }) => name)).toEqual(["api"]);
  });
});

describe("networks that the deployment has created", () => {
  const network = (name: string, stack = "shop") => ({
    Id: `id-${name}`,
    Name: name,
    Labels: { "com.docker.stack.namespace": stack },
  });
  const plan: Plan = {
    stack: "shop",
    services: [],
    needs: { networks: ["proxy"], configs: [], secrets: [] },
    networks: ["shop_back"],
  };
  const on = (target: string) => ({ TaskTemplate: { Networks: [{ Target: target }] } });

  const ENDING = task({ serviceId: "gone", desiredState: "remove" });
  const ENDED = { ...ENDING, state: "shutdown" };
  const all = [network("shop_back"), network("shop_old"), network("proxy", "")];
  const without = all.slice(1);
  /** What becomes of them on a swarm that looks like these, one after the other; the last one stays. */
  async function removing(looks: readonly Partial<Survey>[], tries: number, changes: Partial<Swarm> = {}) {
    const left = [...looks];
    let present: Partial<Survey> = {};
    const swarm = scriptedSwarm([], {
      survey: async () => await Promise.resolve(emptySurvey((present = left.shift() ?? present))),
      ...changes,
    });
    const clock = fakeClock();
    const result = await removeNetworks(plan, swarm, clock, tries);
    return { ...result, heard: swarm.heard, tookMs: clock.now() };
  }

  test("go, and no other ones: what the input names is for all stacks", async () => {
    expect(await removing([{ networks: all, tasks: [ENDED] }, { networks: without }], 3)).toMatchObject({
      removed: ["shop_back"],
      failures: [],
      heard: ["remove network id-shop_back"],
    });
  });

  test("that do not exist need no removal", async () => {
    expect(await removing([{ networks: without }], 3)).toMatchObject({ removed: [], heard: [], tookMs: 0 });
  });

  test("go after the last task has ended, and are gone from the node before anything else begins", async () => {
    const ending = { networks: all, tasks: [ENDING] };
    const lingering = { networks: all };
    const looks = [ending, ending, lingering, lingering, { networks: without }];
    expect(await removing(looks, 9)).toMatchObject({
      removed: ["shop_back"],
      failures: [],
      heard: ["remove network id-shop_back"],
      tookMs: 4000,
    });
  });

  test("stay where a task does not end", async () => {
    expect(await removing([{ networks: all, tasks: [ENDING] }], 3)).toMatchObject({
      removed: [],
      failures: ["the network shop_back: 1 of the stack's tasks have yet to end"],
      heard: [],
    });
  });

  test("stay where the manager does not answer, and that is told", async () => {
    const survey = async () => await Promise.reject(new ConnectError("The manager does not answer.", ""));
    const { removed, failures } = await removing([], 3, { survey });
    expect(removed).toEqual([]);
    expect(failures).toEqual(["networks that it has created: The manager does not answer."]);
  });

  test.each([
    ["uses it", { spec: on("id-shop_back") }],
    ["would use it again, were it rolled back", { previous: on("id-shop_back") }],
  ])("stay where a service %s", async (_name, changes) => {
    const run = await removing([{ networks: all, services: [service(changes)] }], 3);
    expect(run).toMatchObject({ removed: [], failures: [], heard: [] });
  });

  test("are tried again when the swarm refuses", async () => {
    let refusals = 2;
    const removeNetwork = async (): Promise<void> => {
      refusals -= 1;
      if (refusals >= 0) throw new ManagerRefusal(400, "DELETE", "network shop_back is in use by task t1");
      await Promise.resolve();
    };
    const looks = [{ networks: all }];
    expect((await removing(looks, 2, { removeNetwork })).failures).toEqual([
      expect.stringMatching(/^the network shop_back: .*in use by task t1/),
    ]);
    refusals = 2;
    expect(await removing(looks, 4, { removeNetwork })).toMatchObject({
      removed: ["shop_back"],
      failures: [],
    });
  });
});

test("a port that was held until the others had gone back, or had been removed, is asked for once more", async () => {
  const order: string[] = [];
  const other = planned({ name: "api", before: { ...BEFORE, id: "s2" } });
  const live = [SENT, { ...SENT, id: "s2" }, service({ id: "s9", name: "shop_new", spec: NEW_SPEC })];
  const held = new ManagerRefusal(400, "POST", "port '80' is already in use");
  const { result, said } = await restored([planned(), other, NEW], [{ services: live }], {
    // The first wants what the second has, and the second what the new one has.
    updateService: async ({ id }) => {
      order.push(id);
      if (!order.includes("gone")) throw held;
      if (id === "s1" && order.filter((each) => each === "s2").length < 2) throw held;
      await Promise.resolve();
    },
    removeService: async () => await Promise.resolve(void order.push("gone")),
  });
  expect(order).toEqual(["s1", "s2", "gone", "s1", "s2", "s1"]);
  expect(result.failures).toEqual([]);
  expect(result.services.map(({ name }) => name)).toEqual(["api", "web"]);
  expect(said.join()).not.toContain("could not");
});

test("a port that stays held is told once, and not asked for without end", async () => {
  const tried: string[] = [];
  const { result } = await restored([planned()], [{ services: [SENT] }], {
    updateService: async ({ id }) => {
      tried.push(id);
      await Promise.reject(new ManagerRefusal(400, "POST", "port '80' is already in use"));
    },
  });
  expect(tried).toEqual(["s1", "s1"]);
  expect(result.failures).toEqual([expect.stringMatching(/^web: .*port '80' is already in use/)]);
});
