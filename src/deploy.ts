import { sendByDocker } from "./apply.ts";
import { type Deployment, begin, connect, lookupFor, nameImage, referenceOf } from "./begin.ts";
import { type Send, carryOut } from "./carry-out.ts";
import { loginSwarm, publish } from "./image/publish.ts";
import { type Inputs } from "./inputs/inputs.ts";
import { type StackLock, lockOf } from "./lock.ts";
import { type Found, type PreparedDeployment, prepare } from "./prepare.ts";
import { type NewRelease, keepRelease } from "./release/history.ts";
import { type Facts } from "./report.ts";
import { type Kind } from "./stack/configs.ts";
import { addressedNetworks, printed } from "./stack/render.ts";
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
  await using lock = lockOf(inputs.stack.name, session, world);
  const { digest, ...found } = await findOut(pushed, lock, deployment, session);
  nameImage(digest, deployment);
  session.guard(lock);

  const prepared = await prepare(digest, found, deployment, session);
  const send: Send = async (onSent) => await sendByDocker(prepared, deployment, session, onSent);
  if (!(await carryOut(prepared, send, deployment, session))) return;
  if (prepared.survey !== found.survey) facts.status = "deployed"; // What an earlier run had left came to rest only now.
  await keepRelease(releaseFrom(prepared, deployment), prepared.plan, deployment, session);
}

/**
 * All that can be asked without knowing the answer to something else, at once: a manager may be far away. What runs is looked at only
 * under the lock; who has to wait for it looks again at everything.
 */
async function findOut(
  pushed: string | undefined,
  lock: StackLock,
  deployment: Deployment,
  session: Session,
): Promise<{ readonly digest: string } & Found> {
  const { inputs, draft, world } = deployment;
  const images = lookupFor(deployment, session);
  const survey = async (): Promise<Survey> => await session.swarm.survey(inputs.stack.name);
  const [found, , digest] = await together([
    lock.tryToTake().then(async (ours) => (ours ? await survey() : undefined)), // First: where the manager is none, that is the story.
    loginSwarm(inputs.image, session, world.voice),
    pushed === undefined ? images.require(referenceOf(inputs)) : Promise.resolve(pushed),
    images.askAhead(draft, pushed),
  ]);
  if (found !== undefined) return { digest, survey: found, images };
  await lock.take(inputs.rollout.lockTimeoutMs);
  return { digest, survey: await survey(), images: lookupFor(deployment, session) };
}

/** What is recorded of it, so that mode `rollback` can come back to it. */
function releaseFrom({ stack, objects }: PreparedDeployment, { world, facts }: Deployment): NewRelease {
  const { version, image, digest, configName } = facts;
  const made = (kind: Kind): string[] =>
    objects.filter((object) => object.kind === kind).map(({ name }) => name);
  return {
    facts: { version, image, digest, configName, commit: world.run.sha, file: printed(stack) },
    configs: made("config"),
    secrets: made("secret"),
    addressed: addressedNetworks(stack),
  };
}
