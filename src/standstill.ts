import { numberAt } from "./json.ts";
import { hasFailed, isOver } from "./rollout.ts";
import { type Node, type Service, type Task } from "./swarm.ts";

/**
 * What neither the tasks of one service nor one moment can tell: whether a rollout stands still for good, and whether a task ended
 * because of its node.
 */

/**
 * How long nothing may move before waiting is called hopeless. Longer than what passes by itself: a node that died is known to be down
 * after 15 s, a task is started again after 5 s (Swarm's default), and the scheduler tries anew within a second of every change.
 */
const GRACE_MS = 25_000;

/** A node that went away less long ago may be restarting, or be under maintenance. */
const MAY_COME_BACK_MS = 10 * 60_000;

/** An engine that starts again has registered and told how its tasks ended, all of them, within this time. */
const SAME_EVENT_MS = 20_000;

/** A task that the scheduler has found no place for. */
export function waits(task: Task): boolean {
  return task.current && task.state === "pending" && task.error !== "" && task.desiredState !== "shutdown";
}

/** On its way up, or on its way out, which makes room for others. */
function moves(task: Task): boolean {
  if (isOver(task) || waits(task)) return false;
  return task.state !== "running" || task.desiredState !== "running";
}

/** All that can still change, as text, where something waits for a place and nothing else is on its way; undefined otherwise. */
function standstill(tasks: readonly Task[], down: ReadonlySet<string>): string | undefined {
  // On a node that is down, a task that should stop looks like one that is stopping, for ever (SWARM 16).
  const seen = tasks.filter(({ nodeId }) => !down.has(nodeId));
  if (!seen.some(waits) || seen.some(moves)) return undefined;
  return seen
    .map(({ id, state, desiredState, error }) => `${id} ${state} ${desiredState} ${error}`)
    .join("\n");
}

/** Between two batches of an update nothing moves either. */
function longestDelayMs(services: readonly Service[]): number {
  const delays = services.map(({ spec }) => numberAt(spec, "UpdateConfig", "Delay") / 1e6);
  return Math.max(0, ...delays);
}

/** Remembers since when nothing has moved. Times are of the watching clock. */
export class Standstill {
  #picture: string | undefined;
  #since = 0;

  /** The same, where no node that went away lately could change it by coming back. */
  hopelessMs(
    now: number,
    services: readonly Service[],
    tasks: readonly Task[],
    nodes: readonly Node[],
  ): number | undefined {
    const stillMs = this.stillMs(now, services, tasks, nodes);
    return mayComeBack(nodes, tasks.filter(waits)) ? undefined : stillMs;
  }

  /** How long the stack has been standing still, beyond what may pass by itself; undefined where it does not. */
  stillMs(
    now: number,
    services: readonly Service[],
    tasks: readonly Task[],
    nodes: readonly Node[],
  ): number | undefined {
    const down = new Set(nodes.filter(({ state }) => state !== "ready").map(({ id }) => id));
    const picture = standstill(tasks, down);
    if (picture !== this.#picture) this.#since = now;
    this.#picture = picture;
    const stillMs = now - this.#since;
    const stands = picture !== undefined && stillMs >= GRACE_MS + longestDelayMs(services);
    return stands ? stillMs : undefined;
  }
}

/** Whether a node that is not there for new tasks went away only a short time before they were made, or later. */
function mayComeBack(nodes: readonly Node[], waiting: readonly Task[]): boolean {
  const oldest = Math.min(...waiting.map(({ createdAt }) => Date.parse(createdAt)));
  return nodes.some(
    ({ state, availability, updatedAt }) =>
      (state !== "ready" || availability !== "active") && Date.parse(updatedAt) > oldest - MAY_COME_BACK_MS,
  );
}

/**
 * Whether a task ended because its node did: it is gone, down or drained, or its engine has started again. The latter is nowhere
 * written down: the node has registered anew at that time (but it is noted, too, when a network comes to it), and the `neighbours`, its
 * tasks of services that nothing was sent to, have ended at that time as well, all of them. A program that is to blame fails once more where Swarm
 * starts it next.
 */
export function endedWithNode(task: Task, nodes: readonly Node[], neighbours: readonly Task[]): boolean {
  const node = nodes.find(({ id }) => id === task.nodeId);
  if (node === undefined || node.state !== "ready" || node.availability === "drain") return true;
  const awayMs = ({ updatedAt }: { readonly updatedAt: string }): number =>
    Date.parse(updatedAt) - Date.parse(task.updatedAt);
  const endedToo = neighbours.some(
    (each) => (hasFailed(each) || each.state === "complete") && Math.abs(awayMs(each)) <= SAME_EVENT_MS,
  );
  const lived = neighbours.some((each) => each.state === "running" && awayMs(each) < 0);
  return Math.abs(awayMs(node)) <= SAME_EVENT_MS && endedToo && !lived;
}
