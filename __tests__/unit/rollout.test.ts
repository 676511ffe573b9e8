import { describe, expect, test } from "@jest/globals";
import { type ServiceSnapshot, type Verdict, endedByItself, judge } from "../../src/rollout.ts";
import { type ServiceSpec, type Task } from "../../src/swarm.ts";
import { service, serviceSpec, task } from "../doubles/swarm.ts";

const V2 = serviceSpec("app:v2");
const NEW = service({ spec: V2, desiredTasks: 2 });
const GLOBAL = serviceSpec("app:v2", { Mode: { Global: {} } });
/** Swarm put the old spec back. */
const OLD = service({ desiredTasks: 2 });

const one = task({ id: "a", slot: 1 });
const two = task({ id: "b", slot: 2 });
const oldOne = task({ id: "c", slot: 1, current: false });
const oldTwo = task({ id: "d", slot: 2, current: false });
const gone = task({ id: "e", slot: 2, current: false, state: "shutdown", desiredState: "shutdown" });
const crashed = task({
  id: "x",
  slot: 2,
  state: "failed",
  desiredState: "shutdown",
  error: "task: non-zero exit (3)",
  exitCode: 3,
});

function update(state: string, message = ""): { update: { state: string; message: string } } {
  return { update: { state, message } };
}

function verdict(
  live: ServiceSnapshot["live"],
  tasks: ServiceSnapshot["tasks"],
  changes: Partial<ServiceSnapshot> = {},
): Verdict {
  return judge({
    name: "web",
    sent: V2,
    live,
    tasks,
    oldFailures: new Set(),
    lostWithNode: new Set(),
    untouched: false,
    networkIds: new Map(),
    ...changes,
  });
}

/** `converged: 2/2 running` */
function words({ kind, detail }: Verdict): string {
  return `${kind}: ${detail}`;
}

describe("a service that runs what was sent", () => {
  test.each<[string, Verdict, string]>([
    ["all replicas run", verdict(NEW, [one, two]), "converged: 2/2 running"],
    [
      "after an update",
      verdict({ ...NEW, ...update("completed", "update completed") }, [one, two, gone]),
      "converged: 2/2 running",
    ],
    [
      "no update was needed, so there is no word of one",
      verdict(NEW, [one, two, gone]),
      "converged: 2/2 running",
    ],
    [
      "no replicas are wanted and none run",
      verdict({ ...NEW, desiredTasks: 0 }, [gone]),
      "converged: 0/0 running",
    ],
    [
      "a global service that no node may run",
      verdict({ ...NEW, spec: GLOBAL, desiredTasks: 0 }, [gone], { sent: GLOBAL }),
      "converged: 0/0 running: no node is eligible",
    ],
    [
      "a global service that nodes run",
      verdict({ ...NEW, spec: GLOBAL }, [one, two], { sent: GLOBAL }),
      "converged: 2/2 running",
    ],
    [
      "an old task on a node that is down is a ghost: it should not run",
      verdict(NEW, [one, two, { ...oldOne, desiredState: "shutdown" }]),
      "converged: 2/2 running",
    ],
    [
      "words that an earlier rollback left, where nothing was sent this time",
      verdict({ ...NEW, ...update("rollback_completed") }, [one, two]),
      "converged: 2/2 running",
    ],
    [
      "paused long ago, and all has come up since",
      verdict({ ...NEW, ...update("paused") }, [one, two], { untouched: true }),
      "converged: 2/2 running",
    ],
    [
      "a task that ended with its node, and was started again",
      verdict(NEW, [one, two, crashed], { lostWithNode: new Set(["x"]) }),
      "converged: 2/2 running",
    ],
    [
      "a task that had failed before we sent anything",
      verdict(NEW, [one, two, crashed], { oldFailures: new Set(["x"]) }),
      "converged: 2/2 running",
    ],
    [
      "a task of the old version that failed on its way out",
      verdict(NEW, [one, two, { ...crashed, current: false }]),
      "converged: 2/2 running",
    ],
  ])("%s", (_fact, found, expected) => {
    expect(words(found)).toBe(expected);
  });
});

