import { Cancelled, ConnectError, messageOf } from "./errors.ts";
import { type JsonObject, textAt } from "./json.ts";
import { type Plan, changed, withRealIds } from "./plan.ts";
import { canonicalSpec } from "./spec.ts";
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
 * Puts the whole stack back as it was before the plan: earlier specs return, new services go. Only what still is as this deployment
 * sent it is touched: what somebody else has changed since is theirs.
 */
export async function restore(plan: Plan, swarm: Swarm, clock: Clock, voice: Voice): Promise<Restored> {
  const services: Watched[] = [];
  const removed: string[] = [];
  const failures: string[] = [];
  const names = await namesOf(plan.stack, swarm);
  for (const planned of changed(plan)) {
    const { name, before } = planned;
    const sent = canonicalSpec(withRealIds(planned.wanted ?? {}, names), names);
    const serviceName = textAt(planned.wanted, "Name");
    try {
      if (before === undefined) {
        if (await removeNew(swarm, plan.stack, serviceName, sent)) removed.push(name);
      } else {
        await putBack(swarm, plan.stack, before, sent, clock);
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
async function namesOf(stack: string, swarm: Swarm): Promise<ReadonlyMap<string, string>> {
  const { networks, configs, secrets } = await swarm.survey(stack);
  const known = [...configs, ...secrets].map(({ name, id }): [string, string] => [name, id]);
  return new Map([
    ...known,
    ...networks.map((raw): [string, string] => [textAt(raw, "Name"), textAt(raw, "Id")]),
  ]);
}

const SOMEBODY_ELSE = "somebody else has changed it meanwhile, so it was left alone";

async function removeNew(
  swarm: Swarm,
  stack: string,
  serviceName: string,
  sent: JsonObject,
): Promise<boolean> {
  const live = (await swarm.services(stack)).find((service) => service.name === serviceName);
  if (live === undefined) return false;
  if (!same(live.spec, sent)) throw new Error(SOMEBODY_ELSE);
  await swarm.removeService(live.id);
  return true;
}

async function putBack(
  swarm: Swarm,
  stack: string,
  before: Service,
  sent: JsonObject,
  clock: Clock,
): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    const live = (await swarm.services(stack)).find((service) => service.id === before.id);
    if (live === undefined) throw new Error("it was removed meanwhile");
    // Swarm's own rollback was faster, or nothing was sent yet; the same spec again would only disarm it.
    if (same(live.spec, canonicalSpec(before.spec, new Map()))) return;
    if (!same(live.spec, sent)) throw new Error(SOMEBODY_ELSE);
    try {
      await swarm.updateService(live, before.spec, undefined);
      return;
    } catch (error) {
      if (attempt === TRIES || !/out of sequence/.test(messageOf(error))) throw error;
      await clock.sleep(AGAIN_MS);
    }
  }
}

function same(live: ServiceSpec, canonical: JsonObject): boolean {
  return JSON.stringify(canonicalSpec(live, new Map())) === JSON.stringify(canonical);
}
