import { aftermath } from "./aftermath.ts";
import { NOTHING_CREATED } from "./apply.ts";
import { messageOf } from "./errors.ts";
import { textAt } from "./json.ts";
import { type Watched, watched } from "./observe.ts";
import { type Plan, isEmpty, withRealIds } from "./plan.ts";
import { type Rollout } from "./begin.ts";
import { checksItself } from "./preflight/healthcheck.ts";
import { type Prepared, versionsOf } from "./prepare.ts";
import { type ServiceResult } from "./report.ts";
import { endedByItself, isJob, isOver, mayFinish } from "./rollout.ts";
import { networkIdsOf, imageOf } from "./spec.ts";
import { type Survey } from "./swarm.ts";
import { type Watch, rolloutProblems, watch } from "./watch.ts";
import { type Created, type Session, type World } from "./world.ts";

/**
 * Brings what a plan changes to the swarm, and tells what was created for it. Calls `onSent` with the full name of each service that
 * the manager took, or may have taken before it fell silent.
 */
export type Send = (onSent: (serviceName: string) => void) => Promise<Created>;

/** Sends, watches and judges; afterwards prunes, or deals with the failure. Whether all of it runs. */
export async function carryOut(
  prepared: Prepared,
  send: Send,
  rollout: Rollout,
  session: Session,
): Promise<boolean> {
  const sent = new Set<string>();
  const seen = await sendAndWatch(prepared, send, sent, rollout, session);
  return await conclude(seen, prepared, sent, rollout, session);
}

const SENDS_NOTHING: Send = async () => await Promise.resolve(NOTHING_CREATED);

/**
 * Where there is nothing to send: makes sure that all of it runs, which needs no lock, since it writes nothing. Undefined where somebody
 * else has changed the stack since it was looked at: then nothing is proven.
 */
export async function confirm(
  prepared: Prepared,
  rollout: Rollout,
  session: Session,
): Promise<boolean | undefined> {
  const sent = new Set<string>();
  const seen = await sendAndWatch(prepared, SENDS_NOTHING, sent, rollout, session);
  if (await hasChanged(prepared, rollout, session)) {
    rollout.world.voice.say("Somebody else has changed the stack meanwhile.");
    return undefined;
  }
  return await conclude(seen, prepared, sent, rollout, session);
}

/** What was seen so short a time ago is so; nobody can lock, change and judge a stack within it. */
const MOMENT_MS = 1000;

function isRecent({ survey }: Prepared, { world }: Rollout): boolean {
  return world.clock.now() - survey.askedAt <= MOMENT_MS;
}

async function hasChanged(prepared: Prepared, rollout: Rollout, { swarm }: Session): Promise<boolean> {
  if (isRecent(prepared, rollout)) return false;
  const now = await swarm.services(prepared.plan.stack);
  return versionsOf(now).join() !== versionsOf(prepared.survey.services).join();
}

async function conclude(
  seen: Watch,
  prepared: Prepared,
  sent: ReadonlySet<string>,
  rollout: Rollout,
  session: Session,
): Promise<boolean> {
  const { facts, inputs } = rollout;
  const { plan } = prepared;
  facts.services = facts.services.map((service) => withVerdict(service, seen));
  facts.stories = seen.stories;
  if (seen.end === "stable") {
    facts.status = isEmpty(plan) ? "unchanged" : inputs.mode === "rollback" ? "rolled-back" : "deployed";
    await prune(plan, rollout, session);
    return true;
  }
  facts.reason = "rollout";
  facts.problems = rolloutProblems(seen, inputs.rollout.timeoutMs);
  await aftermath(prepared, sent, rollout, session, undefined);
  return false;
}

/** `sent` gets the full names of the services that this run itself has created or updated. */
async function sendAndWatch(
  prepared: Prepared,
  send: Send,
  sent: Set<string>,
  rollout: Rollout,
  session: Session,
): Promise<Watch> {
  const { plan, survey } = prepared;
  const { inputs, world } = rollout;
  world.voice.group(isEmpty(plan) ? "Nothing to send: making sure that all of it runs" : "Deploy and watch");
  try {
    const startedAt = world.clock.now();
    session.waitUntil(startedAt + inputs.rollout.timeoutMs);
    const created = await send((name) => void sent.add(name));
    const ids = new Map([...created.networks, ...created.configs, ...created.secrets]);
    const { timeoutMs, stableForMs } = inputs.rollout;
    const services = await withImageChecks(watched(plan.services), world);
    return await watch(session.swarm, world.clock, world.voice, {
      stack: plan.stack,
      startedAt,
      services: services.map((each) => ({ ...each, sent: withRealIds(each.sent, ids) })),
      oldFailures: new Set(survey.tasks.filter(isOver).map(({ id }) => id)),
      networkIds: new Map([...networkIdsOf(survey.networks), ...created.networks]),
      timeoutMs,
      seen: isEmpty(plan) && isRecent(prepared, rollout) ? survey : undefined,
      stableForMs: isEmpty(plan) ? unprovenMs(survey, stableForMs) : stableForMs,
      endOnFailure: true,
    });
  } catch (error) {
    await aftermath(prepared, sent, rollout, session, error);
    throw error;
  }
}

/** Of services that may end well, whether their image asks them how they are, as far as this runner has it: then they are meant to stay. */
async function withImageChecks(services: readonly Watched[], { images }: World): Promise<Watched[]> {
  return await Promise.all(
    services.map(async (each) => {
      if (isJob(each.sent) || !mayFinish(each.sent)) return each;
      const config = await images.configOf(imageOf(each.sent));
      return { ...each, checksItself: checksItself(config) };
    }),
  );
}

/**
 * Of the time for which all must run, what has yet to pass where nothing is sent: none, where every task runs for as long already, by the
 * manager's clock. Where tasks have ended before, only time tells a crash loop from a scar.
 */
function unprovenMs({ tasks, info }: Survey, stableForMs: number): number {
  if (tasks.some(endedByItself)) return stableForMs;
  const now = Date.parse(textAt(info, "SystemTime"));
  const young = tasks
    .filter(({ state, current }) => state === "running" && current)
    .map(({ updatedAt }) => now - Date.parse(updatedAt))
    .filter((ageMs) => !(ageMs >= stableForMs)); // Also where there is no telling.
  return young.length === 0 ? 0 : stableForMs - Math.max(0, Math.min(...young) || 0);
}

function withVerdict(service: ServiceResult, seen: Watch): ServiceResult {
  const verdict = seen.verdicts.get(service.name);
  if (verdict === undefined) return service;
  return {
    ...service,
    state: verdict.kind,
    detail: verdict.detail,
    durationMs: seen.convergedAt.get(service.name),
  };
}

/** A step of its own, once the verdict is in. The release is good by then: what can't be removed is a warning. */
async function prune(plan: Plan, { inputs, world, facts }: Rollout, session: Session): Promise<void> {
  const without = inputs.mode === "rollback" ? "the release does not have" : "the stack file no longer has";
  for (const { name, before } of plan.services.filter(({ change }) => change === "remove")) {
    if (before === undefined) continue;
    try {
      await session.swarm.removeService(before.id);
    } catch (error) {
      const message = `The service ${before.name}, which ${without}, could not be removed: ${messageOf(error)}`;
      world.voice.warn({ message, hint: `Remove it by hand: docker service rm ${before.name}` });
      continue;
    }
    world.voice.say(`${name}: removed, since ${without} it.`);
    facts.services = facts.services.map((service) =>
      service.name === name ? { ...service, state: "removed", imageAfter: "" } : service,
    );
  }
}