describe("a service on its way", () => {
  test.each<[string, Verdict, string]>([
    ["just sent, nothing seen yet", verdict(NEW, []), "progressing: 0/2 running"],
    [
      "the old version runs, the new one is not made yet",
      verdict(NEW, [oldOne, oldTwo]),
      "progressing: 0/2 running, 2 of the old version still up",
    ],
    [
      "still pulling",
      verdict({ ...NEW, ...update("updating") }, [{ ...one, state: "preparing" }, oldOne, oldTwo]),
      "progressing: 0/2 running (preparing), 2 of the old version still up",
    ],
    [
      "waiting for its health check",
      verdict(NEW, [one, { ...two, state: "starting" }]),
      "progressing: 1/2 running (starting)",
    ],
    [
      "all run, and Swarm still watches them",
      verdict({ ...NEW, ...update("updating") }, [one, two]),
      "progressing: 2/2 running, watched by Swarm",
    ],
    [
      "all run, and so does an old one",
      verdict(NEW, [one, two, oldOne]),
      "progressing: 2/2 running, 1 of the old version still up",
    ],
    [
      "completed, says Swarm, with no task running",
      verdict({ ...NEW, ...update("completed") }, []),
      "progressing: 0/2 running",
    ],
    [
      "completed, says Swarm, though all nodes are drained",
      verdict({ ...NEW, ...update("completed") }, [
        { ...one, state: "pending", error: "no suitable node (3 nodes not available for new tasks)" },
      ]),
      "progressing: 0/2 running: no suitable node (3 nodes not available for new tasks)",
    ],
    [
      "nowhere to go",
      verdict({ ...NEW, ...update("updating") }, [
        { ...one, state: "pending", error: "no suitable node (host-mode port already in use on 1 node)" },
        oldOne,
      ]),
      "progressing: 0/2 running: no suitable node (host-mode port already in use on 1 node), 1 of the old version still up",
    ],
    [
      "a running task that is about to be stopped does not count",
      verdict(NEW, [one, { ...two, desiredState: "shutdown" }]),
      "progressing: 1/2 running",
    ],
    [
      "scaled down, and what is too many still runs",
      verdict({ ...NEW, desiredTasks: 1 }, [one, two]),
      "progressing: 1/1 running, 1 too many",
    ],
    [
      "no replicas are wanted and one still runs",
      verdict({ ...NEW, desiredTasks: 0 }, [one]),
      "progressing: 0/0 running, 1 too many",
    ],
  ])("%s", (_fact, found, expected) => {
    expect(words(found)).toBe(expected);
  });
});

