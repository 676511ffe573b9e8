import { canonicalSpec, differences, imageOf } from "./spec.ts";
import { at, listAt, numberAt, objectAt } from "./json.ts";
import { type Service, type ServiceSpec, type Task } from "./swarm.ts";
import { compareTexts } from "./text-order.ts";

/** One service at one moment, beside what we want of it. */
export interface ServiceSnapshot {
  readonly name: string;
  /** What was sent. */
  readonly sent: ServiceSpec;
  /** Undefined where the service has vanished. */
  readonly live: Service | undefined;
  /** All of its tasks that the swarm still remembers. */
  readonly tasks: readonly Task[];
  /** Tasks that were over before we sent anything: no fault of what was sent. */
  readonly oldFailures: ReadonlySet<string>;
  /** Tasks that ended because their node did, which Swarm starts again elsewhere. */
  readonly lostWithNode: ReadonlySet<string>;
  /** Nothing was sent to it: what Swarm says of an update is of an earlier one. */
  readonly untouched: boolean;
  /** Its image has a health check, as the spec then need not. */
  readonly checksItself?: boolean;
  /** Tasks that their node ended since their health check failed, though they obeyed and ended with 0. */
  readonly unhealthy?: ReadonlySet<string>;
  readonly networkIds: ReadonlyMap<string, string>;
}

/** `tasks` are those that are to blame, or that are waited for. */
export type Verdict =
  /** Runs exactly what was sent, at this moment. Only time tells whether it keeps running. */
  | { readonly kind: "converged"; readonly detail: string }
  | {
      readonly kind: "progressing";
      readonly detail: string;
      readonly tasks: readonly Task[];
      /** How its last tasks ended, where none is left that could still come up: if it stays so, nothing will. */
      readonly ended?: readonly Task[];
    }
  | {
      readonly kind: "failed";
      readonly detail: string;
      readonly tasks: readonly Task[];
      /** Its spec is another one by now, or it is gone: nothing that Swarm does with its tasks changes that. */
      readonly lasting?: boolean;
    };

/** *The* definition of a service that runs what was sent. Swarm's own state word proves nothing: it can say `completed` after a rollback. */
export function judge(snapshot: ServiceSnapshot): Verdict {
  const { live, sent, tasks, networkIds } = snapshot;
  if (live === undefined)
    return { kind: "failed", detail: "the service was removed by somebody else", tasks: [], lasting: true };
  const finishes = mayFinish(live.spec) && (isJob(live.spec) || snapshot.checksItself !== true);
  const fresh = tasks.filter((task) => !snapshot.oldFailures.has(task.id));
  const ends = (task: Task): boolean => finishes && snapshot.unhealthy?.has(task.id) !== true;
  const suspects = fresh.filter((task) => failed(task, live.spec, fresh, ends(task)));
  const culprits = suspects.filter(({ id }) => !snapshot.lostWithNode.has(id));
  const drift = differences(canonicalSpec(live.spec, networkIds), canonicalSpec(sent, networkIds));
  if (drift.length > 0) return superseded(live, culpritsOfRollback(live, sent, fresh));
  const current = culprits.filter((task) => task.current);
  if (current.length > 0) return { kind: "failed", detail: failure(current), tasks: current };
  const state = live.update?.state ?? "";
  const verdict = running(live, tasks, finishes);
  if (state !== "paused" && state !== "rollback_paused") return verdict;
  // Of a service that nothing was sent to, that may be a scar: all may have come up since. But where it has not, Swarm goes no further.
  if (snapshot.untouched && verdict.kind === "converged") return verdict;
  const words = live.update?.message || state;
  const detail = snapshot.untouched ? `${verdict.detail}; an earlier update is stuck: ${words}` : words;
  return { kind: "failed", detail, tasks: suspects };
}

function superseded(live: Service, tasks: readonly Task[]): Verdict {
  const state = live.update?.state ?? "";
  const message = live.update?.message ?? "";
  const rolledBack = state.startsWith("rollback") || (state === "completed" && tasks.length > 0);
  const detail = rolledBack
    ? `Swarm rolled the service back${message === "" || state === "completed" ? "" : `: ${message}`}`
    : "its spec is not the one that was sent: somebody else changed it";
  return { kind: "failed", detail, tasks, lasting: true };
}

