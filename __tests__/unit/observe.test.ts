import { describe, expect, test } from "@jest/globals";
import { Cancelled, ConnectError, DeployError, ManagerRefusal } from "../../src/errors.ts";
import { type Observation, type WatchRequest, type Watched, observe, watched } from "../../src/observe.ts";
import { fakeClock } from "../doubles/clock.ts";
import { type Swarm, type Task } from "../../src/swarm.ts";
import { type Frame, node, scriptedSwarm, service, serviceSpec, task } from "../doubles/swarm.ts";

const V2 = serviceSpec("app:v2");
const NEW = service({ spec: V2 });
const PULLING: Frame = { services: [NEW], tasks: [task({ state: "preparing" })] };
const RUNNING: Frame = { services: [NEW], tasks: [task()] };
const CRASHED: Frame = {
  services: [NEW],
  tasks: [task({ state: "failed", error: "task: non-zero exit (3)" })],
};
const DEAF = new ConnectError("connect ECONNREFUSED.", "Check the address.");

function times<T>(count: number, item: T): T[] {
  return Array.from({ length: count }, () => item);
}

const REQUEST: WatchRequest = {
  stack: "shop",
  startedAt: 1_000_000,
  services: [{ name: "web", serviceName: "shop_web", sent: V2 }],
  oldFailures: new Set(),
  networkIds: new Map(),
  seen: undefined,
  timeoutMs: 600_000,
  stableForMs: 15_000,
  endOnFailure: true,
};

async function seen(frames: readonly Frame[], changes: Partial<WatchRequest> = {}): Promise<Observation[]> {
  const request: WatchRequest = { ...REQUEST, ...changes };
  const observations: Observation[] = [];
  for await (const each of observe(scriptedSwarm(frames), fakeClock(1_000_000), request))
    observations.push(each);
  return observations;
}

async function last(
  frames: readonly Frame[],
  changes: Partial<WatchRequest> = {},
): Promise<Observation | undefined> {
  return (await seen(frames, changes)).at(-1);
}

