import { ConnectError, DeployError, ManagerRefusal, messageOf } from "./errors.ts";
import { formatDuration } from "./inputs/duration.ts";
import { textAt } from "./json.ts";
import { type PlannedService } from "./plan.ts";
import { type ServiceSnapshot, type Verdict, hasFailed, isOver, judge } from "./rollout.ts";
import { Standstill, endedWithNode, waits } from "./standstill.ts";
import { type Service, type ServiceSpec, type Swarm, type Task } from "./swarm.ts";
import { type Clock } from "./world.ts";

const POLL_MS = 700;
/**
 * Of the time between two looks, at most this much counts as watched: a runner or a link that stood still for a minute has not seen a minute
 * without a failure, and an engine that stood still with it has yet to tell.
 */
const WATCHED_MS = 5_000;

/** One service under watch. */
export interface Watched {
  /** As the stack file calls it. */
  readonly name: string;
  /** Its full name on the swarm. */
  readonly serviceName: string;
  readonly sent: ServiceSpec;
  /** Nothing was sent, since it has this spec already. */
  readonly untouched?: boolean;
  /** Its image has a health check of its own. */
  readonly checksItself?: boolean;
}

export interface Observation {
  /** Milliseconds since `startedAt`. */
  readonly elapsedMs: number;
  readonly verdicts: ReadonlyMap<string, Verdict>;
  /** All of the stack, as seen last. */
  readonly tasks: readonly Task[];
  /** How long everything has been watched to be converged, without a break; undefined while something is not. */
  readonly stableMs: number | undefined;
  /** Set on the last observation. What stands still for good has failed, also while putting things back. */
  readonly end: "stable" | "failed" | "timeout" | undefined;
}

/** The stack at one moment. */
interface Look {
  readonly services: readonly Service[];
  readonly tasks: readonly Task[];
}

export interface WatchRequest {
  readonly stack: string;
  /** When the first service was sent, by the clock; all times count from there. */
  readonly startedAt: number;
  readonly services: readonly Watched[];
  /** Ids of tasks that were over before anything was sent. */
  readonly oldFailures: ReadonlySet<string>;
  readonly networkIds: ReadonlyMap<string, string>;
  /** What a look would show at this moment, where that is known already; the first one is spared then. */
  readonly seen: Look | undefined;
  readonly timeoutMs: number;
  readonly stableForMs: number;
  /**
   * While putting things back, a task that fails on the way is history, not a verdict: what counts is that all runs in the end. Only what
   * nothing but another write can mend ends it then.
   */
  readonly endOnFailure: boolean;
}

/** Looks, judges, yields, sleeps, until everything has been stable long enough, something has failed, or time is up. */
export async function* observe(
  swarm: Swarm,
  clock: Clock,
  request: WatchRequest,
): AsyncGenerator<Observation> {
  const start = request.startedAt;
  const judgement = new Judgement(swarm, request);
  let stableMs: number | undefined;
  let seenAt = start;
  let last: Judged = { verdicts: new Map(), tasks: [], hopeless: false };
  for (let { seen } = request; ; seen = undefined) {
    const seenBefore = seenAt;
    try {
      last = await judgement.of(seen ?? (await look(swarm, request.stack)), clock.now());
      seenAt = clock.now();
    } catch (error) {
      if (!mayPass(error)) throw error;
      const blindMs = clock.now() - seenAt;
      if (clock.now() - start >= request.timeoutMs) throw lostSight(blindMs, last.verdicts, error);
      await clock.sleep(POLL_MS);
      continue;
    }
    const elapsedMs = seenAt - start;
    const { verdicts, tasks } = last;
    if (![...verdicts.values()].every(({ kind }) => kind === "converged")) stableMs = undefined;
    else stableMs = stableMs === undefined ? 0 : stableMs + Math.min(seenAt - seenBefore, WATCHED_MS);
    const end = ending(last, stableMs, elapsedMs, request);
    yield { elapsedMs, verdicts, tasks, stableMs, end };
    if (end !== undefined) return;
    await clock.sleep(POLL_MS);
  }
}