/** Whether all of a service runs at this moment, whatever word an earlier update has left behind. */
export function isUp(live: Service, tasks: readonly Task[]): boolean {
  const own = tasks.filter(({ serviceId }) => serviceId === live.id);
  const oldFailures = new Set(own.filter(isOver).map(({ id }) => id));
  const known = { oldFailures, lostWithNode: new Set<string>(), untouched: true, networkIds: new Map() };
  return judge({ name: live.name, sent: live.spec, live, tasks: own, ...known }).kind === "converged";
}

/** Whether Swarm is at work on an update, or on taking one back. */
export function isInFlight({ update }: Service): boolean {
  return update?.state === "updating" || update?.state === "rollback_started";
}

const OVER = new Set(["complete", "shutdown", "failed", "rejected", "remove", "orphaned"]);

/** Whether a task has come to its end, good or bad. */
export function isOver(task: Pick<Task, "state">): boolean {
  return OVER.has(task.state);
}

/**
 * Swarm names the first culprit in its message. A task that an unhealthy container ended with 0 is `complete`, like one that was told
 * to stop; beside the named one, only those of the sent image are suspects.
 */
function culpritsOfRollback(live: Service, sent: ServiceSpec, fresh: readonly Task[]): Task[] {
  const image = imageOf(sent);
  const other = image !== imageOf(live.spec);
  return fresh.filter((task) => {
    if (hasFailed(task) || live.update?.message.includes(task.id) === true) return true;
    return task.state === "complete" && !task.current && other && task.image === image;
  });
}

/** Not because somebody told it to. */
export function endedByItself(task: Task): boolean {
  return hasFailed(task) || (task.current && task.state === "complete");
}

/** Swarm itself calls it a failure. */
export function hasFailed(task: Task): boolean {
  return task.state === "failed" || task.state === "rejected";
}

/** A finished task is a failure unless it may end well (`finishes`). */
function failed(task: Task, spec: ServiceSpec, all: readonly Task[], finishes: boolean): boolean {
  if (task.state === "rejected") return isHopeless(task, spec, all);
  if (task.state === "failed") return !hasAnotherTry(task, spec, all);
  return task.state === "complete" && !finishes;
}

/** Swarm forgets all but the last five tasks of a slot; who has failed as often is in a loop, whatever is allowed. */
const MOST_TRIES = 4;

/**
 * What runs once and says how often it may be tried again has failed when it has failed that often. Without a number Swarm would go on
 * for ever, and the first failure is one.
 */
function hasAnotherTry(task: Task, spec: ServiceSpec, all: readonly Task[]): boolean {
  const again = Math.min(numberAt(spec, "TaskTemplate", "RestartPolicy", "MaxAttempts"), MOST_TRIES);
  if (!mayFinish(spec) || at(spec, "TaskTemplate", "RestartPolicy", "Condition") === "none") return false;
  const isGlobal = isOnEachNode(spec);
  return all.filter((each) => each.state === "failed" && samePlace(each, task, isGlobal)).length <= again;
}

/** Of one slot, or, in a global service, on one node. Slots start at 1, but for those of a replicated job, which start at 0. */
export function samePlace(a: Task, b: Task, isGlobal = a.slot === 0): boolean {
  return a.slot === b.slot && (!isGlobal || a.nodeId === b.nodeId);
}

function isOnEachNode(spec: ServiceSpec): boolean {
  return at(spec, "Mode", "Global") !== undefined || at(spec, "Mode", "GlobalJob") !== undefined;
}

/**
 * A node may refuse a task for a reason that passes, such as a port that is just being freed. Swarm tries again; a second refusal in the
 * same place, or a missing image, will not mend itself. Docker 28 gives networks that are made at once the same addresses ("Pool overlaps
 * with other one"), three times within two seconds on a busy node; that is hopeless when all tasks that Swarm remembers say so.
 */
function isHopeless(task: Task, spec: ServiceSpec, all: readonly Task[]): boolean {
  const isGlobal = isOnEachNode(spec);
  const here = all.filter((each) => each.state === "rejected" && samePlace(each, task, isGlobal));
  const most = /pool overlaps/i.test(task.error) ? MOST_TRIES : 1;
  return here.length > most || /no such image/i.test(task.error);
}

/**
 * Jobs may end well, and so may one-shot services: those that are not started again after a good end. A service that is asked how it
 * is, or that listens on a port, is meant to stay: an unhealthy one that obeys its TERM ends with 0, too (SWARM 2.3).
 */
