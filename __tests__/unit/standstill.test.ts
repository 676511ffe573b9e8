import { describe, expect, test } from "@jest/globals";
import { Standstill, endedWithNode } from "../../src/standstill.ts";
import { type Node, type Service, type Task } from "../../src/swarm.ts";
import { node, service, serviceSpec, task } from "../doubles/swarm.ts";

const NOWHERE = task({
  id: "new",
  state: "pending",
  nodeId: "",
  error: "no suitable node (host-mode port already in use on 1 node)",
});
const OLD = task({ id: "old", current: false });
const GRACE_MS = 25_000;

/** The same picture from 0 on, looked at once more after `ms`. */
function after(
  ms: number,
  tasks: readonly Task[],
  nodes: readonly Node[] = [node()],
  services: readonly Service[] = [service()],
): number | undefined {
  const standstill = new Standstill();
  standstill.hopelessMs(0, services, tasks, nodes);
  return standstill.hopelessMs(ms, services, tasks, nodes);
}

describe("a rollout stands still for good", () => {
  test("when a task waits for a place, and nothing else has moved for long enough", () => {
    expect(after(GRACE_MS - 1, [NOWHERE, OLD])).toBeUndefined();
    expect(after(GRACE_MS, [NOWHERE, OLD])).toBe(GRACE_MS);
  });

  test.each<[string, readonly Task[]]>([
    ["nothing waits", [OLD]],
    ["the scheduler has not looked yet", [{ ...NOWHERE, error: "" }]],
    ["another task pulls its image", [NOWHERE, task({ id: "x", state: "preparing" })]],
    ["another task waits for its health check", [NOWHERE, task({ id: "x", state: "starting" })]],
    [
      "another task waits for its restart delay",
      [NOWHERE, task({ id: "x", state: "ready", desiredState: "ready" })],
    ],
    ["an old task is being stopped, which makes room", [NOWHERE, { ...OLD, desiredState: "shutdown" }]],
    ["what waits is of an old version", [{ ...NOWHERE, current: false }]],
    ["what waits is not wanted any more", [{ ...NOWHERE, desiredState: "shutdown" }]],
  ])("but not while %s", (_fact, tasks) => {
    expect(after(10 * GRACE_MS, tasks)).toBeUndefined();
  });

  test("and every change starts the wait anew", () => {
    const standstill = new Standstill();
    const look = (now: number, tasks: readonly Task[]): number | undefined =>
      standstill.hopelessMs(now, [service()], tasks, [node()]);
    look(0, [NOWHERE, OLD]);
    look(20_000, [{ ...NOWHERE, error: "no suitable node (insufficient resources on 1 node)" }, OLD]);
    expect(
      look(44_999, [{ ...NOWHERE, error: "no suitable node (insufficient resources on 1 node)" }, OLD]),
    ).toBeUndefined();
    expect(
      look(45_000, [{ ...NOWHERE, error: "no suitable node (insufficient resources on 1 node)" }, OLD]),
    ).toBe(25_000);
  });

  test("later where an update pauses between its batches", () => {
    const spec = serviceSpec("app:v2", { UpdateConfig: { Delay: 60e9 } });
    expect(after(84_000, [NOWHERE], [node()], [service({ spec })])).toBeUndefined();
    expect(after(85_000, [NOWHERE], [node()], [service({ spec })])).toBe(85_000);
  });

  test.each<[string, Partial<Node>, boolean]>([
    ["is down since a short time ago", { state: "down", updatedAt: "2026-08-01T09:55:00Z" }, false],
    ["has gone down since", { state: "down", updatedAt: "2026-08-01T10:00:09Z" }, false],
    ["is under maintenance", { availability: "drain", updatedAt: "2026-08-01T09:59:00Z" }, false],
    ["has long been down", { state: "down", updatedAt: "2026-08-01T09:49:59Z" }, true],
    [
      "never takes tasks, as some managers",
      { availability: "drain", updatedAt: "2026-01-01T00:00:00Z" },
      true,
    ],
  ])("whether or not a node %s: it may come back", (_fact, changes, hopeless) => {
    const nodes = [node(), node({ id: "n2", ...changes })];
    expect(after(GRACE_MS, [NOWHERE], nodes) !== undefined).toBe(hopeless);
  });

  test("though a task on a node that is down looks as if it were stopping, for ever", () => {
    const ghost = task({ id: "ghost", nodeId: "n2", desiredState: "shutdown", current: false });
    const dead = node({ id: "n2", state: "down", updatedAt: "2026-07-01T00:00:00Z" });
    expect(after(GRACE_MS, [NOWHERE, ghost], [node(), dead])).toBe(GRACE_MS);
  });
});

describe("whether a task ended with its node", () => {
  const failed = task({
    id: "f",
    state: "failed",
    error: "task: non-zero exit (137)",
    updatedAt: "2026-08-01T10:05:00Z",
  });
  const restarted = node({ updatedAt: "2026-08-01T10:04:58Z" });
  const endedToo = task({
    id: "e",
    state: "complete",
    serviceId: "other",
    updatedAt: "2026-08-01T10:05:01Z",
  });
  const ranOn = task({ id: "r", serviceId: "other", updatedAt: "2026-08-01T10:04:00Z" });
  const startedAgain = task({ id: "s", serviceId: "other", updatedAt: "2026-08-01T10:05:04Z" });

  test.each<[string, boolean, readonly Node[], readonly Task[]]>([
    ["its node runs on", false, [node()], [ranOn]],
    ["its node is down", true, [node({ state: "down" })], []],
    ["its node is being drained", true, [node({ availability: "drain" })], []],
    ["its node has left", true, [], []],
    ["the engine started again, and its other tasks ended, too", true, [restarted], [endedToo, startedAgain]],
    ["only its own end speaks for that", false, [restarted], []],
    ["the node was merely changed: another task runs on", false, [restarted], [endedToo, ranOn]],
    ["another task ended, and the node did not register", false, [node()], [endedToo]],
    [
      "another task ended long before",
      false,
      [restarted],
      [{ ...endedToo, updatedAt: "2026-08-01T10:01:00Z" }],
    ],
    ["another task was told to stop", false, [restarted], [{ ...endedToo, state: "shutdown" }]],
  ])("%s: %s", (_fact, lost, nodes, neighbours) => {
    expect(endedWithNode(failed, nodes, neighbours)).toBe(lost);
  });
});