describe("a service that failed", () => {
  test.each<[string, Verdict, string]>([
    [
      "a rollback is a failure though every task is running",
      verdict({ ...OLD, ...update("rollback_completed", "rollback completed") }, [one, two]),
      "failed: Swarm rolled the service back: rollback completed",
    ],
    [
      "a rollback under way",
      verdict(
        {
          ...OLD,
          ...update("rollback_started", "update rolled back due to failure or early termination of task x"),
        },
        [one, two],
      ),
      "failed: Swarm rolled the service back: update rolled back due to failure or early termination of task x",
    ],
    [
      "a rollback that says completed in the end",
      verdict({ ...OLD, ...update("completed", "update completed") }, [
        one,
        two,
        { ...crashed, current: false },
      ]),
      "failed: Swarm rolled the service back",
    ],
    [
      "a rollback that got stuck",
      verdict(
        {
          ...OLD,
          ...update("rollback_paused", "update paused due to failure or early termination of task x"),
        },
        [one],
      ),
      "failed: Swarm rolled the service back: update paused due to failure or early termination of task x",
    ],
    [
      "somebody deployed over it",
      verdict({ ...NEW, spec: serviceSpec("app:v3") }, [one, two]),
      "failed: its spec is not the one that was sent: somebody else changed it",
    ],
    [
      "somebody scaled it",
      verdict({ ...NEW, spec: serviceSpec("app:v2", { Mode: { Replicated: { Replicas: 9 } } }) }, [one, two]),
      "failed: its spec is not the one that was sent: somebody else changed it",
    ],
    ["somebody removed it", verdict(undefined, []), "failed: the service was removed by somebody else"],
    [
      "a task crashed",
      verdict({ ...NEW, ...update("updating") }, [one, crashed, oldTwo]),
      "failed: task: non-zero exit (3)",
    ],
    [
      "a task crashed, though another took its place and all run",
      verdict({ ...NEW, ...update("completed") }, [one, two, crashed]),
      "failed: task: non-zero exit (3)",
    ],
    [
      "a task crashed long after Swarm had stopped watching",
      verdict(NEW, [one, two, crashed]),
      "failed: task: non-zero exit (3)",
    ],
    [
      "a first deployment that crashes: there is no word of an update",
      verdict(NEW, [crashed]),
      "failed: task: non-zero exit (3)",
    ],
    [
      "no such image",
      verdict(NEW, [{ ...crashed, state: "rejected", error: "No such image: app:v2@sha256:0" }]),
      "failed: No such image: app:v2@sha256:0",
    ],
    [
      "a task ended well, which a service must not; a failing health check can look like this",
      verdict(NEW, [one, { ...crashed, state: "complete", error: "", exitCode: 0 }]),
      "failed: a task ended by itself with exit code 0 (a failing health check can look like this too)",
    ],
    [
      "paused",
      verdict(
        { ...NEW, ...update("paused", "update paused due to failure or early termination of task x") },
        [one, oldTwo],
      ),
      "failed: update paused due to failure or early termination of task x",
    ],
    ["paused, without words", verdict({ ...NEW, ...update("paused") }, [one, two]), "failed: paused"],
    [
      "an update of long ago that is stuck, where nothing was sent",
      verdict({ ...NEW, ...update("paused", "update paused") }, [one, oldTwo], { untouched: true }),
      "failed: 1/2 running, 1 of the old version still up; an earlier update is stuck: update paused",
    ],
  ])("%s", (_fact, found, expected) => {
    expect(words(found)).toBe(expected);
  });

  const unhealthy = task({
    id: "unhealthy1",
    slot: 1,
    state: "complete",
    desiredState: "shutdown",
    exitCode: 0,
    image: "app:v2",
    current: false,
  });
  // Ids as long as Swarm's, which no word of a message holds.
  const UP = [
    { ...one, id: "running1" },
    { ...two, id: "running2" },
  ];
  const BY_U = "update rolled back due to failure or early termination of task unhealthy1";
  const sameImage = serviceSpec("app:v2", { UpdateConfig: { Parallelism: 2 } });
  test.each<[string, ServiceSnapshot["live"], readonly Task[], readonly string[], readonly string[]]>([
    [
      "an unhealthy container that ended with 0, by the image that was sent",
      { ...OLD, ...update("rollback_completed", "rollback completed") },
      [unhealthy],
      [],
      ["unhealthy1"],
    ],
    [
      "an unhealthy container that ended with 0, by Swarm's message",
      { ...NEW, spec: sameImage, ...update("rollback_started", BY_U) },
      [unhealthy, { ...unhealthy, id: "stopped2" }],
      [],
      ["unhealthy1"],
    ],
    [
      "not a task of the old image that was told to stop",
      { ...OLD, ...update("rollback_completed") },
      [unhealthy, { ...unhealthy, id: "stopped2", image: "app:v1" }],
      [],
      ["unhealthy1"],
    ],
    [
      "not one of the present spec",
      { ...OLD, ...update("rollback_completed") },
      [
        { ...crashed, id: "crashed3" },
        { ...unhealthy, current: true },
      ],
      [],
      ["crashed3"],
    ],
    [
      "not one that was over before we sent anything",
      { ...OLD, ...update("rollback_completed") },
      [unhealthy, { ...crashed, id: "crashed3" }],
      ["unhealthy1"],
      ["crashed3"],
    ],
  ])("the culprits of a rollback: %s", (_fact, live, tasks, old, culprits) => {
    const found = verdict(live, [...UP, ...tasks], { oldFailures: new Set(old) });
    expect(found.detail).toMatch(/^Swarm rolled the service back/);
    expect(found.kind === "failed" && found.tasks.map(({ id }) => id)).toEqual(culprits);
  });

  test("the culprits are named", () => {
    const found = verdict(NEW, [one, crashed]);
    expect(found.kind === "failed" && found.tasks).toEqual([crashed]);
  });

  test("after a rollback the culprits are no longer of the present spec, and named all the same", () => {
    const culprit = { ...crashed, current: false };
    const found = verdict({ ...OLD, ...update("completed") }, [one, two, culprit]);
    expect(found.kind === "failed" && found.tasks).toEqual([culprit]);
  });
});

