import { type Problem, PreflightError, messageOf } from "./errors.ts";
import { formatDuration } from "./inputs/duration.ts";
import { numberAt, objectAt } from "./json.ts";
import { OUT_OF_SEQUENCE } from "./restore.ts";
import { isManaged, isOfTasks } from "./plan.ts";
import { isInFlight, isUp } from "./rollout.ts";
import { canonicalSpec, differingPaths } from "./spec.ts";
import { Standstill, waits } from "./standstill.ts";
import { type Service, type ServiceSpec, type Survey, type Swarm, type Task } from "./swarm.ts";
import { compareTexts } from "./text-order.ts";
import { type Clock, type Voice } from "./world.ts";

const AGAIN_MS = 1000;

export interface SettleRequest {
  readonly stack: string;
  readonly swarm: Swarm;
  readonly clock: Clock;
  readonly voice: Voice;
  /** How long to wait for all of it. */
  readonly timeoutMs: number;
  readonly known: Known;
  /** Told of each service, by its full name, that is sent back to an earlier spec. */
  readonly onBack: (serviceName: string) => void;
}

/** What is known of a stack's services beside what the swarm says; full names. */
export interface Known {
  /** Those that the deployment is about. Others are touched only where this action made them. */
  readonly names: ReadonlySet<string>;
  /** Those that have the spec of the newest release: whatever ran before it is no way back for them. */
  readonly released: ReadonlySet<string>;
}

/**
 * Brings the stack to a state from which something new can be sent. Whoever began the update that is in flight, or paused, is gone or
 * knows nothing of us: to send anything over it would disarm Swarm's way back (SWARM 2.5 b), and to send the same again over a paused
 * one would end the tasks that still serve (SWARM 2.5 a). So an update in flight may end, as long as something moves; one that is stuck
 * or paused goes back to the spec before it, which costs nothing that serves (SWARM 10); unless all of it runs all the same, or it has
 * the spec of the newest release already: then it stays, and what is to be sent goes over it. Gives the survey of what is there then.
 */
export async function settled(first: Survey, request: SettleRequest): Promise<Survey> {
  const { stack, swarm, clock, voice, timeoutMs, known, onBack } = request;
  const start = clock.now();
  const said = new Set<string>();
  const sayOnce = (line: string): void => {
    if (!said.has(line)) voice.say(line);
    said.add(line);
  };
  /** When services were put back, by id: they are in flight on our account, and are not put back again. */
  const putBack = new Map<string, number>();
  /** Those that are stuck on their way to where they belong, by id: nothing is gained by waiting. */
  const passed = new Set<string>();
  const standstill = new Standstill();
  let moved = { at: start, tasks: "" };
  for (let survey = first; ; survey = await swarm.survey(stack)) {
    const unsettled = survey.services.filter(
      (service) => isUnsettled(service, survey.tasks, known, putBack) && !passed.has(service.id),
    );
    if (unsettled.length === 0) return survey;
    const names = unsettled.map(({ name }) => name).join(", ");
    if (clock.now() - start >= timeoutMs) throw stillInFlight(unsettled, timeoutMs);
    const { services, tasks, nodes } = survey;
    const standsStill = standstill.stillMs(clock.now(), services, tasks, nodes) !== undefined;
    if (statesOf(tasks) !== moved.tasks) moved = { at: clock.now(), tasks: statesOf(tasks) };
    for (const service of unsettled) {
      const waitsInVain = standsStill && tasks.some((task) => task.serviceId === service.id && waits(task));
      const isStuck = waitsInVain || clock.now() - moved.at >= mostQuietMs(service);
      const back = wayBack(service, isStuck, known, putBack);
      if (isStuck && isBeyondHelp(service, known, clock.now() - (putBack.get(service.id) ?? clock.now())))
        passed.add(service.id);
      if (back === undefined) continue;
      putBack.set(service.id, clock.now());
      sayOnce(
        `${service.name}: ${state(service)} by an earlier update; it goes back to what ran before that.`,
      );
      const isSent = await goBack(service, back, swarm, voice);
      if (isSent) onBack(service.name);
      else putBack.delete(service.id);
    }
    sayOnce(`Waiting for an earlier update of ${names} to end.`);
    await clock.sleep(AGAIN_MS);
  }
}

