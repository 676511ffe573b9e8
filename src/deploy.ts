import { sendByDocker } from "./apply.ts";
import { type Deployment, begin, connect, lookupFor, nameImage, referenceOf } from "./begin.ts";
import { type Send, carryOut, confirm } from "./carry-out.ts";
import { loginSwarm, publish } from "./image/publish.ts";
import { type ImageLookup } from "./image/resolve.ts";
import { type Inputs } from "./inputs/inputs.ts";
import { liveCommit, refuseOlder } from "./commit-order.ts";
import { type StackLock, WRITES_NOTHING, holderIn, lockOf } from "./lock.ts";
import { isEmpty } from "./plan.ts";
import {
  type Found,
  type PreparedDeployment,
  atRest,
  decide,
  hiddenIn,
  isCalm,
  isSameGround,
  namesOf,
  serviceNamesIn,
} from "./prepare.ts";
import { type NewRelease, isRecorded, keepRelease } from "./release/history.ts";
import { type Facts } from "./report.ts";
import { addressedNetworks } from "./stack/render.ts";
import { type Survey } from "./swarm.ts";
import { together } from "./together.ts";
import { type Session, type World } from "./world.ts";

/** Mode `deploy`. Writes what it learns into `facts` as it goes; throws a `StopError` where it can't go on. */
export async function deploy(inputs: Inputs, world: World, facts: Facts): Promise<void> {
  facts.stackName = inputs.stack.name;
  facts.version = inputs.image.version;
  const deployment = await begin(inputs, world, facts);
  const pushed = inputs.image.build === undefined ? undefined : await publish(inputs.image, world);
  if (pushed !== undefined) nameImage(pushed, deployment);

  await using session = await connect(deployment);
  await using images = lookupFor(deployment, session);
  const { digest, survey } = await look(pushed, images, deployment, session);
  const seen = { survey, images };
  nameImage(digest, deployment);
  await refuseOlder(inputs, seen.survey, world);

  session.guard(WRITES_NOTHING);
  const isAlone = isCalm(seen.survey, deployment);
  const first = isAlone ? await decide(digest, seen, deployment, session) : undefined;
  if (first !== undefined && isEmpty(first.plan) && isRecorded(first)) {
    const runs = await confirm(first, deployment, session);
    if (runs !== undefined) return;
  }

  await using lock = lockOf(inputs.stack.name, session, world);
  const found = await lookUnderLock(lock, seen, deployment, session);
  session.guard(lock);
  if (liveCommit(found.survey, inputs.stack.name) !== liveCommit(seen.survey, inputs.stack.name))
    await refuseOlder(inputs, found.survey, world);
  const prepared = await prepare(digest, found, first, deployment, session);
  const send: Send = async (onSent) => await sendByDocker(prepared, deployment, session, onSent);
  if (!(await carryOut(prepared, send, deployment, session))) return;
  if (prepared.survey !== found.survey) facts.status = "deployed"; // What an earlier run had left came to rest only now.
  await keepRelease(releaseFrom(prepared, deployment), prepared, deployment, session);
}

/**
 * All that can be asked without knowing the answer to something else, at once: a manager may be far away. No lock is taken for it: where
 * nothing is to be changed, nothing is written, not even that.
 */
async function look(
  pushed: string | undefined,
  images: ImageLookup,
  { inputs, draft, world }: Deployment,
  session: Session,
): Promise<{ readonly digest: string; readonly survey: Survey }> {
  const looks = together([
    session.swarm.survey(inputs.stack.name), // First: where the manager is none, that is the story.
    loginSwarm(inputs.image, session, world.voice),
    pushed === undefined ? images.require(referenceOf(inputs)) : Promise.resolve(pushed),
  ]);
  images.askAhead(draft.stack, pushed);
  const [survey, , digest] = await looks;
  return { digest, survey };
}

/**
 * Takes the lock and looks again: both at once, since nobody can take it, change something and release it within one request, and what
 * had changed by then would have another version, over which Swarm takes no update. Who has to wait for the lock looks after it has come,
 * and asks the registries again.
 */
async function lookUnderLock(
  lock: StackLock,
  seen: Found,
  deployment: Deployment,
  session: Session,
): Promise<Found> {
  const { rollout, stack } = deployment.inputs;
  const [isOurs, survey] = await together([lock.tryToTake(), session.swarm.survey(stack.name)]);
  if (isOurs && [undefined, lock.left.holder].includes(holderIn(survey, stack.name)))
    return { ...seen, survey };
  if (!isOurs) await lock.take(rollout.lockTimeoutMs);
  return { survey: await session.swarm.survey(stack.name), images: lookupFor(deployment, session) };
}

/** Lets an earlier update come to rest, and decides; what was decided without the lock (`first`) stands where all is as it was. */
async function prepare(
  digest: string,
  found: Found,
  first: PreparedDeployment | undefined,
  deployment: Deployment,
  session: Session,
): Promise<PreparedDeployment> {
  const survey = await atRest(found.survey, serviceNamesIn(deployment), deployment, session);
  if (first !== undefined && isSameGround(first.survey, survey)) return { ...first, survey };
  if (first !== undefined)
    deployment.world.voice.say("What is on the swarm has changed meanwhile, so it is planned anew.");
  const images = survey === found.survey ? found.images : lookupFor(deployment, session); // After a wait, what registries said is old.
  return await decide(digest, { survey, images }, deployment, session);
}

/** What is recorded of it, so that mode `rollback` can come back to it. */
function releaseFrom(prepared: PreparedDeployment, deployment: Deployment): NewRelease {
  const { stack, file, objects } = prepared;
  const { version, image, digest, configName } = deployment.facts;
  const commit = deployment.world.run.sha;
  return {
    facts: { version, image, digest, configName, commit, file, hidden: hiddenIn(prepared, deployment) },
    ...namesOf(objects),
    addressed: addressedNetworks(stack),
  };
}