describe("a node that refuses a task", () => {
  const refused = task({
    id: "r",
    slot: 2,
    state: "rejected",
    desiredState: "shutdown",
    error: "driver failed programming external connectivity",
  });
  const overlaps = Array.from({ length: 5 }, (_, index) => ({
    ...refused,
    id: `p${index}`,
    error: "invalid pool request: Pool overlaps with other one on this address space",
  }));

  test.each<[string, Verdict, Verdict["kind"]]>([
    ["once is Swarm's to try again", verdict(NEW, [one, refused]), "progressing"],
    ["once, and the second try runs", verdict(NEW, [one, two, refused]), "converged"],
    ["twice in one slot is hopeless", verdict(NEW, [one, refused, { ...refused, id: "q" }]), "failed"],
    ["but not where networks are made at once", verdict(NEW, [one, ...overlaps.slice(1)]), "progressing"],
    ["unless all that Swarm remembers says so", verdict(NEW, [one, ...overlaps]), "failed"],
    [
      "once in each of two slots is not",
      verdict(NEW, [refused, { ...refused, id: "q", slot: 1 }]),
      "progressing",
    ],
    [
      "twice on one node is hopeless in a global service",
      verdict(
        { ...NEW, spec: GLOBAL },
        [
          { ...refused, slot: 0 },
          { ...refused, id: "q", slot: 0 },
        ],
        { sent: GLOBAL },
      ),
      "failed",
    ],
    [
      "once on each of two nodes is not",
      verdict(
        { ...NEW, spec: GLOBAL },
        [
          { ...refused, slot: 0 },
          { ...refused, id: "q", slot: 0, nodeId: "n2" },
        ],
        { sent: GLOBAL },
      ),
      "progressing",
    ],
    [
      "before we sent anything does not count",
      verdict(NEW, [one, refused, { ...refused, id: "q" }], { oldFailures: new Set(["q"]) }),
      "progressing",
    ],
  ])("%s", (_fact, found, kind) => {
    expect(found.kind).toBe(kind);
  });
});