/** What a deployment would have to wait for, or put back, before anything new could be sent: a sentence for each service. */
export function unsettledLines({ services, tasks }: Survey, known: Known): string[] {
  return services
    .filter((service) => isUnsettled(service, tasks, known, new Map()))
    .map(
      ({ name, update }) =>
        `An earlier update of ${name} is in flight (${update?.state}: ${update?.message}). A deployment lets it end, or puts back one that is stuck or paused, before it plans.`,
    );
}

function isUnsettled(
  service: Service,
  tasks: readonly Task[],
  { names, released }: Known,
  putBack: ReadonlyMap<string, number>,
): boolean {
  const { id, name, update } = service;
  if (!names.has(name) && !isManaged(service)) return false;
  if (isInFlight(service)) return true;
  const isPaused = update?.state === "paused" && before(service) !== undefined;
  return isPaused && !putBack.has(id) && !released.has(name) && !isUp(service, tasks);
}

/** The spec to go back to, where it is time. What Swarm itself rolls back is on its way there already. */
function wayBack(
  service: Service,
  isStuck: boolean,
  { released }: Known,
  putBack: ReadonlyMap<string, number>,
): ServiceSpec | undefined {
  const { id, name, update } = service;
  if (putBack.has(id) || released.has(name)) return undefined;
  return update?.state === "paused" || (update?.state === "updating" && isStuck)
    ? before(service)
    : undefined;
}

/** Long enough for a service that was put back to move again. */
const PUT_BACK_MS = 60_000;

/** Whether an update that is stuck goes where the service belongs, or back by Swarm itself: no other way back is left. */
function isBeyondHelp({ name, update }: Service, { released }: Known, putBackMs: number): boolean {
  return released.has(name) || update?.state === "rollback_started" || putBackMs >= PUT_BACK_MS;
}

/** The spec before the update; none where it has the same tasks, as after a change of replicas: to send it would end those that serve. */
function before({ spec, previous }: Service): ServiceSpec | undefined {
  if (previous === undefined) return undefined;
  const [now, then] = [spec, previous].map((each) => canonicalSpec(each, new Map())); // Both are the engine's own.
  return differingPaths(then ?? {}, now ?? {}).some(isOfTasks) ? previous : undefined;
}

function state({ update }: Service): string {
  return update?.state === "paused" ? `paused (${update.message})` : "stuck half way";
}

/** Nothing is seen of a pull, nor of a health check before it has passed or failed. */
const QUIET_MS = 180_000;

/** For how long an update that is well may show nothing. */
function mostQuietMs({ spec }: Service): number {
  const container = objectAt(spec, "TaskTemplate", "ContainerSpec");
  const nanoseconds = [
    numberAt(spec, "UpdateConfig", "Delay"),
    numberAt(spec, "UpdateConfig", "Monitor"),
    numberAt(container, "StopGracePeriod"),
    numberAt(container, "Healthcheck", "StartPeriod"),
  ];
  return QUIET_MS + nanoseconds.reduce((sum, each) => sum + each, 0) / 1e6;
}

function statesOf(tasks: readonly Task[]): string {
  return tasks
    .map(({ id, state: now }) => `${id} ${now}`)
    .toSorted(compareTexts)
    .join(",");
}

/**
 * What can't go back (a config of that time is gone) is refused or replaced later, by the plan. False where the orchestrator has written to
 * the service since it was read: the next look has another version.
 */
async function goBack(service: Service, back: ServiceSpec, swarm: Swarm, voice: Voice): Promise<boolean> {
  try {
    await swarm.updateService(service, back, undefined);
  } catch (error) {
    if (OUT_OF_SEQUENCE.test(messageOf(error))) return false;
    voice.say(`${service.name} could not be put back: ${messageOf(error)}`);
  }
  return true;
}

function stillInFlight(services: readonly Service[], timeoutMs: number): PreflightError {
  const problems = services.map(({ name }): Problem => {
    const message = `An earlier update of ${name} is still in flight after ${formatDuration(timeoutMs)}.`;
    const hint = `See what holds it up: docker service ps ${name}.`;
    return { message, hint };
  });
  return new PreflightError(problems);
}
