import { Cancelled, ManagerRefusal, messageOf } from "./errors.ts";
import { type JsonObject, textAt } from "./json.ts";
import { type Plan, type PlannedService, changed, newNetworks, withRealIds } from "./plan.ts";
import { canonicalSpec, networkIdsOf } from "./spec.ts";
import { STACK_LABEL } from "./stack/defaults.ts";
import { isOver } from "./rollout.ts";
import { type Named, type Service, type ServiceSpec, type Survey, type Swarm } from "./swarm.ts";
import { together } from "./together.ts";
import { type Clock, type Voice } from "./world.ts";
import { type Watched } from "./observe.ts";

export interface Restored {
  /** Put back to the spec that ran before. */
  readonly services: readonly Watched[];
  /** Created by this deployment, and removed again. */
  readonly removed: readonly string[];
  /** What could not be put back, in words: all that failed for one reason are one failure. */
  readonly failures: readonly string[];
}

/** The orchestrator writes to a service under update, so a version can be stale by the time it is named. */
export const OUT_OF_SEQUENCE = /out of sequence/;
export const TRIES = 5;
const AGAIN_MS = 400;

/**
 * Puts back what this run has sent: earlier specs return, all at once, then new services go. Only what still is as it was sent is
 * touched: what somebody else has changed since is theirs. `sent` holds full names. What is removed is added to `removed`, which may have
 * what an earlier try has removed.
 */
export async function restore(
  plan: Plan,
  sent: ReadonlySet<string>,
  swarm: Swarm,
  clock: Clock,
  voice: Voice,
  removed: string[] = [],
): Promise<Restored> {
  const services: Watched[] = [];
  const failed = new Map<string, string[]>();
  const [names, first] = await together([namesOf(plan.stack, swarm), swarm.services(plan.stack)]);
  const affected = changed(plan).filter(({ wanted }) => sent.has(textAt(wanted, "Name")));
  const tell = (name: string, error: unknown): void => {
    failed.set(messageOf(error), [...(failed.get(messageOf(error)) ?? []), name]);
    voice.say(`${name}: could not be put back: ${messageOf(error)}`);
  };
  /** The error, where the manager refuses it for now; any other one is told. */
  const trying = async (name: string, work: () => Promise<void>): Promise<ManagerRefusal | undefined> => {
    try {
      await work();
    } catch (error) {
      if (error instanceof ManagerRefusal) return error;
      tell(name, error);
    }
    return undefined;
  };
  const back = async ({ name, before, wanted }: Updated): Promise<ManagerRefusal | undefined> =>
    await trying(name, async () => {
      const live = first.find((service) => service.id === before.id);
      const exchange = { from: asSent(wanted, names), to: before.spec, auth: undefined };
      await exchangeSpec(swarm, plan.stack, live, exchange, names.networkIds, clock);
      services.push({ name, serviceName: textAt(wanted, "Name"), sent: before.spec });
      voice.say(`${name}: back to what ran before.`);
    });
  const remove = async ({ name, wanted }: PlannedService): Promise<void> => {
    const refusal = await trying(name, async () => {
      const live = first.find((service) => service.name === textAt(wanted, "Name"));
      if (live === undefined) return;
      if (!same(live.spec, asSent(wanted, names), names.networkIds))
        throw new ChangedMeanwhile(SOMEBODY_ELSE);
      await swarm.removeService(live.id);
      removed.push(name);
      voice.say(`${name}: removed, since this deployment created it.`);
    });
    if (refusal !== undefined) tell(name, refusal);
  };
  /** Those that the manager refused. */
  const allBack = async (updated: readonly Updated[]): Promise<ReadonlyMap<Updated, ManagerRefusal>> => {
    const answers = await together(updated.map(async (each) => [each, await back(each)] as const));
    return new Map(answers.flatMap(([each, refusal]) => (refusal === undefined ? [] : [[each, refusal]])));
  };
  const updated = affected.filter((each): each is Updated => each.before !== undefined);
  let refused = await allBack(updated);
  await together(affected.filter(({ before }) => before === undefined).map(remove));
  // A port that one wants back may have been held until now by another one, or by one that was created.
  for (let left = updated.length + 1; refused.size > 0 && refused.size < left;) {
    left = refused.size;
    refused = await allBack([...refused.keys()]);
  }
  for (const [{ name }, refusal] of refused) tell(name, refusal);
  const failures = [...failed].map(([why, all]) => `${all.join(", ")}: ${why}`);
  return { services, removed, failures };
}

type Updated = PlannedService & { readonly before: Service };

/** Names to ids. */
interface Names {
  readonly ids: ReadonlyMap<string, string>;
  readonly networkIds: ReadonlyMap<string, string>;
}

/** Between two looks at what is ending. */
const LOOK_AGAIN_MS = 1000;

/**
 * Removes the stack's networks that this deployment has created: docker leaves a network that exists as it is, so the next deployment
 * would get it, whatever its file says by then. One that a way back could still need stays. Swarm lets a network go under tasks that are
 * still ending, and the next deployment would find a name that is neither free nor of use (SWARM 9 and 12). So those tasks are waited for,
 * and afterwards the nodes; `looks` is how often it is looked at most. Gives the names, and in words what stays.
 */
