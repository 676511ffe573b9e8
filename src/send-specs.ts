import { WHEN_THEY_ARE_DONE, createNetworks } from "./apply.ts";
import { DeployError, ManagerRefusal } from "./errors.ts";
import { type JsonObject, textAt } from "./json.ts";
import { type PlannedService, changed, withRealIds } from "./plan.ts";
import { type Prepared } from "./prepare.ts";
import { ChangedMeanwhile, exchangeSpec } from "./restore.ts";
import { canonicalSpec, networkIdsOf } from "./spec.ts";
import { type ServiceSpec } from "./swarm.ts";
import { together } from "./together.ts";
import { type Created, type Session, type World } from "./world.ts";

/** More at once gain nothing: a swarm takes in one write after another. */
const MOST_AT_ONCE = 8;

/**
 * Sends specs that are known already, by the Engine API: first the networks they need, by their definitions, then the services that
 * change, several at once. After one that failed nothing more is sent, so that one thing is told and put back.
 */
export async function sendSpecs(
  { plan, survey }: Pick<Prepared, "plan" | "survey">,
  definitions: ReadonlyMap<string, JsonObject>,
  world: World,
  session: Session,
  onSent: (serviceName: string) => void,
): Promise<Created> {
  const { swarm } = session;
  const networks = await createNetworks(plan.needs.networks, swarm, world.voice, definitions);
  const networkIds = networkIdsOf(survey.networks);
  const send = async ({ before, auth }: PlannedService, to: ServiceSpec): Promise<void> => {
    if (before === undefined) return await swarm.createService(to, auth);
    const exchange = { from: canonicalSpec(before.spec, networkIds), to, auth };
    await exchangeSpec(swarm, plan.stack, before, exchange, networkIds, world.clock);
  };
  const left = [...changed(plan)];
  let failed = false;
  const sendNext = async (): Promise<void> => {
    for (let next = left.shift(); next !== undefined && !failed; next = left.shift()) {
      const name = textAt(next.wanted, "Name");
      try {
        await send(next, withRealIds(next.wanted ?? {}, networks));
      } catch (error) {
        failed = true;
        if (isRefusal(error)) throw notSent(name, error);
        onSent(name); // Without an answer nobody knows what became of it.
        throw error;
      }
      onSent(name);
      world.voice.say(`Sent ${name}.`);
    }
  };
  const lanes = Math.min(left.length, MOST_AT_ONCE, session.most);
  await together(Array.from({ length: lanes }, sendNext));
  return { networks, configs: new Map(), secrets: new Map() };
}

/** Whether the service is certain to be as it was: the manager refused, or somebody else had been there before anything was sent. */
function isRefusal(error: unknown): error is Error {
  return error instanceof ManagerRefusal || error instanceof ChangedMeanwhile;
}

function notSent(name: string, error: Error): DeployError {
  const hint = /out of sequence|meanwhile|already exists|name conflicts/.test(error.message)
    ? WHEN_THEY_ARE_DONE
    : "The engine's log on the manager may say more.";
  return new DeployError(`The service ${name} could not be sent: ${error.message}`, hint, error);
}
