import { Cancelled, ConnectError, messageOf } from "./errors.ts";
import { type JsonObject, textAt } from "./json.ts";
import { type Plan, changed, withRealIds } from "./plan.ts";
import { canonicalSpec, networkIdsOf } from "./spec.ts";
import { type Service, type ServiceSpec, type Swarm } from "./swarm.ts";
import { type Clock, type Voice } from "./world.ts";
import { type Watched } from "./observe.ts";

export interface Restored {
  /** Put back to the spec that ran before. */
  readonly services: readonly Watched[];
  /** Created by this deployment, and removed again. */
  readonly removed: readonly string[];
  /** What could not be put back, in words. */
  readonly failures: readonly string[];
}

/** The orchestrator writes to a service under update, so a version can be stale by the time it is named. */
const TRIES = 5;
const AGAIN_MS = 400;

/**
 * Puts back what this run has sent: earlier specs return, new services go. Only what still is as it was sent is touched: what
 * somebody else has changed since is theirs. `sent` holds full names.
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
  const failures: string[] = [];
  const names = await namesOf(plan.stack, swarm);
  for (const { name, before, wanted } of changed(plan)) {
    const serviceName = textAt(wanted, "Name");
    if (!sent.has(serviceName)) continue;
    const asSent = canonicalSpec(withRealIds(wanted ?? {}, names.ids), names.networkIds);
    try {
      if (before === undefined) {
        if (await removeNew(swarm, plan.stack, serviceName, asSent, names.networkIds)) removed.push(name);
      } else {
        const live = (await swarm.services(plan.stack)).find((service) => service.id === before.id);
        const exchange = { from: asSent, to: before.spec, auth: undefined };
        await exchangeSpec(swarm, plan.stack, live, exchange, names.networkIds, clock);
        services.push({ name, serviceName, sent: before.spec });
        voice.say(`${name}: back to what ran before.`);
      }
    } catch (error) {
      failures.push(`${name}: ${messageOf(error)}`);
      voice.say(`${name}: could not be put back: ${messageOf(error)}`);
      // A step that is being ended, or a manager that is gone, will not do better with the next one.
      if (error instanceof Cancelled || error instanceof ConnectError) break;
    }
  }
  for (const name of removed) voice.say(`${name}: removed, since this deployment created it.`);
  return { services, removed, failures };
}

/** Names to ids of everything that a spec may refer to, as they are now. */
async function namesOf(
  stack: string,
  swarm: Swarm,
): Promise<{ ids: ReadonlyMap<string, string>; networkIds: ReadonlyMap<string, string> }> {
  const { networks, configs, secrets } = await swarm.survey(stack);
  const networkIds = networkIdsOf(networks);
  const objects = [...configs, ...secrets].map(({ name, id }): [string, string] => [name, id]);
  return { networkIds, ids: new Map([...networkIds, ...objects]) };
}

/** Somebody else was there first, so the service was left alone. */
export class ChangedMeanwhile extends Error {}

const SOMEBODY_ELSE = "somebody else has changed it meanwhile, so it was left alone";

async function removeNew(
  swarm: Swarm,
  stack: string,
  serviceName: string,
  sent: JsonObject,
  networkIds: ReadonlyMap<string, string>,
): Promise<boolean> {
  const live = (await swarm.services(stack)).find((service) => service.name === serviceName);
  if (live === undefined) return false;
  if (!same(live.spec, sent, networkIds)) throw new ChangedMeanwhile(SOMEBODY_ELSE);
  await swarm.removeService(live.id);
  return true;
}

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
      if (attempt === TRIES || !/out of sequence/.test(messageOf(error))) throw error;
      await clock.sleep(AGAIN_MS);
    }
    live = (await swarm.services(stack)).find((service) => service.id === id);
  }
}

function same(live: ServiceSpec, canonical: JsonObject, networkIds: ReadonlyMap<string, string>): boolean {
  return JSON.stringify(canonicalSpec(live, networkIds)) === JSON.stringify(canonical);
}