describe("tasks that may end", () => {
  const done = task({ id: "a", state: "complete", desiredState: "shutdown", exitCode: 0 });
  const oneShot = (condition: string): ServiceSpec =>
    serviceSpec("app:v2", { TaskTemplate: { RestartPolicy: { Condition: condition } } });
  const judged = (spec: ServiceSpec, tasks: ServiceSnapshot["tasks"], jobIteration = 0): string =>
    words(verdict(service({ spec, jobIteration }), tasks, { sent: spec }));
  const job = (mode: ServiceSpec): ServiceSpec => serviceSpec("app:v2", { Mode: { ReplicatedJob: mode } });
  const globalJob = serviceSpec("app:v2", { Mode: { GlobalJob: {} } });
  const still = task({ id: "n", slot: 0, nodeId: "n2", desiredState: "complete" });

  test.each<[string, string, string]>([
    ["with restart condition none", judged(oneShot("none"), [done]), "converged: 1/1 running or ended well"],
    [
      "with restart condition on-failure",
      judged(oneShot("on-failure"), [done]),
      "converged: 1/1 running or ended well",
    ],
    [
      "not where somebody asks how it is: it is meant to stay",
      judged(
        serviceSpec("app:v2", {
          TaskTemplate: {
            RestartPolicy: { Condition: "on-failure" },
            ContainerSpec: { Healthcheck: { Test: ["CMD", "true"] } },
          },
        }),
        [done],
      ),
      "failed: a task ended by itself with exit code 0",
    ],
    [
      "not where it listens on a port",
      judged({ ...oneShot("none"), EndpointSpec: { Ports: [{ TargetPort: 80 }] } }, [done]),
      "failed: a task ended by itself with exit code 0",
    ],
    [
      "a job with a health check",
      judged(
        {
          ...job({}),
          TaskTemplate: { ContainerSpec: { Healthcheck: { Test: ["CMD", "true"] } } },
        },
        [done],
      ),
      "converged: 1/1 complete",
    ],
    [
      "not with restart condition any",
      judged(oneShot("any"), [done]),
      "failed: a task ended by itself with exit code 0 (a failing health check can look like this too)",
    ],
    [
      "but not badly",
      judged(oneShot("none"), [{ ...done, state: "failed", error: "task: non-zero exit (1)" }]),
      "failed: task: non-zero exit (1)",
    ],
    ["a job is done when its tasks are", judged(job({}), [done]), "converged: 1/1 complete"],
    [
      "a job that runs",
      judged(job({}), [{ ...done, state: "running", desiredState: "complete" }]),
      "progressing: 0/1 complete",
    ],
    ["an earlier run of a job proves nothing", judged(job({}), [done], 1), "progressing: 0/1 complete"],
    [
      "a job on every node, of which one is done and one runs",
      words(
        verdict(service({ spec: globalJob, desiredTasks: 1 }), [{ ...done, slot: 0 }, still], {
          sent: globalJob,
        }),
      ),
      "progressing: 1/2 complete",
    ],
    [
      "a job on every node that is done on all of them",
      words(
        verdict(
          service({ spec: globalJob, desiredTasks: 0 }),
          [
            { ...done, slot: 0 },
            { ...done, id: "b", slot: 0, nodeId: "n2" },
          ],
          { sent: globalJob },
        ),
      ),
      "converged: 2/2 complete",
    ],
    [
      "a job that has used up its tries on several nodes",
      judged(
        { ...job({}), TaskTemplate: { RestartPolicy: { Condition: "on-failure", MaxAttempts: 1 } } },
        ["n1", "n2"].map((nodeId) => ({
          ...done,
          id: nodeId,
          nodeId,
          slot: 0,
          state: "failed",
          error: "exit 1",
        })),
      ),
      "failed: exit 1",
    ],
    ["this run does", judged(job({}), [{ ...done, jobIteration: 1 }], 1), "converged: 1/1 complete"],
    [
      "a job of several completions",
      judged(job({ TotalCompletions: 3 }), [done, { ...done, id: "b" }]),
      "progressing: 2/3 complete",
    ],
    [
      "a job that fails",
      judged(job({}), [{ ...done, state: "failed", error: "task: non-zero exit (1)" }]),
      "failed: task: non-zero exit (1)",
    ],
  ])("%s", (_fact, found, expected) => {
    expect(found).toMatch(expected);
  });
});

