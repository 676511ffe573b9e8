import { messageOf } from "./errors.ts";
import { textAt } from "./json.ts";
import { type Plan, changed } from "./plan.ts";
import { canonicalSpec } from "./spec.ts";
import { type Service, type Swarm } from "./swarm.ts";
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

/** Puts the whole stack back as it was before the plan: earlier specs return, new services go. Nothing else is touched. */
export async function restore(plan: Plan, swarm: Swarm, clock: Clock, voice: Voice): Promise<Restored> {
  const services: Watched[] = [];
  const removed: string[] = [];
  const failures: string[] = [];
  for (const { name, before, wanted } of changed(plan)) {
    const serviceName = textAt(wanted, "Name");
    try {
      if (before === undefined) {
        if (await removeNew(swarm, plan.stack, serviceName)) removed.push(name);
      } else {
        await putBack(swarm, plan.stack, before, clock);
        services.push({ name, serviceName, sent: before.spec });
        voice.say(`${name}: back to what ran before.`);
      }
    } catch (error) {
      failures.push(`${name}: ${messageOf(error)}`);
      voice.say(`${name}: could not be put back: ${messageOf(error)}`);
    }
  }
  for (const name of removed) voice.say(`${name}: removed, since this deployment created it.`);
  return { services, removed, failures };
}

async function removeNew(swarm: Swarm, stack: string, serviceName: string): Promise<boolean> {
  const live = (await swarm.services(stack)).find((service) => service.name === serviceName);
  if (live !== undefined) await swarm.removeService(live.id);
  return live !== undefined;
}

async function putBack(swarm: Swarm, stack: string, before: Service, clock: Clock): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    const live = (await swarm.services(stack)).find((service) => service.id === before.id);
    if (live === undefined) throw new Error("it was removed meanwhile");
    if (same(live, before)) return; // Swarm's own rollback was faster; the same spec again would only disarm it.
    try {
      await swarm.updateService(live, before.spec, undefined);
      return;
    } catch (error) {
      if (attempt === TRIES || !/out of sequence/.test(messageOf(error))) throw error;
      await clock.sleep(AGAIN_MS);
    }
  }
}

/** Both are the engine's own words, so there are no names to translate. */
function same(a: Service, b: Service): boolean {
  return (
    JSON.stringify(canonicalSpec(a.spec, new Map())) === JSON.stringify(canonicalSpec(b.spec, new Map()))
  );
}
