import { describe, expect, test } from "@jest/globals";
import { PreflightError } from "../../src/errors.ts";
import { type Known, settled } from "../../src/settle.ts";
import { type Service, type ServiceSpec, type Survey, type Swarm, type Task } from "../../src/swarm.ts";
import { fakeClock } from "../doubles/clock.ts";
import { emptySurvey, scriptedSwarm, service, serviceSpec, task } from "../doubles/swarm.ts";
import { recordedVoice } from "../doubles/voice.ts";

const GOOD = serviceSpec("app:v1");
const BAD = serviceSpec("app:v2");
const paused = { state: "paused", message: "update paused due to failure" };
const updating = { state: "updating", message: "update in progress" };

const stack = (one: Partial<Service>, tasks: readonly Task[] = []): Survey =>
  emptySurvey({ services: [service({ spec: BAD, previous: GOOD, ...one })], tasks });

/** What becomes of a stack that looks like these, one after the other; the last one stays. */
async function settle(
  surveys: readonly Survey[],
  changes: Partial<Swarm> = {},
  timeoutMs = 600_000,
  known: Partial<Known> = {},
) {
  const [first = emptySurvey(), ...left] = surveys;
  let present = first;
  const survey = async (): Promise<Survey> => await Promise.resolve((present = left.shift() ?? present));
  const swarm = scriptedSwarm([], { survey, ...changes });
  const voice = recordedVoice();
  const clock = fakeClock();
  const returned: string[] = [];
  const last = await settled(first, {
    stack: "shop",
    swarm,
    clock,
    voice,
    timeoutMs,
    known: { names: new Set(["shop_web"]), released: new Set(), ...known },
    onBack: (name) => returned.push(name),
  });
  return {
    last,
    returned,
    heard: swarm.heard,
    sent: swarm.sent.get("s1"),
    said: voice.said,
    tookMs: clock.now(),
  };
}

const DONE = stack({ spec: GOOD, previous: BAD, version: 9, update: { state: "completed", message: "" } });

test("a stack at rest is left as it is", async () => {
  const first = stack({ update: { state: "completed", message: "" } });
  expect(await settle([first])).toMatchObject({ last: first, heard: [], said: [], tookMs: 0 });
});

test("an update in flight may end, as long as something moves", async () => {
  const frames = Array.from({ length: 90 }, (_, second) =>
    stack({ update: updating }, [task({ id: `t${Math.floor(second / 20)}` })]),
  );
  const { heard, said, last } = await settle([...frames, DONE]);
  expect(last).toBe(DONE);
  expect(heard).toEqual([]);
  expect(said).toEqual(["Waiting for an earlier update of shop_web to end."]);
});

test("one that waits for a place in vain goes back to what ran before, once, and that is waited for", async () => {
  const stuck = stack({ update: updating }, [task({ state: "pending", error: "no suitable node" })]);
  const back = stack({ spec: GOOD, previous: BAD, version: 9, update: updating });
  const { heard, sent, said, tookMs } = await settle([
    ...Array.from({ length: 31 }, () => stuck),
    ...Array.from({ length: 60 }, () => back),
    DONE,
  ]);
  expect(heard).toEqual(["update shop_web at 7"]);
  expect(sent).toBe(GOOD);
  expect(said).toContain(
    "shop_web: stuck half way by an earlier update; it goes back to what ran before that.",
  );
  expect(tookMs).toBe(91_000);
});

describe("one that shows nothing for a while", () => {
  const silent = (state: string, more: ServiceSpec = {}): Survey =>
    stack({ update: updating, spec: { ...BAD, ...more } }, [task({ state })]);
  const settling = async (survey: Survey, seconds: number) =>
    await settle([...Array.from({ length: seconds }, () => survey), DONE]);
  const stopGrace = { TaskTemplate: { ContainerSpec: { Image: "app:v2", StopGracePeriod: 60e9 } } };

  test.each([
    ["may be pulling its image", silent("preparing"), 170],
    ["may have a slow health check", silent("starting"), 170],
    ["may wait for an old task to end", silent("running", stopGrace), 230],
    ["may pause between two tasks", silent("running", { UpdateConfig: { Delay: 300e9 } }), 470],
  ])("%s", async (_why, survey, seconds) => {
    expect((await settling(survey, seconds)).heard).toEqual([]);
  });

  test("but not for ever", async () => {
    expect((await settling(silent("preparing"), 185)).heard).toEqual(["update shop_web at 7"]);
  });
});