export function mayFinish(spec: ServiceSpec): boolean {
  if (isJob(spec)) return true;
  const condition = at(spec, "TaskTemplate", "RestartPolicy", "Condition");
  const stays =
    objectAt(spec, "TaskTemplate", "ContainerSpec", "Healthcheck").Test !== undefined ||
    listAt(spec, "EndpointSpec", "Ports").length > 0;
  return (condition === "none" || condition === "on-failure") && !stays;
}

/** Whether it is to run once, and not to be updated. */
export function isJob(spec: ServiceSpec): boolean {
  return at(spec, "Mode", "ReplicatedJob") !== undefined || at(spec, "Mode", "GlobalJob") !== undefined;
}

function failure(tasks: readonly Task[]): string {
  const [task] = tasks;
  if (task === undefined) return "a task failed";
  if (task.state === "complete")
    return "a task ended by itself with exit code 0 (a failing health check can look like this too)";
  return task.error || `a task is ${task.state}`;
}

function running(live: Service, all: readonly Task[], finishes: boolean): Verdict {
  const job = isJob(live.spec);
  const updating = isInFlight(live);
  const mine = all.filter((task) => task.current && (!job || task.jobIteration === live.jobIteration));
  const done = finishes ? mine.filter((task) => task.state === "complete") : [];
  const wanted = job
    ? jobCompletions(live, done.length)
    : isOnEachNode(live.spec)
      ? nodesOf(mine, done, live)
      : live.desiredTasks;
  const up = mine.filter((task) => task.state === "running" && task.desiredState === "running");
  const good = job ? done.length : up.length + (up.length < wanted ? done.length : 0);
  const leftover = all.filter(
    (task) => !task.current && task.desiredState === "running" && task.state === "running",
  );
  const surplus = job ? 0 : Math.max(up.length - wanted, 0);
  const ended = !job && up.length < wanted && done.length > 0;
  const detail = `${Math.min(good, wanted)}/${wanted} ${job ? "complete" : ended ? "running or ended well" : "running"}`;
  if (surplus > 0) return { kind: "progressing", detail: `${detail}, ${surplus} too many`, tasks: [] };
  if (good >= wanted && leftover.length === 0 && !updating) {
    const nowhere = wanted === 0 && isOnEachNode(live.spec);
    return { kind: "converged", detail: nowhere ? `${detail}: no node is eligible` : detail };
  }
  if (good >= wanted && leftover.length === 0)
    return { kind: "progressing", detail: `${detail}, watched by Swarm`, tasks: [] };
  const open = mine.filter(
    (task) => !isOver(task) && task.state !== "running" && task.desiredState !== "shutdown",
  );
  const waiting = open.find((task) => task.error !== "");
  const rest = waiting === undefined ? states(open) : `: ${waiting.error}`;
  return {
    kind: "progressing",
    detail: `${detail}${rest}${leftover.length > 0 ? `, ${leftover.length} of the old version still up` : ""}`,
    tasks: open,
    ...(open.length === 0 && leftover.length === 0 && !updating ? { ended: lastEnded(mine) } : {}),
  };
}

/** The last failed task of each place. */
function lastEnded(tasks: readonly Task[]): Task[] {
  const failures = tasks.filter(hasFailed).toSorted((a, b) => compareTexts(b.createdAt, a.createdAt));
  return failures.filter((task, index) => failures.findIndex((other) => samePlace(other, task)) === index);
}

/**
 * How many nodes a service has that runs on each: Swarm counts tasks that are to run by now, and so neither one that waits for its
 * restart nor one that has ended well.
 */
function nodesOf(mine: readonly Task[], done: readonly Task[], live: Service): number {
  const wanted = mine.filter(({ desiredState }) => desiredState === "running" || desiredState === "ready");
  return Math.max(live.desiredTasks, new Set([...wanted, ...done].map(({ nodeId }) => nodeId)).size);
}

/** Of a job on every node Swarm counts only those tasks as desired that are not done yet. */
function jobCompletions({ spec, desiredTasks }: Service, done: number): number {
  const completions =
    at(spec, "Mode", "ReplicatedJob", "TotalCompletions") ??
    at(spec, "Mode", "ReplicatedJob", "MaxConcurrent");
  if (typeof completions === "number") return completions;
  return Math.max(desiredTasks + (isOnEachNode(spec) ? done : 0), 1);
}

function states(open: readonly Task[]): string {
  const names = [...new Set(open.map((task) => task.state))];
  return names.length === 0 ? "" : ` (${names.join(", ")})`;
}