describe("the end", () => {
  test("comes when everything has been as sent for long enough", async () => {
    const end = await last([PULLING, PULLING, RUNNING]);
    expect(end).toMatchObject({ end: "stable" });
    expect(end?.stableMs).toBeGreaterThanOrEqual(15_000);
    expect(end?.stableMs).toBeLessThan(17_000);
  });

  test("a break starts the wait anew", async () => {
    const observations = await seen([...times(10, RUNNING), PULLING, RUNNING]);
    expect(observations.map(({ stableMs }) => stableMs === undefined).filter(Boolean)).toHaveLength(1);
    expect(observations.at(-1)?.elapsedMs).toBeGreaterThanOrEqual(15_000 + 11 * 700);
  });

  test("does not come while nobody looked: a minute in which the runner stood still is no minute watched", async () => {
    const clock = fakeClock(1_000_000);
    const sleepsOnceForAMinute = async (ms: number): Promise<void> =>
      await clock.sleep(clock.now() === 1_000_000 ? 60_000 : ms);
    const observations: Observation[] = [];
    const swarm = scriptedSwarm([RUNNING, RUNNING, RUNNING, CRASHED]);
    for await (const each of observe(swarm, { ...clock, sleep: sleepsOnceForAMinute }, REQUEST))
      observations.push(each);
    expect(observations.map(({ stableMs, end }) => [stableMs, end])).toEqual([
      [0, undefined],
      [5000, undefined],
      [5700, undefined],
      [undefined, "failed"],
    ]);
  });

  test("comes without a look where all that a look would show is known", async () => {
    const asked: string[] = [];
    const swarm = scriptedSwarm([], {
      services: async () => await Promise.resolve((asked.push("services"), [])),
    });
    const known = { services: [NEW], tasks: [task()] };
    const observations: Observation[] = [];
    for await (const each of observe(swarm, fakeClock(0), { ...REQUEST, seen: known, stableForMs: 0 }))
      observations.push(each);
    expect(observations.map(({ end }) => end)).toEqual(["stable"]);
    expect(asked).toEqual([]);
  });

  test("is judged by what is seen next, where what was known does not settle it", async () => {
    const known = { services: [NEW], tasks: [task({ state: "preparing" })] };
    const observations = await seen([RUNNING], { seen: known, stableForMs: 0 });
    expect(observations.map(({ end }) => end)).toEqual([undefined, "stable"]);
  });

  test("comes at once where nothing has to be waited for", async () => {
    expect(await seen([RUNNING], { stableForMs: 0 })).toMatchObject([{ end: "stable", elapsedMs: 0 }]);
  });

  test("comes at once when a service has failed", async () => {
    expect(await seen([PULLING, CRASHED, RUNNING])).toMatchObject([{ end: undefined }, { end: "failed" }]);
  });

  test("does not come with a failure while things are put back, whose task is remembered for long", async () => {
    const again = [...(CRASHED as { tasks: readonly Task[] }).tasks, task({ id: "t2" })];
    for (const update of [undefined, { state: "paused", message: "" }]) {
      const services = [service({ spec: V2, update })];
      const end = await last([CRASHED, { services, tasks: again }], { endOnFailure: false });
      expect(end).toMatchObject({ end: "stable" });
      expect(end?.elapsedMs).toBeLessThan(20_000);
    }
  });

  test.each([
    ["another spec", [service({ spec: serviceSpec("app:v1") })]],
    ["no service", []],
  ])("comes with %s there even then: that does not mend itself", async (_what, services) => {
    const end = await last([RUNNING, { services, tasks: [task()] }], { endOnFailure: false });
    expect(end).toMatchObject({ end: "failed" });
    expect(end?.elapsedMs).toBeLessThan(2000);
  });

  test("comes soon where the last task has ended and Swarm starts none again", async () => {
    const spec = serviceSpec("app:v2", {
      TaskTemplate: { ContainerSpec: { Image: "app:v2" }, RestartPolicy: { Condition: "none" } },
    });
    const old = task({
      id: "old",
      state: "failed",
      desiredState: "shutdown",
      error: "task: non-zero exit (7)",
    });
    const changes = {
      services: [{ name: "web", serviceName: "shop_web", sent: spec, untouched: true }],
      oldFailures: new Set(["old"]),
    };
    const end = await last([{ services: [service({ spec })], tasks: [old] }], changes);
    expect(end?.end).toBe("failed");
    expect(end?.elapsedMs).toBeLessThan(12_000);
    expect(end?.verdicts.get("web")).toMatchObject({
      detail: expect.stringMatching(/^0\/1 running, and Swarm starts none of its tasks again/) as unknown,
      tasks: [{ id: "old" }],
    });
    // It waits for its restart.
    const waits = task({ state: "ready", desiredState: "ready" });
    expect(
      await last(
        [
          ...times(20, { services: [service({ spec })], tasks: [old, waits] }),
          { services: [service({ spec })], tasks: [old, task()] },
        ],
        changes,
      ),
    ).toMatchObject({ end: "stable" });
  });

  test("comes with a task that has vanished from under us, but not with one whose node is gone", async () => {
    const frames: Frame[] = [RUNNING, { services: [NEW], tasks: [task({ id: "t2" })] }];
    const end = await last(frames);
    expect(end?.verdicts.get("web")).toMatchObject({ kind: "failed", tasks: [{ id: "t1" }] });
    const observations: Observation[] = [];
    const swarm = scriptedSwarm(frames, {
      nodes: async () => await Promise.resolve([node({ state: "down" })]),
    });
    for await (const each of observe(swarm, fakeClock(0), REQUEST)) observations.push(each);
    expect(observations.at(-1)?.end).toBe("stable");
  });

  test("comes with a one-shot task that its failing health check has ended well", async () => {
    const spec = serviceSpec("app:v2", {
      TaskTemplate: { ContainerSpec: { Image: "app:v2" }, RestartPolicy: { Condition: "on-failure" } },
    });
    const done = task({ state: "complete", desiredState: "shutdown" });
    const frame: Frame = { services: [service({ spec })], tasks: [done] };
    const services = [{ name: "web", serviceName: "shop_web", sent: spec }];
    expect(await last([frame], { services })).toMatchObject({ end: "stable" });
    expect(
      await last([frame], { services: [{ ...services[0], checksItself: true } as Watched] }),
    ).toMatchObject({ end: "failed" });
    const facts = { outOfMemory: false, unhealthy: true, probes: [] };
    const swarm = scriptedSwarm([frame], { containerFacts: async () => await Promise.resolve(facts) });
    let end: unknown;
    for await (const each of observe(swarm, fakeClock(0), { ...REQUEST, services })) ({ end } = each);
    expect(end).toBe("failed");
  });

  test("comes when time is up", async () => {
    const end = await last([PULLING], { timeoutMs: 60_000 });
    expect(end).toMatchObject({ end: "timeout", stableMs: undefined });
    expect(end?.elapsedMs).toBeGreaterThanOrEqual(60_000);
    expect(end?.elapsedMs).toBeLessThan(62_000);
  });

  test("counts from the first service sent, which may be earlier than the first look", async () => {
    const startedAt = 1_000_000 - 59_000;
    const observations = await seen([PULLING], { startedAt, timeoutMs: 60_000 });
    expect(observations[0]?.elapsedMs).toBe(59_000);
    expect(observations.at(-1)).toMatchObject({ end: "timeout" });
    expect(observations.at(-1)?.elapsedMs).toBeLessThan(62_000);
  });

  test("of time does not cut off a proof of stability that is complete", async () => {
    expect(await last([RUNNING], { timeoutMs: 15_001, stableForMs: 15_000 })).toMatchObject({
      end: "stable",
    });
  });

  test("is marked on the last observation only", async () => {
    const observations = await seen([PULLING, RUNNING]);
    expect(observations.filter(({ end }) => end !== undefined)).toHaveLength(1);
  });
});

