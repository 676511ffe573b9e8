import { Cancelled, LockError, messageOf } from "./errors.ts";
import { type Watched } from "./observe.ts";
import { type Plan } from "./plan.ts";
import { type Rollout } from "./begin.ts";
import { type ServiceResult, imageOf } from "./report.ts";
import { removeNetworks, restore } from "./restore.ts";
import { isOver } from "./rollout.ts";
import { watch } from "./watch.ts";
import { type Session } from "./world.ts";

/** Long enough to see a service that was put back fall over again; its release has been good for longer than that. */
const STABLE_AGAIN_MS = 5000;

/**
 * What becomes of the stack after a failure: put back, or kept, as the workflow says. `error` is what interrupted the rollout, if
 * anything did; it stays the story, and that putting things back failed as well is told beside it.
 */
export async function aftermath(
  plan: Plan,
  sent: ReadonlySet<string>,
  rollout: Rollout,
  session: Session,
  error: unknown,
): Promise<void> {
  const { facts, world } = rollout;
  world.voice.endGroup();
  facts.aftermath = await whatBecame(plan, sent, rollout, session, error);
  facts.aftermath.forEach((line) => world.voice.say(line));
}

async function whatBecame(
  plan: Plan,
  sent: ReadonlySet<string>,
  rollout: Rollout,
  session: Session,
  error: unknown,
): Promise<string[]> {
  const { facts, inputs, world } = rollout;
  if (sent.size === 0)
    return ["No service was changed.", ...(await withoutNetworks(plan, rollout, session, error))];
  // Who has lost the lock may not put anything back either: somebody else works on the stack.
  if (error instanceof LockError) return [GOES_ON];
  if (error instanceof Cancelled) return await startBack(plan, sent, rollout, session);
  // A manager that could not be reached until the deadline is not waited for as long once more.
  const { timeoutMs, onFailure } = inputs.rollout;
  session.waitUntil(world.clock.now() + (session.lost() === undefined ? timeoutMs : 0));
  try {
    return onFailure === "keep"
      ? await keep(plan, rollout, session)
      : await putBack(plan, sent, rollout, session);
  } catch (second) {
    if (second instanceof Cancelled) return await startBack(plan, sent, rollout, session);
    const failed =
      onFailure === "keep" ? `${KEPT} What runs now could not be asked` : "The stack could not be put back";
    facts.services = facts.services.map((service) => afterNothing(service, plan, sent));
    return [
      `${failed}: ${messageOf(second)} The swarm was sent ${[...sent].join(", ")}; look at it with \`docker stack ps\`.`,
    ];
  }
}

/** What was sent before the first service, a network of the stack, goes again. */
async function withoutNetworks(
  plan: Plan,
  { inputs, world }: Rollout,
  session: Session,
  error: unknown,
): Promise<string[]> {
  if (inputs.rollout.onFailure === "keep" || error instanceof LockError) return [];
  const swarm = error instanceof Cancelled ? session.lastSwarm : session.swarm;
  const { removed, failures } = await removeNetworks(plan, swarm, world.clock, 1);
  return [...removedWords([], removed), ...failedWords(failures)];
}

const GOES_ON =
  "What had been sent goes on rolling out on the swarm; nothing was put back. Look at it with `docker stack ps`.";

/** The runner grants a cancelled job some seconds: enough to send the way back, and not to watch it. */
async function startBack(
  plan: Plan,
  sent: ReadonlySet<string>,
  { facts, inputs, world }: Rollout,
  session: Session,
): Promise<string[]> {
  if (inputs.rollout.onFailure === "keep") return [GOES_ON];
  const atOnce = { ...world.clock, sleep: async () => await Promise.resolve() };
  try {
    const { services, removed, failures } = await restore(plan, sent, session.lastSwarm, atOnce, world.voice);
    const names = services.map(({ name }) => name);
    facts.services = facts.services.map((service) => afterRestore(service, names, removed));
    const networks = await removeNetworks(plan, session.lastSwarm, atOnce, 1);
    return [
      names.length > 0
        ? `Sent back to what ran before: ${names.join(", ")}. Nobody watches it any more: look at it with \`docker stack ps\`.`
        : "",
      ...removedWords(removed, networks.removed),
      ...failedWords([...failures, ...networks.failures]),
    ].filter((line) => line !== "");
  } catch (error) {
    return [`${GOES_ON} (${messageOf(error)})`];
  }
}

