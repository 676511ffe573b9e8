import { Cancelled, ManagerRefusal, messageOf } from "./errors.ts";
import { type JsonObject, textAt } from "./json.ts";
import { type Plan, type PlannedService, changed, newNetworks, withRealIds } from "./plan.ts";
import { canonicalSpec, networkIdsOf } from "./spec.ts";
import { STACK_LABEL } from "./stack/defaults.ts";
import { type Service, type ServiceSpec, type Swarm } from "./swarm.ts";
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
 * touched: what somebody else has changed since is theirs. `sent` holds full names.
 */
export async function restore(
  plan: Plan,
  sent: ReadonlySet<string>,
  swarm: Swarm,
  clock: Clock,
  voice: Voice,
): Promise<Restored> {
  const services: Watched[] = [];
  const removed: string[] = [];
  const failed = new Map<string, string[]>();
  const [names, first] = await together([namesOf(plan.stack, swarm), swarm.services(plan.stack)]);
  const affected = changed(plan).filter(({ wanted }) => sent.has(textAt(wanted, "Name")));
  const trying = async (name: string, work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      failed.set(messageOf(error), [...(failed.get(messageOf(error)) ?? []), name]);
      voice.say(`${name}: could not be put back: ${messageOf(error)}`);
    }
  };
  const back = async ({ name, before, wanted }: PlannedService): Promise<void> => {
    if (before === undefined) return;
    await trying(name, async () => {
      const live = first.find((service) => service.id === before.id);
      const exchange = { from: asSent(wanted, names), to: before.spec, auth: undefined };
      await exchangeSpec(swarm, plan.stack, live, exchange, names.networkIds, clock);
      services.push({ name, serviceName: textAt(wanted, "Name"), sent: before.spec });
      voice.say(`${name}: back to what ran before.`);
    });
  };
  const remove = async ({ name, before, wanted }: PlannedService): Promise<void> => {
    if (before !== undefined) return;
    await trying(name, async () => {
      const live = first.find((service) => service.name === textAt(wanted, "Name"));
      if (live === undefined) return;
      if (!same(live.spec, asSent(wanted, names), names.networkIds))
        throw new ChangedMeanwhile(SOMEBODY_ELSE);
      await swarm.removeService(live.id);
      removed.push(name);
      voice.say(`${name}: removed, since this deployment created it.`);
    });
  };
  await together(affected.map(back));
  await together(affected.map(remove));
  const failures = [...failed].map(([why, all]) => `${all.join(", ")}: ${why}`);
  return { services, removed, failures };
}

/** Names to ids. */
interface Names {
  readonly ids: ReadonlyMap<string, string>;
  readonly networkIds: ReadonlyMap<string, string>;
}

/** Tasks that are ending may still be on a network. */
const AFTER_TASKS_MS = 1000;

/**
 * Removes the stack's networks that this deployment has created: docker leaves a network that exists as it is, so the next deployment
 * would get it, whatever its file says by then. One that a way back could still need stays. Gives the names, and in words what could
 * not be removed in so many tries.
 */
export async function removeNetworks(
  plan: Plan,
  swarm: Swarm,
  clock: Clock,
  tries: number,
): Promise<{ readonly removed: readonly string[]; readonly failures: readonly string[] }> {
  const names = newNetworks(plan);
  if (names.size === 0) return { removed: [], failures: [] };
  const { networks, services } = await swarm.survey(plan.stack);
  const needed = JSON.stringify(services.map(({ spec, previous = {} }) => [spec, previous]));
  const removed: string[] = [];
  const failures: string[] = [];
  for (const raw of networks) {
    const [id, name] = [textAt(raw, "Id"), textAt(raw, "Name")];
    const isOurs = names.has(name) && textAt(raw, "Labels", STACK_LABEL) === plan.stack;
    if (!isOurs || [id, name].some((each) => needed.includes(JSON.stringify(each)))) continue;
    const refusal = await removeNetwork(id, swarm, clock, tries);
    if (refusal === undefined) removed.push(name);
    else failures.push(`the network ${name}: ${refusal}`);
  }
  return { removed, failures };
}

/** Why it could not be removed; undefined where it is gone. */
async function removeNetwork(
  id: string,
  swarm: Swarm,
  clock: Clock,
  tries: number,
): Promise<string | undefined> {
  for (let left = tries - 1; ; left -= 1) {
    try {
      await swarm.removeNetwork(id);
      return undefined;
    } catch (error) {
      if (error instanceof Cancelled) throw error;
      if (left === 0 || !(error instanceof ManagerRefusal)) return messageOf(error);
      await clock.sleep(AFTER_TASKS_MS);
    }
  }
}

function asSent(wanted: ServiceSpec | undefined, { ids, networkIds }: Names): JsonObject {
  return canonicalSpec(withRealIds(wanted ?? {}, ids), networkIds);
}

/** Of everything that a spec may refer to, as it is now. */
async function namesOf(stack: string, swarm: Swarm): Promise<Names> {
  const { networks, configs, secrets } = await swarm.survey(stack);
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