interface Judged {
  readonly verdicts: ReadonlyMap<string, Verdict>;
  readonly tasks: readonly Task[];
  /** Something waits for a place and will not get one. */
  readonly hopeless: boolean;
}

/** Judges look after look, and remembers what one look can't tell. */
class Judgement {
  readonly #swarm: Swarm;
  readonly #request: WatchRequest;
  readonly #standstill = new Standstill();
  /** Failed tasks, and whether that was their node's fault. */
  readonly #examined = new Map<string, boolean>();
  /** Tasks whose end says nothing. */
  readonly #past: Set<string>;
  /** Completed tasks, and whether their health check had failed. */
  readonly #unhealthy = new Map<string, boolean>();
  /** Tasks that were to run when they were seen last. */
  #wanted = new Map<string, Task>();
  /** Services of which no task is left that could come up, and since when. */
  readonly #endedSince = new Map<string, number>();

  constructor(swarm: Swarm, request: WatchRequest) {
    this.#swarm = swarm;
    this.#request = request;
    this.#past = new Set(request.oldFailures);
  }

  async of({ services, tasks }: Look, now: number): Promise<Judged> {
    const fresh = tasks.filter(({ id }) => !this.#past.has(id));
    const unexamined = fresh.filter((task) => mayBeItsNode(task) && !this.#examined.has(task.id));
    const waiting = fresh.filter(waits);
    const vanished = this.#vanished(tasks);
    // Nodes are asked about only where it matters: on a large swarm the answer is long.
    const matters = unexamined.length + waiting.length + vanished.length > 0;
    const nodes = matters ? await this.#swarm.nodes() : [];
    for (const task of unexamined)
      this.#examined.set(task.id, endedWithNode(task, nodes, await this.#neighbours(task, services)));
    for (const task of unexamined.filter(({ state }) => state === "complete"))
      this.#unhealthy.set(task.id, (await this.#swarm.containerFacts(task))?.unhealthy ?? false);
    const isThere = ({ nodeId }: Task): boolean =>
      nodes.some(
        ({ id, state, availability }) => id === nodeId && state === "ready" && availability !== "drain",
      );
    const hopelessMs = this.#standstill.hopelessMs(now, services, tasks, nodes);
    const verdicts = this.#request.services.map((each): [string, Verdict] => {
      const snapshot = this.#snapshot(each, services, tasks);
      const verdict = this.#inTime(judge(snapshot), each, now);
      const lost = vanished.filter((task) => task.serviceId === snapshot.live?.id && isThere(task));
      if (lost.length > 0 && verdict.kind !== "failed") return [each.name, { ...FORGOTTEN, tasks: lost }];
      const stuck = verdict.kind === "progressing" ? verdict.tasks.filter(waits) : [];
      if (hopelessMs === undefined || stuck.length === 0) return [each.name, verdict];
      const detail = `${verdict.detail}; nothing has moved for ${formatDuration(hopelessMs)}`;
      return [each.name, { kind: "failed", detail, tasks: stuck }];
    });
    if (!this.#request.endOnFailure) for (const { id } of tasks.filter(isOver)) this.#past.add(id);
    return { verdicts: new Map(verdicts), tasks, hopeless: hopelessMs !== undefined };
  }

  /**
   * Tasks of what was sent that were to run a moment ago, and that nobody remembers: with a low task-history-limit Swarm forgets a task
   * that has crashed as soon as its successor is there.
   */
  #vanished(tasks: readonly Task[]): Task[] {
    const ids = new Set(tasks.map(({ id }) => id));
    const vanished = [...this.#wanted.values()].filter(({ id }) => !ids.has(id));
    const runs = tasks.filter(
      ({ current, state, desiredState }) =>
        current && (state === "running" || state === "starting") && desiredState === "running",
    );
    this.#wanted = new Map(runs.map((task) => [task.id, task]));
    return vanished;
  }

  /** What has ended for good is called so once nothing has begun again for a while. */
  #inTime(verdict: Verdict, { name, serviceName }: Watched, now: number): Verdict {
    const ended = verdict.kind === "progressing" ? (verdict.ended ?? []) : [];
    if (ended.length === 0) this.#endedSince.delete(name);
    else if (!this.#endedSince.has(name)) this.#endedSince.set(name, now);
    if (now - (this.#endedSince.get(name) ?? now) < ENDED_MS) return verdict;
    const detail = `${verdict.detail}, and Swarm starts none of its tasks again by itself (docker service update --force ${serviceName} does)`;
    return { kind: "failed", detail, tasks: ended, lasting: true };
  }

  /** Tasks on the same node that this deployment has nothing to do with. */
  async #neighbours({ nodeId }: Task, services: readonly Service[]): Promise<Task[]> {
    const touched = this.#request.services.filter(({ untouched }) => untouched !== true);
    const names = new Set(touched.map(({ serviceName }) => serviceName));
    const ids = new Set(services.filter(({ name }) => names.has(name)).map(({ id }) => id));
    return (await this.#swarm.tasksOn(nodeId)).filter(({ serviceId }) => !ids.has(serviceId));
  }

  #snapshot(each: Watched, services: readonly Service[], tasks: readonly Task[]): ServiceSnapshot {
    const live = services.find((service) => service.name === each.serviceName);
    return {
      name: each.name,
      sent: each.sent,
      live,
      tasks: tasks.filter((task) => task.serviceId === live?.id),
      oldFailures: this.#past,
      unhealthy: new Set([...this.#unhealthy].filter(([, is]) => is).map(([id]) => id)),
      lostWithNode: new Set([...this.#examined].filter(([, lost]) => lost).map(([id]) => id)),
      // What was put back has an earlier update's scars.
      untouched: each.untouched ?? !this.#request.endOnFailure,
      checksItself: each.checksItself ?? false,
      networkIds: this.#request.networkIds,
    };
  }
}

/** Swarm makes a task's successor at once, though it may start it later. */
const ENDED_MS = 10_000;

const FORGOTTEN = {
  kind: "failed",
  detail:
    "a task ended that was to run, and Swarm has forgotten it already: raise its task-history-limit to see why",
} as const;

/** An engine that stops ends its containers, with whatever they make of that. */
function mayBeItsNode(task: Task): boolean {
  return task.current && task.nodeId !== "" && (hasFailed(task) || task.state === "complete");
}

function ending(
  { verdicts, hopeless }: Judged,
  stableMs: number | undefined,
  elapsedMs: number,
  request: WatchRequest,
): Observation["end"] {
  const failed = [...verdicts.values()].filter((verdict) => verdict.kind === "failed");
  const isFinal = request.endOnFailure || hopeless || failed.some(({ lasting }) => lasting === true);
  if (failed.length > 0 && isFinal) return "failed";
  if (stableMs !== undefined && stableMs >= request.stableForMs) return "stable";
  return elapsedMs >= request.timeoutMs ? "timeout" : undefined;
}

/** A manager that does not answer, or has no leader just now, may do so again; anything else will not mend itself. */
function mayPass(error: unknown): boolean {
  return error instanceof ConnectError || (error instanceof ManagerRefusal && error.status >= 500);
}

async function look(swarm: Swarm, stack: string): Promise<Look> {
  const [services, tasks] = await Promise.all([swarm.services(stack), swarm.tasks(stack)]);
  return { services, tasks };
}

/** What can be said truthfully where nobody answers: how long ago, and what was seen last. */
function lostSight(blindMs: number, verdicts: ReadonlyMap<string, Verdict>, error: unknown): DeployError {
  const seen = [...verdicts].map(([name, { detail }]) => `${name}: ${detail}`).join("; ");
  return new DeployError(
    `No manager could be asked about the rollout for the last ${formatDuration(blindMs)}: ${messageOf(error)}${seen === "" ? "" : ` Seen last: ${seen}.`}`,
    "What was sent goes on rolling out on the swarm, and where it fails, Swarm does what the stack file's failure_action says. Look at it with `docker stack ps`, then run this job again.",
    error,
  );
}

export function watched(services: readonly PlannedService[]): Watched[] {
  return services.flatMap(({ name, change, wanted }) =>
    wanted === undefined
      ? []
      : [{ name, serviceName: textAt(wanted, "Name"), sent: wanted, untouched: change === "unchanged" }],
  );
}