function removedWords(services: readonly string[], networks: readonly string[]): string[] {
  const all = [...services, ...networks.map((name) => `the network ${name}`)];
  return all.length > 0 ? [`Removed, since this deployment created it: ${all.join(", ")}.`] : [];
}

function failedWords(failures: readonly string[]): string[] {
  return failures.map((failure) => `Could not be put back: ${failure.replace(/\.?$/, ".")}`);
}

const KEPT = 'The stack was left as it is for inspection ("on-failure: keep").';

/** What runs now may be what Swarm itself has put back. */
async function keep(plan: Plan, { facts }: Rollout, session: Session): Promise<string[]> {
  const live = await session.swarm.services(plan.stack);
  facts.services = facts.services.map((service) => {
    const now = live.find(({ name }) => name === `${plan.stack}_${service.name}`);
    return { ...service, imageAfter: imageOf(now?.spec) };
  });
  return [KEPT];
}

async function putBack(
  plan: Plan,
  sent: ReadonlySet<string>,
  rollout: Rollout,
  session: Session,
): Promise<string[]> {
  const { facts, world } = rollout;
  world.voice.group("Put the stack back as it was");
  const { services, removed, failures } = await restore(plan, sent, session.swarm, world.clock, world.voice);
  const good = await runsAgain(services, plan, rollout, session);
  const names = services.map(({ name }) => name);
  facts.services = facts.services.map((service) => afterRestore(service, names, removed));
  const networks = await removeNetworks(plan, session.swarm, world.clock, NETWORK_LOOKS);
  world.voice.endGroup();
  return [
    names.length > 0
      ? `Put back to what ran before: ${names.join(", ")}${good ? "; all of it runs." : "."}`
      : "",
    good ? "" : "Not everything runs as before: look at the swarm with `docker stack ps`.",
    ...removedWords(removed, networks.removed),
    ...failedWords([...failures, ...networks.failures]),
  ].filter((line) => line !== "");
}

/** A second apart: as long as a task that is told to stop may take by default, and some more. */
const NETWORK_LOOKS = 15;

async function runsAgain(
  services: readonly Watched[],
  plan: Plan,
  { inputs, world }: Rollout,
  session: Session,
): Promise<boolean> {
  if (services.length === 0) return true;
  const { timeoutMs, stableForMs } = inputs.rollout;
  const { end } = await watch(session.swarm, world.clock, world.voice, {
    stack: plan.stack,
    startedAt: world.clock.now(),
    services,
    oldFailures: new Set((await session.swarm.tasks(plan.stack)).filter(isOver).map(({ id }) => id)),
    networkIds: new Map(), // Both specs are the engine's own: there are no names to translate.
    seen: undefined,
    timeoutMs,
    stableForMs: Math.min(stableForMs, STABLE_AGAIN_MS),
    endOnFailure: false,
  });
  return end === "stable";
}

/** What was sent, and nobody could say what became of it. */
function afterNothing(service: ServiceResult, plan: Plan, sent: ReadonlySet<string>): ServiceResult {
  return sent.has(`${plan.stack}_${service.name}`) && service.state === service.change
    ? { ...service, state: "unknown" }
    : service;
}

/** The table goes on saying which service was to blame. */
function afterRestore(
  service: ServiceResult,
  restored: readonly string[],
  removed: readonly string[],
): ServiceResult {
  const state = (otherwise: string): string => (service.state === "failed" ? "failed" : otherwise);
  if (removed.includes(service.name)) return { ...service, state: state("removed"), imageAfter: "" };
  if (restored.includes(service.name))
    return { ...service, state: state("restored"), imageAfter: service.imageBefore };
  return service;
}