describe("what runs once and may be tried again", () => {
  const failure = (id: string): Task => ({ ...crashed, id, slot: 1 });
  const once = (
    restart: Record<string, string | number>,
    mode: ServiceSpec = { ReplicatedJob: {} },
  ): ServiceSpec => serviceSpec("app:v2", { Mode: mode, TaskTemplate: { RestartPolicy: restart } });
  const three = { Condition: "on-failure", MaxAttempts: 3 };
  const judged = (spec: ServiceSpec, failures: number): Verdict["kind"] => {
    const tasks = Array.from({ length: failures }, (_, index) => failure(`f${index}`));
    return verdict(service({ spec }), [...tasks, { ...one, state: "starting", desiredState: "complete" }], {
      sent: spec,
    }).kind;
  };

  test.each<[string, Verdict["kind"], Verdict["kind"]]>([
    ["goes on while it has another try", judged(once(three), 3), "progressing"],
    ["has failed with its last one", judged(once(three), 4), "failed"],
    [
      "without a number has failed at once: it would go on for ever",
      judged(once({ Condition: "any" }), 1),
      "failed",
    ],
    ["and is not tried again has failed at once", judged(once({ ...three, Condition: "none" }), 1), "failed"],
    ["as a service, too", judged(once(three, { Replicated: { Replicas: 1 } }), 1), "progressing"],
    [
      "is in a loop after five, the most that Swarm remembers",
      judged(once({ ...three, MaxAttempts: 99 }), 5),
      "failed",
    ],
    [
      "is not what is meant to stay",
      judged(once({ Condition: "any", MaxAttempts: 3 }, { Replicated: { Replicas: 1 } }), 1),
      "failed",
    ],
  ])("%s", (_fact, found, expected) => {
    expect(found).toBe(expected);
  });

  test("counts each slot for itself", () => {
    const spec = once({ ...three, MaxAttempts: 1 });
    const tasks = [failure("a"), { ...failure("b"), slot: 2 }];
    expect(verdict(service({ spec }), tasks, { sent: spec }).kind).toBe("progressing");
  });
});

test("what is on its way names the tasks that are waited for", () => {
  const starting = { ...two, state: "starting" };
  expect(verdict(NEW, [one, starting, crashed, oldTwo], { lostWithNode: new Set(["x"]) })).toMatchObject({
    kind: "progressing",
    tasks: [starting],
  });
});

test.each<[string, Partial<Task>, boolean]>([
  ["failed", { state: "failed" }, true],
  ["failed, of an old version", { state: "failed", current: false }, true],
  ["rejected", { state: "rejected" }, true],
  ["complete", { state: "complete" }, true],
  ["complete, of an old version: it was told to stop", { state: "complete", current: false }, false],
  ["shut down", { state: "shutdown" }, false],
  ["running", {}, false],
])("whether a task ended by itself: %s", (_fact, changes, byItself) => {
  expect(endedByItself(task(changes))).toBe(byItself);
});

describe("a service on every node", () => {
  const live = service({ spec: GLOBAL, desiredTasks: 0 });
  const sent = { sent: GLOBAL };
  const failedBefore = task({ id: "f", slot: 0, state: "failed", desiredState: "shutdown" });
  const restarting = task({ id: "r", slot: 0, state: "ready", desiredState: "ready" });

  test("is not up while a task waits for its restart, which Swarm does not count", () => {
    const past = { ...sent, oldFailures: new Set(["f"]) };
    expect(words(verdict(live, [failedBefore, restarting], past))).toBe("progressing: 0/1 running (ready)");
  });

  test("has no eligible node where it has no task at all", () => {
    expect(words(verdict(live, [], sent))).toBe("converged: 0/0 running: no node is eligible");
  });

  test("may have ended well on each of them", () => {
    const once = serviceSpec("app:v2", {
      Mode: { Global: {} },
      TaskTemplate: { ContainerSpec: { Image: "app:v2" }, RestartPolicy: { Condition: "none" } },
    });
    const done = task({ id: "d", slot: 0, state: "complete", desiredState: "shutdown" });
    expect(words(verdict(service({ spec: once, desiredTasks: 0 }), [done], { sent: once }))).toBe(
      "converged: 1/1 running or ended well",
    );
  });
});
