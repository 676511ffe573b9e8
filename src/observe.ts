import { ConnectError, DeployError, ManagerRefusal, messageOf } from "./errors.ts";
import { formatDuration } from "./inputs/duration.ts";
import { textAt } from "./json.ts";
import { type PlannedService } from "./plan.ts";
import { type ServiceSnapshot, type Verdict, judge } from "./rollout.ts";
import { type Service, type ServiceSpec, type Swarm, type Task } from "./swarm.ts";
import { type Clock } from "./world.ts";

const POLL_MS = 700;

/** One service under watch. */
export interface Watched {
  /** As the stack file calls it. */
  readonly name: string;
  /** Its full name on the swarm. */
  readonly serviceName: string;
  readonly sent: ServiceSpec;
}

export interface Observation {
  /** Milliseconds since `startedAt`. */
  readonly elapsedMs: number;
  readonly verdicts: ReadonlyMap<string, Verdict>;
  /** How long everything has been converged without a break; undefined while something is not. */
  readonly stableMs: number | undefined;
  /** Set on the last observation. */
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
  /** While putting things back, a task that fails on the way is history, not a verdict. */
  readonly endOnFailure: boolean;
}

/** Looks, judges, yields, sleeps, until everything has been stable long enough, something has failed, or time is up. */
export async function* observe(
  swarm: Swarm,
  clock: Clock,
  request: WatchRequest,
): AsyncGenerator<Observation> {
  const start = request.startedAt;
  let stableSince: number | undefined;
  let seenAt = start;
  let verdicts: ReadonlyMap<string, Verdict> = new Map();
  for (let { seen } = request; ; seen = undefined) {
    try {
      verdicts = judged(seen ?? (await look(swarm, request.stack)), request);
      seenAt = clock.now();
    } catch (error) {
      if (!mayPass(error)) throw error;
      if (clock.now() - start >= request.timeoutMs) throw lostSight(clock.now() - seenAt, verdicts, error);
      await clock.sleep(POLL_MS);
      continue;
    }
    const now = clock.now();
    const kinds = [...verdicts.values()].map(({ kind }) => kind);
    stableSince = kinds.every((kind) => kind === "converged") ? (stableSince ?? now) : undefined;
    const stableMs = stableSince === undefined ? undefined : now - stableSince;
    const end = ending(kinds, stableMs, now - start, request);
    yield { elapsedMs: now - start, verdicts, stableMs, end };
    if (end !== undefined) return;
    await clock.sleep(POLL_MS);
  }
}

function ending(
  kinds: readonly Verdict["kind"][],
  stableMs: number | undefined,
  elapsedMs: number,
  request: WatchRequest,
): Observation["end"] {
  if (request.endOnFailure && kinds.includes("failed")) return "failed";
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

function judged({ services, tasks }: Look, request: WatchRequest): ReadonlyMap<string, Verdict> {
  return new Map(
    request.services.map((each) => {
      const live = services.find((service) => service.name === each.serviceName);
      const snapshot: ServiceSnapshot = {
        name: each.name,
        sent: each.sent,
        live,
        tasks: tasks.filter((task) => task.serviceId === live?.id),
        oldFailures: request.oldFailures,
        networkIds: request.networkIds,
      };
      return [each.name, judge(snapshot)];
    }),
  );
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
  return services.flatMap(({ name, wanted }) =>
    wanted === undefined ? [] : [{ name, serviceName: textAt(wanted, "Name"), sent: wanted }],
  );
}
