import { Cancelled, LockError, messageOf } from "./errors.ts";
import { type Watched } from "./observe.ts";
import { type Plan } from "./plan.ts";
import { type Rollout } from "./begin.ts";
import { type ServiceResult } from "./report.ts";
import { removeNetworks, restore } from "./restore.ts";
import { isOver, isUp } from "./rollout.ts";
import { type Service, type Survey } from "./swarm.ts";
import { type Watch, watch } from "./watch.ts";
import { type Session } from "./world.ts";
import { imageOf } from "./spec.ts";

/** Long enough to see a service that was put back fall over again; its release has been good for longer than that. */
const STABLE_AGAIN_MS = 5000;

/** What was to be done, and what was there before. */
interface Before {
  readonly plan: Plan;
  readonly survey: Survey;
}

/**
 * What becomes of the stack after a failure: put back, or kept, as the workflow says. `error` is what interrupted the rollout, if
 * anything did; it stays the story, and that putting things back failed as well is told beside it.
 */
export async function aftermath(
  prepared: Before,
  sent: ReadonlySet<string>,
  rollout: Rollout,
  session: Session,
  error: unknown,
): Promise<void> {
  const { facts, world } = rollout;
  world.voice.endGroup();
  facts.aftermath = await whatBecame(prepared, sent, rollout, session, error);
  facts.aftermath.forEach((line) => world.voice.say(line));
}