test("one that the orchestrator has written to meanwhile is put back at the next look", async () => {
  let refusals = 1;
  const sent: number[] = [];
  const { said } = await settle([stack({ update: paused }), stack({ update: paused, version: 8 }), DONE], {
    updateService: async ({ version }) => {
      sent.push(version);
      refusals -= 1;
      if (refusals >= 0) throw new Error("rpc error: code = Unknown desc = update out of sequence");
      await Promise.resolve();
    },
  });
  expect(sent).toEqual([7, 8]);
  expect(said.join()).not.toContain("could not be put back");
});

test("one that changed nothing but its ports is put back, too", async () => {
  const ports = (port: number): ServiceSpec => ({
    ...GOOD,
    EndpointSpec: { Ports: [{ TargetPort: port, PublishedPort: 80, PublishMode: "host" }] },
  });
  const stuck = stack({ spec: ports(81), previous: ports(80), update: updating }, [
    task({ state: "pending", error: "no suitable node" }),
  ]);
  const { sent, returned } = await settle([...Array.from({ length: 31 }, () => stuck), DONE]);
  expect(sent).toEqual(ports(80));
  expect(returned).toEqual(["shop_web"]);
});

test("a paused one goes back at once", async () => {
  const { heard, sent, said } = await settle([stack({ update: paused }), DONE]);
  expect(heard).toEqual(["update shop_web at 7"]);
  expect(sent).toBe(GOOD);
  expect(said[0]).toBe(
    "shop_web: paused (update paused due to failure) by an earlier update; it goes back to what ran before that.",
  );
});

describe("nothing is put back", () => {
  test.each([
    ["where the update changed no task: to send them again would end those that serve", { previous: BAD }],
    ["where nothing is known of before", { previous: undefined }],
  ])("%s", async (_fact, one) => {
    expect(await settle([stack({ update: paused, ...one })])).toMatchObject({ heard: [], said: [] });
  });

  test("where all of it runs all the same: to end that would be an outage of our making", async () => {
    const scar = stack({ update: paused }, [
      task({ id: "crashed", state: "failed", desiredState: "shutdown" }),
      task({ id: "again" }),
    ]);
    expect(await settle([scar])).toMatchObject({ heard: [], said: [] });
    const half = stack({ update: paused }, [task(), task({ id: "old", current: false })]);
    expect((await settle([half, DONE])).heard).toEqual(["update shop_web at 7"]);
  });

  test("from the newest release: what ran before it may be what has failed", async () => {
    const known = { released: new Set(["shop_web"]) };
    expect(await settle([stack({ update: paused })], {}, 600_000, known)).toMatchObject({
      heard: [],
      said: [],
    });
    const stuck = stack({ update: updating }, [task({ state: "pending", error: "no suitable node" })]);
    const { heard, tookMs } = await settle([stuck], {}, 600_000, known);
    expect(heard).toEqual([]);
    expect(tookMs).toBeLessThan(30_000); // What is to be sent goes over it.
  });

  test("of somebody else's services, which are not even waited for", async () => {
    const known = { names: new Set<string>() };
    for (const update of [paused, updating])
      expect(await settle([stack({ update })], {}, 600_000, known)).toMatchObject({ heard: [], said: [] });
  });

  test("and a rollback of Swarm's that is stuck is not waited for until time is up", async () => {
    const rolling = stack({ update: { state: "rollback_started", message: "" } }, [
      task({ state: "pending", error: "no suitable node" }),
    ]);
    expect((await settle([rolling])).tookMs).toBeLessThan(30_000);
  });

  test("while Swarm itself rolls back", async () => {
    const rolling = stack({ update: { state: "rollback_started", message: "" } });
    const { heard } = await settle([...Array.from({ length: 50 }, () => rolling), DONE]);
    expect(heard).toEqual([]);
  });
});

test("what can't go back is told, and left to the plan", async () => {
  const updateService = async (): Promise<void> => await Promise.reject(new Error("config not found"));
  const first = stack({ update: paused });
  const { last, said } = await settle([first], { updateService });
  expect(last).toBe(first);
  expect(said).toContain("shop_web could not be put back: config not found");
});

test("what does not come to rest in time is a problem for each service", async () => {
  const forever = emptySurvey({
    services: ["web", "db"].map((name) =>
      service({ id: name, name: `shop_${name}`, update: { state: "rollback_started", message: "" } }),
    ),
  });
  const settling = settle([forever], {}, 60_000, { names: new Set(["shop_web", "shop_db"]) });
  await expect(settling).rejects.toThrow(PreflightError);
  await expect(settling).rejects.toMatchObject({
    problems: [
      expect.objectContaining({ message: "An earlier update of shop_web is still in flight after 1m." }),
      expect.objectContaining({ message: "An earlier update of shop_db is still in flight after 1m." }),
    ],
  });
});