export async function removeNetworks(
  plan: Plan,
  swarm: Swarm,
  clock: Clock,
  looks: number,
): Promise<{ readonly removed: readonly string[]; readonly failures: readonly string[] }> {
  const names = newNetworks(plan);
  const removed = new Map<string, string>();
  let failures: string[] = [];
  try {
    for (let left = looks; names.size > 0 && left > 0; left -= 1) {
      const survey = await swarm.survey(plan.stack);
      const still = unneeded(names, plan, survey);
      const ending = endingTasks(survey);
      failures =
        ending === 0
          ? await removeEach(still, removed, swarm)
          : still.map(({ name }) => `the network ${name}: ${ending} of the stack's tasks have yet to end`);
      if (still.length === 0) break;
      if (left > 1) await clock.sleep(LOOK_AGAIN_MS);
    }
  } catch (error) {
    if (error instanceof Cancelled) throw error;
    failures = [`networks that it has created: ${messageOf(error).trim()}`];
  }
  return { removed: [...removed.values()], failures };
}

/** The stack's own ones of these names that no service has in its spec, or had before; what this run sent was no release. */
function unneeded(names: ReadonlySet<string>, plan: Plan, survey: Survey): Named[] {
  const { networks, services } = survey;
  const known = namesAmong(survey);
  const sent = new Map(plan.services.map(({ wanted }) => [textAt(wanted, "Name"), wanted]));
  const before = ({ name, previous }: Service): ServiceSpec => {
    if (previous === undefined || !sent.has(name)) return previous ?? {};
    return same(previous, asSent(sent.get(name), known), known.networkIds) ? {} : previous;
  };
  const needed = JSON.stringify(services.map((service) => [service.spec, before(service)]));
  return networks
    .filter((raw) => textAt(raw, "Labels", STACK_LABEL) === plan.stack)
    .map((raw) => ({ id: textAt(raw, "Id"), name: textAt(raw, "Name") }))
    .filter(({ name }) => names.has(name))
    .filter(({ id, name }) => ![id, name].some((each) => needed.includes(JSON.stringify(each))));
}

/** Of services that are gone. */
function endingTasks({ services, tasks }: Survey): number {
  const ids = new Set(services.map(({ id }) => id));
  return tasks.filter((task) => !isOver(task) && !ids.has(task.serviceId)).length;
}

/** Adds what is gone to `removed`; why the others stay. */
async function removeEach(
  networks: readonly Named[],
  removed: Map<string, string>,
  swarm: Swarm,
): Promise<string[]> {
  const failures: string[] = [];
  for (const { id, name } of networks.filter((each) => !removed.has(each.id))) {
    try {
      await swarm.removeNetwork(id);
      removed.set(id, name);
    } catch (error) {
      if (!(error instanceof ManagerRefusal)) throw error;
      failures.push(`the network ${name}: ${error.message}`);
    }
  }
  return failures;
}

function asSent(wanted: ServiceSpec | undefined, { ids, networkIds }: Names): JsonObject {
  return canonicalSpec(withRealIds(wanted ?? {}, ids), networkIds);
}

/** Of everything that a spec may refer to, as it is now. */
async function namesOf(stack: string, swarm: Swarm): Promise<Names> {
  return namesAmong(await swarm.survey(stack));
}

function namesAmong({ networks, configs, secrets }: Survey): Names {
  const networkIds = networkIdsOf(networks);
  const objects = [...configs, ...secrets].map(({ name, id }): [string, string] => [name, id]);
  return { networkIds, ids: new Map([...networkIds, ...objects]) };
}

/** Somebody else was there first, so the service was left alone. */
export class ChangedMeanwhile extends Error {}

const SOMEBODY_ELSE = "somebody else has changed it meanwhile, so it was left alone";

/** What takes the place of what. */
interface Exchange {
  /** Canonical. */
  readonly from: JsonObject;
  readonly to: ServiceSpec;
  /** An X-Registry-Auth value; without one the swarm keeps the credentials that it has. */
  readonly auth: string | undefined;
}

/** Gives a service another spec, but only in place of the one it is known to have. `live` is the service as it was read last. */
export async function exchangeSpec(
  swarm: Swarm,
  stack: string,
  live: Service | undefined,
  { from, to, auth }: Exchange,
  networkIds: ReadonlyMap<string, string>,
  clock: Clock,
): Promise<void> {
  const id = live?.id;
  for (let attempt = 1; ; attempt += 1) {
    if (live === undefined) throw new ChangedMeanwhile("it was removed meanwhile");
    // Swarm's own rollback was faster, or nothing was sent yet; the same spec again would only disarm it.
    if (same(live.spec, canonicalSpec(to, networkIds), networkIds)) return;
    if (!same(live.spec, from, networkIds)) throw new ChangedMeanwhile(SOMEBODY_ELSE);
    try {
      await swarm.updateService(live, to, auth);
      return;
    } catch (error) {
      if (attempt === TRIES || !OUT_OF_SEQUENCE.test(messageOf(error))) throw error;
      await clock.sleep(AGAIN_MS);
    }
    live = (await swarm.services(stack)).find((service) => service.id === id);
  }
}

function same(live: ServiceSpec, canonical: JsonObject, networkIds: ReadonlyMap<string, string>): boolean {
  return JSON.stringify(canonicalSpec(live, networkIds)) === JSON.stringify(canonical);
}