async function whatBecame(
  prepared: Before,
  sent: ReadonlySet<string>,
  rollout: Rollout,
  session: Session,
  error: unknown,
): Promise<string[]> {
  const { facts, inputs, world } = rollout;
  const { plan } = prepared;
  if (sent.size === 0)
    return ["No service was changed.", ...(await withoutNetworks(plan, rollout, session, error))];
  // Who has lost the lock may not put anything back either: somebody else works on the stack.
  if (error instanceof LockError) return [GOES_ON];
  if (error instanceof Cancelled) return await startBack(plan, sent, [], rollout, session);
  // A manager that could not be reached until the deadline is not waited for as long once more.
  const { timeoutMs, onFailure } = inputs.rollout;
  const removed: string[] = [];
  session.waitUntil(world.clock.now() + (session.lost() === undefined ? timeoutMs : 0));
  try {
    return onFailure === "keep"
      ? await keep(plan, rollout, session)
      : await putBack(prepared, sent, removed, rollout, session);
  } catch (second) {
    if (second instanceof Cancelled) return await startBack(plan, sent, removed, rollout, session);
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
  removed: string[],
  { facts, inputs, world }: Rollout,
  session: Session,
): Promise<string[]> {
  if (inputs.rollout.onFailure === "keep") return [GOES_ON];
  const atOnce = { ...world.clock, sleep: async () => await Promise.resolve() };
  try {
    const { services, failures } = await restore(plan, sent, session.lastSwarm, atOnce, world.voice, removed);
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
  facts.services = withLiveImages(facts.services, plan, await session.swarm.services(plan.stack));
  return [KEPT];
}

function withLiveImages(
  services: readonly ServiceResult[],
  { stack }: Plan,
  live: readonly Service[],
): ServiceResult[] {
  return services.map((service) => {
    const now = live.find(({ name }) => name === `${stack}_${service.name}`);
    return { ...service, imageAfter: imageOf(now?.spec) };
  });
}

async function putBack(
  { plan, survey }: Before,
  sent: ReadonlySet<string>,
  removed: string[],
  rollout: Rollout,
  session: Session,
): Promise<string[]> {
  const { facts, world } = rollout;
  world.voice.group("Put the stack back as it was");
  const { clock, voice } = world;
  const { services, failures } = await restore(plan, sent, session.swarm, clock, voice, removed);
  // What did not run before is not waited for: it would take as long as there is time.
  const ran = new Set(
    plan.services
      .filter(({ before }) => before !== undefined && isUp(before, survey.tasks))
      .map(({ name }) => name),
  );
  const seen = await broughtBack(
    services.filter(({ name }) => ran.has(name)),
    plan,
    rollout,
    session,
  );
  const good = seen === undefined || seen.end === "stable";
  const names = services.map(({ name }) => name);
  const idle = names.filter((name) => !ran.has(name));
  facts.services = facts.services.map((service) => afterRestore(service, names, removed));
  if (!good) facts.services = withLiveImages(facts.services, plan, await session.swarm.services(plan.stack));
  const networks = await removeNetworks(plan, session.swarm, world.clock, NETWORK_LOOKS);
  world.voice.endGroup();
  return [
    names.length > 0
      ? `Put back to what ran before: ${names.join(", ")}${good && idle.length === 0 ? "; all of it runs." : "."}`
      : "",
    idle.length > 0 ? `Not waited for, since it did not run before either: ${idle.join(", ")}.` : "",
    good
      ? ""
      : `Not everything runs as before${notUpWords(seen)}. Look at the swarm with \`docker stack ps\`.`,
    ...removedWords(removed, networks.removed),
    ...failedWords([...failures, ...networks.failures]),
  ].filter((line) => line !== "");
}

/** A second apart: as long as a task that is told to stop may take by default, and some more. */
const NETWORK_LOOKS = 15;

/** How often a service is sent back that Swarm takes forward again, and the pause before the first time; it grows. */
const SEND_BACK_TRIES = 5;
const SEND_BACK_MS = 3000;

/**
 * Watches what was put back until it runs. A task of it that fails while all the others start anew (the database is not up yet) makes
 * Swarm roll back in its turn, to what it takes for the last good spec: the one that has failed. So that is sent back once more. Undefined
 * where there is nothing to watch.
 */
async function broughtBack(
  services: readonly Watched[],
  plan: Plan,
  rollout: Rollout,
  session: Session,
): Promise<Watch | undefined> {
  const { clock, voice } = rollout.world;
  if (services.length === 0) return undefined;
  const startedAt = clock.now();
  for (let tries = 1; ; tries += 1) {
    const seen = await watchAgain(services, startedAt, plan, rollout, session);
    const left = notUp(seen).map(({ name }) => name);
    if (seen.end !== "failed" || tries === SEND_BACK_TRIES) return seen;
    await clock.sleep(SEND_BACK_MS * tries);
    const again = services.filter(({ name }) => left.includes(name)).map(({ serviceName }) => serviceName);
    voice.say(`${left.join(", ")}: not as before, so what ran before is sent once more.`);
    const { failures } = await restore(plan, new Set(again), session.swarm, clock, voice);
    if (failures.length > 0) return seen;
  }
}

async function watchAgain(
  services: readonly Watched[],
  startedAt: number,
  plan: Plan,
  { inputs, world }: Rollout,
  session: Session,
): Promise<Watch> {
  const { timeoutMs, stableForMs } = inputs.rollout;
  return await watch(session.swarm, world.clock, world.voice, {
    stack: plan.stack,
    startedAt,
    services,
    oldFailures: new Set((await session.swarm.tasks(plan.stack)).filter(isOver).map(({ id }) => id)),
    networkIds: new Map(), // Both specs are the engine's own: there are no names to translate.
    seen: undefined,
    timeoutMs,
    stableForMs: Math.min(stableForMs, STABLE_AGAIN_MS),
    endOnFailure: false,
  });
}

function notUp({ verdicts }: Watch): { readonly name: string; readonly detail: string }[] {
  return [...verdicts].flatMap(([name, { kind, detail }]) =>
    kind === "converged" ? [] : [{ name, detail }],
  );
}

function notUpWords(seen: Watch): string {
  const left = notUp(seen).map(({ name, detail }) => `${name} (${detail})`);
  return left.length === 0 ? "" : `: ${left.join("; ")}`;
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
