import { carryOut } from "./carry-out.ts";
import { checkBuildFiles, login, publish } from "./image/publish.ts";
import { requireImage } from "./image/resolve.ts";
import { type Inputs } from "./inputs/inputs.ts";
import { takeLock } from "./lock.ts";
import { checkByDocker } from "./planning.ts";
import { type Deployment, DRAFT_NAMES, prepare, renderWith } from "./prepare.ts";
import { type Facts } from "./report.ts";
import { readSources } from "./sources.ts";
import { type Docker, type Session, type World } from "./world.ts";

/** Stands for a digest while the image is not there yet: all else about the file can be checked before anything is built. */
const NO_DIGEST_YET = `sha256:${"0".repeat(64)}`;

/** Mode `deploy`. Writes what it learns into `facts` as it goes; throws a `StopError` where it can't go on. */
export async function deploy(inputs: Inputs, world: World, facts: Facts): Promise<void> {
  facts.stackName = inputs.stack.name;
  facts.version = inputs.image.version;
  const deployment = await begin(inputs, world, facts);
  const pushed = inputs.image.build === undefined ? undefined : await publish(inputs.image, world);
  if (pushed !== undefined) nameImage(pushed, deployment);

  world.voice.group("Connect");
  await using session = await world.connect();
  facts.manager = session.swarm.address;
  world.voice.say(`Connected to the manager ${session.swarm.address}.`);
  await loginSwarm(deployment, session);
  const digest = pushed ?? (await requireImage(referenceOf(inputs), session));
  nameImage(digest, deployment);

  await using lock = await takeLock(inputs.stack.name, inputs.rollout.lockTimeoutMs, session, world);
  session.guard(lock);
  const prepared = await prepare(digest, deployment, session);
  await carryOut(prepared, deployment, session);
}

/** Everything that can be wrong with the workflow and its files is found here, before anybody is contacted. */
async function begin(inputs: Inputs, world: World, facts: Facts): Promise<Deployment> {
  const dockerMajor = await majorVersion(world.docker);
  const sources = readSources(inputs.stack, world.files);
  checkBuildFiles(inputs.image, world.files);
  const begun = { inputs, sources, dockerMajor, world, facts };
  const draft = renderWith(NO_DIGEST_YET, DRAFT_NAMES, begun);
  await checkByDocker(world, draft, sources.folder, dockerMajor);
  return { ...begun, draft };
}

async function majorVersion(docker: Docker): Promise<number> {
  const { stdout } = await docker.run(["--version"]);
  return Number(/version (\d+)\./.exec(stdout)?.[1] ?? 0);
}

function referenceOf(inputs: Inputs): string {
  return `${inputs.image.repository}:${inputs.image.version}`;
}

function nameImage(digest: string, { inputs, facts }: Deployment): void {
  facts.digest = digest;
  facts.image = `${referenceOf(inputs)}@${digest}`;
}

/** What the swarm keeps for later pulls: the pull credential, or, where this step built nothing, the one that a build would have used. */
async function loginSwarm({ inputs, world }: Deployment, session: Session): Promise<void> {
  const { build, login: own, pullLogin, registryHost } = inputs.image;
  const credential = pullLogin ?? (build === undefined ? own : undefined);
  if (credential === undefined) return;
  await login(session.docker, registryHost, credential, world.voice, "preflight");
}