describe("what only time and nodes can tell", () => {
  const nowhere = task({
    id: "new",
    nodeId: "",
    state: "pending",
    error: "no suitable node (insufficient resources on 1 node)",
  });
  const STUCK: Frame = { services: [NEW], tasks: [nowhere, task({ id: "old", current: false })] };

  test.each([
    ["a rollout", true],
    ["putting things back", false],
  ])("%s that stands still for good is not waited for until time is up", async (_what, endOnFailure) => {
    const end = await last([PULLING, STUCK], { endOnFailure });
    expect(end?.end).toBe("failed");
    expect(end?.elapsedMs).toBeLessThan(30_000);
    expect(end?.verdicts.get("web")).toMatchObject({
      kind: "failed",
      detail: expect.stringMatching(
        /^0\/1 running: no suitable node .*; nothing has moved for 2\d/,
      ) as unknown,
      tasks: [{ id: "new" }],
    });
  });

  test("one that finds its place in time goes on", async () => {
    expect(await last([...times(30, STUCK), RUNNING])).toMatchObject({ end: "stable" });
  });

  test("a task that ended with its node is no failure, also once the node is back", async () => {
    const lost = task({ id: "lost", state: "failed", error: "task: non-zero exit (137)", nodeId: "n2" });
    const frames: Frame[] = [
      { services: [NEW], tasks: [task({ id: "lost", nodeId: "n2" })] },
      { services: [NEW], tasks: [lost] },
      { services: [NEW], tasks: [lost, task()] },
    ];
    const nodes = [
      [node(), node({ id: "n2", state: "down" })],
      [node(), node({ id: "n2" })],
    ];
    const swarm = scriptedSwarm(frames, {
      nodes: async () => await Promise.resolve(nodes.shift() ?? []),
    });
    const kinds: (string | undefined)[] = [];
    for await (const { verdicts, end } of observe(swarm, fakeClock(1_000_000), REQUEST))
      kinds.push(end ?? verdicts.get("web")?.kind);
    expect(kinds.slice(0, 3)).toEqual(["converged", "progressing", "converged"]);
    expect(kinds.at(-1)).toBe("stable");
  });

  test("what else has ended there is asked of services that nothing was sent to", async () => {
    const lost = task({ id: "lost", state: "failed", error: "x", nodeId: "n2" });
    const ended = (serviceId: string): Partial<Swarm> => ({
      nodes: async () => await Promise.resolve([node({ id: "n2", updatedAt: lost.updatedAt })]),
      tasksOn: async () => await Promise.resolve([{ ...lost, id: "other", serviceId }]),
    });
    const seenWith = async (changes: Partial<Swarm>): Promise<string | undefined> => {
      const swarm = scriptedSwarm([{ services: [NEW], tasks: [lost] }], changes);
      for await (const { verdicts } of observe(swarm, fakeClock(0), REQUEST))
        return verdicts.get("web")?.kind;
      return undefined;
    };
    expect(await seenWith(ended("another"))).toBe("progressing");
    expect(await seenWith(ended(NEW.id))).toBe("failed");
  });

  test("nodes are asked about only where it matters", async () => {
    let asked = 0;
    const swarm = scriptedSwarm([PULLING, RUNNING], {
      nodes: async () => await Promise.resolve(((asked += 1), [])),
    });
    for await (const { end } of observe(swarm, fakeClock(1_000_000), REQUEST))
      if (end !== undefined) expect(end).toBe("stable");
    expect(asked).toBe(0);
  });
});

