import { aftermath } from "./aftermath.ts";
import { type Created } from "./apply.ts";
import { messageOf } from "./errors.ts";
import { watched } from "./observe.ts";
import { type Plan, isEmpty, withRealIds } from "./plan.ts";
import { type Prepared, type Rollout } from "./prepare.ts";
import { type ServiceResult } from "./report.ts";
import { endedByItself, isOver } from "./rollout.ts";
import { networkIdsOf } from "./spec.ts";
import { type Watch, rolloutProblems, watch } from "./watch.ts";
import { type Session } from "./world.ts";

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
  const { facts, inputs, world } = rollout;
  const { plan } = prepared;
  /** Full names of the services that this run itself has created or updated. */
  const sent = new Set<string>();
  world.voice.group(isEmpty(plan) ? "Nothing to send: making sure that all of it runs" : "Deploy and watch");
  let seen: Watch;
  try {
    seen = await sendAndWatch(prepared, send, sent, rollout, session);
  } catch (error) {
    await aftermath(plan, sent, rollout, session, error);
    throw error;
  }
  facts.services = facts.services.map((service) => withVerdict(service, seen));
  facts.stories = seen.stories;
  if (seen.end === "stable") {
    facts.status = isEmpty(plan) ? "unchanged" : DONE[inputs.mode];
    await prune(plan, rollout, session);
    return true;
  }
  facts.reason = "rollout";
  facts.problems = rolloutProblems(seen, inputs.rollout.timeoutMs);
  await aftermath(plan, sent, rollout, session, undefined);
  return false;
}

const DONE = { deploy: "deployed", rollback: "rolled-back" } as const;

async function sendAndWatch(
  { plan, survey }: Prepared,
  send: Send,
  sent: Set<string>,
  { inputs, world }: Rollout,
  session: Session,
): Promise<Watch> {
  const { swarm } = session;
  const { tasks } = survey;
  const startedAt = world.clock.now();
  session.waitUntil(startedAt + inputs.rollout.timeoutMs);
  const created = await send((name) => void sent.add(name));
  const ids = new Map([...created.networks, ...created.configs, ...created.secrets]);
  const { timeoutMs, stableForMs } = inputs.rollout;
  return await watch(swarm, world.clock, world.voice, {
    stack: plan.stack,
    startedAt,
    services: watched(plan.services).map((each) => ({ ...each, sent: withRealIds(each.sent, ids) })),
    oldFailures: new Set(tasks.filter(isOver).map(({ id }) => id)),
    networkIds: new Map([...networkIdsOf(survey.networks), ...created.networks]),
    timeoutMs,
    // Where nothing is sent, the survey has seen it all a moment ago.
    seen: isEmpty(plan) ? survey : undefined,
    // One look proves that a quiet stack runs. Where tasks have ended before, only time tells a crash loop from a scar.
    stableForMs: isEmpty(plan) && !tasks.some(endedByItself) ? 0 : stableForMs,
    endOnFailure: true,
  });
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

/** Why a service goes, by mode. */
const WITHOUT_IT = { deploy: "the stack file no longer has", rollback: "the release does not have" } as const;

/** A step of its own, once the verdict is in. The release is good by then: what can't be removed is a warning. */
async function prune(plan: Plan, { inputs, world, facts }: Rollout, session: Session): Promise<void> {
  for (const { name, before } of plan.services.filter(({ change }) => change === "remove")) {
    if (before === undefined) continue;
    try {
      await session.swarm.removeService(before.id);
    } catch (error) {
      const message = `The service ${before.name}, which ${WITHOUT_IT[inputs.mode]}, could not be removed: ${messageOf(error)}`;
      world.voice.warn({ message, hint: `Remove it by hand: docker service rm ${before.name}` });
      continue;
    }
    world.voice.say(`${name}: removed, since ${WITHOUT_IT[inputs.mode]} it.`);
    facts.services = facts.services.map((service) =>
      service.name === name ? { ...service, state: "removed", imageAfter: "" } : service,
    );
  }
}
