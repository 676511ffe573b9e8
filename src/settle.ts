import { type Problem, PreflightError, messageOf } from "./errors.ts";
import { formatDuration } from "./inputs/duration.ts";
import { numberAt, objectAt } from "./json.ts";
import { OUT_OF_SEQUENCE } from "./restore.ts";
import { isInFlight } from "./rollout.ts";
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
}

/**
 * Brings the stack to a state from which something new can be sent. Whoever began the update that is in flight, or paused, is gone or
 * knows nothing of us: to send anything over it would disarm Swarm's way back (SWARM 2.5 b), and to send the same again over a paused
 * one would end the tasks that still serve (SWARM 2.5 a). So an update in flight may end, as long as something moves; one that is stuck
 * or paused goes back to the spec before it, which costs nothing that serves (SWARM 10). Gives the survey of what is there then.
 */
export async function settled(first: Survey, request: SettleRequest): Promise<Survey> {
  const { stack, swarm, clock, voice, timeoutMs } = request;
  const start = clock.now();
  const said = new Set<string>();
  const sayOnce = (line: string): void => {
    if (!said.has(line)) voice.say(line);
    said.add(line);
  };
  /** Services that were put back, by id: they are in flight on our account, and are not put back again. */
  const putBack = new Set<string>();
  const standstill = new Standstill();
  let moved = { at: start, tasks: "" };
  for (let survey = first; ; survey = await swarm.survey(stack)) {
    const unsettled = survey.services.filter((service) => isUnsettled(service, putBack));
    if (unsettled.length === 0) return survey;
    const names = unsettled.map(({ name }) => name).join(", ");
    if (clock.now() - start >= timeoutMs) throw stillInFlight(unsettled, timeoutMs);
    const { services, tasks, nodes } = survey;
    const standsStill = standstill.stillMs(clock.now(), services, tasks, nodes) !== undefined;
    if (statesOf(tasks) !== moved.tasks) moved = { at: clock.now(), tasks: statesOf(tasks) };
    for (const service of unsettled) {
      const waitsInVain = standsStill && tasks.some((task) => task.serviceId === service.id && waits(task));
      const isStuck = waitsInVain || clock.now() - moved.at >= mostQuietMs(service);
      const back = wayBack(service, isStuck, putBack);
      if (back === undefined) continue;
      putBack.add(service.id);
      sayOnce(
        `${service.name}: ${state(service)} by an earlier update; it goes back to what ran before that.`,
      );
      const isSent = await goBack(service, back, swarm, voice);
      if (!isSent) putBack.delete(service.id);
    }
    sayOnce(`Waiting for an earlier update of ${names} to end.`);
    await clock.sleep(AGAIN_MS);
  }
}

/** What a deployment would have to wait for, or put back, before anything new could be sent: a sentence for each service. */
export function unsettledLines({ services }: Survey): string[] {
  return services
    .filter((service) => isUnsettled(service, new Set()))
    .map(
      ({ name, update }) =>
        `An earlier update of ${name} is in flight (${update?.state}: ${update?.message}). A deployment lets it end, or puts back one that is stuck or paused, before it plans.`,
    );
}

function isUnsettled(service: Service, putBack: ReadonlySet<string>): boolean {
  const { id, update } = service;
  if (isInFlight(service)) return true;
  return update?.state === "paused" && before(service) !== undefined && !putBack.has(id);
}

/** The spec to go back to, where it is time. What Swarm itself rolls back is on its way there already. */
function wayBack(service: Service, isStuck: boolean, putBack: ReadonlySet<string>): ServiceSpec | undefined {
  const { id, update } = service;
  if (putBack.has(id)) return undefined;
  return update?.state === "paused" || (update?.state === "updating" && isStuck)
    ? before(service)
    : undefined;
}

/** The spec before the update; none where it has the same tasks, as after a change of replicas: to send it would end those that serve. */
function before({ spec, previous }: Service): ServiceSpec | undefined {
  const sameTasks = JSON.stringify(previous?.TaskTemplate) === JSON.stringify(spec.TaskTemplate);
  return sameTasks ? undefined : previous;
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
    const hint = `See what holds it up: docker service ps ${name}; end it with docker service rollback ${name}.`;
    return { message, hint };
  });
  return new PreflightError(problems);
}