test("one service that fails is enough", async () => {
  const db = service({ id: "s2", name: "shop_db", spec: serviceSpec("pg:1") });
  const frame: Frame = {
    services: [NEW, db],
    tasks: [task(), task({ id: "t2", serviceId: "s2", state: "failed", error: "no space" })],
  };
  const services = [
    { name: "web", serviceName: "shop_web", sent: V2 },
    { name: "db", serviceName: "shop_db", sent: serviceSpec("pg:1") },
  ];
  const end = await last([frame], { services });
  expect(Object.fromEntries([...(end?.verdicts ?? [])].map(([name, { kind }]) => [name, kind]))).toEqual({
    web: "converged",
    db: "failed",
  });
});

test("a stack without services is stable", async () => {
  expect(await last([{ services: [] }], { services: [] })).toMatchObject({ end: "stable" });
});

describe("a manager that does not answer", () => {
  test("is waited for as long as there is time: it may be restarting, or electing a leader", async () => {
    expect(await last([PULLING, ...times(800, DEAF), RUNNING])).toMatchObject({ end: "stable" });
  });

  test("until time is up ends the watch with an error that says what was seen last, how long ago, and what goes on", async () => {
    const watching = seen([...times(10, PULLING), DEAF], { timeoutMs: 60_000 });
    await expect(watching).rejects.toThrow(DeployError);
    await expect(watching).rejects.toThrow(
      /^No manager could be asked about the rollout for the last 5\d(\.\d)?s: connect ECONNREFUSED\. .*Seen last: web: 0\/1 running \(preparing\)\. What was sent goes on rolling out/,
    );
  });

  test("from the start is given up at the same time", async () => {
    await expect(seen([DEAF], { timeoutMs: 60_000 })).rejects.toThrow(
      /for the last 1m: connect ECONNREFUSED/,
    );
  });

  test("is not waited for beyond the time there is", async () => {
    await expect(seen([PULLING, ...times(50, DEAF), RUNNING], { timeoutMs: 20_000 })).rejects.toThrow(
      DeployError,
    );
  });

  test("has no leader just now, and is waited for as well", async () => {
    const leaderless = new ManagerRefusal(503, "GET /services", "The swarm does not have a leader");
    expect(await last([PULLING, ...times(80, leaderless), RUNNING])).toMatchObject({ end: "stable" });
  });

  test.each([
    ["a refusal", new ManagerRefusal(404, "GET /services", "page not found")],
    ["a mistake of our own", new TypeError("x is undefined")],
    ["the end of the job", new Cancelled("SIGTERM")],
  ])("is not waited for after %s: that will not mend itself", async (_fact, error) => {
    await expect(seen([PULLING, error, RUNNING])).rejects.toBe(error);
  });

  test("interrupts no stability: it is not known what happened meanwhile, only that all is well again", async () => {
    const observations = await seen([RUNNING, DEAF, RUNNING]);
    expect(observations.at(-1)?.end).toBe("stable");
  });
});

test("what is watched is what docker would send", () => {
  const planned = {
    name: "web",
    change: "update" as const,
    fields: [],
    sameTemplate: false,
    before: undefined,
    auth: undefined,
  };
  expect(
    watched([
      { ...planned, wanted: V2 },
      { ...planned, name: "old", wanted: undefined },
    ]),
  ).toEqual([{ name: "web", serviceName: "shop_web", sent: V2, untouched: false }]);
});
