import { randomBytes } from "node:crypto";
import { checkBuildFiles, swarmLogin } from "./image/publish.ts";
import { NO_DIGEST_YET } from "./image/reference.ts";
import { ImageLookup } from "./image/resolve.ts";
import { type Inputs } from "./inputs/inputs.ts";
import { type PendingDraft, checkByDocker } from "./planning.ts";
import { type Facts } from "./report.ts";
import { type Sources, folderOfStack, readSources } from "./sources.ts";
import { type Kind } from "./stack/configs.ts";
import { cleanPath } from "./stack/paths.ts";
import { type RenderedStack, render } from "./stack/render.ts";
import { NOTHING_WITHHELD, type Withheld } from "./stack/withheld.ts";
import { type Session, type World } from "./world.ts";

/** What the names of configs and secrets depend on, beside their content. */
export interface Naming {
  /** The swarm's key for the names of secrets. */
  readonly key: Uint8Array;
  /** Whether another stack has an object of this name. */
  readonly taken: (kind: Kind, name: string) => boolean;
}

/** Where no name matters yet. Docker may repeat one, so even these say nothing about a secret. */
export const DRAFT_NAMES: Naming = { key: randomBytes(32), taken: () => false };

/** A change of the stack on its way, whichever mode asked for it. */
export interface Rollout {
  readonly inputs: Inputs;
  readonly world: World;
  /** Filled as the rollout goes. */
  readonly facts: Facts;
}

/** A rollout of stack files: what was read beside what was asked. */
export interface Deployment extends Rollout {
  readonly sources: Sources;
  /** What this run is not told, and whose lack is no mistake. */
  readonly withheld: Withheld;
  /** The stack as far as it is known without the image's digest, and what docker would make of it. */
  readonly draft: PendingDraft;
  /** Major version of the docker CLI. */
  readonly dockerMajor: number;
}

type ReadDeployment = Omit<Deployment, "draft">;

/** Everything that can be wrong with the workflow and its files is found here, before anybody is contacted. */
export async function begin(
  inputs: Inputs,
  world: World,
  facts: Facts,
  withheld: Withheld = NOTHING_WITHHELD,
): Promise<Deployment> {
  let reading: ReturnType<typeof readAll> | undefined;
  const readOnce = async (dockerMajor: Promise<number>): ReturnType<typeof readAll> =>
    await (reading ??= readAll(inputs, world, facts, withheld, dockerMajor));
  const folder = folderOfStack(inputs.stack);
  const draft = async (dockerMajor: Promise<number>): Promise<RenderedStack> =>
    (await readOnce(dockerMajor)).stack;
  const { dockerMajor, passed, checked } = checkByDocker(world, inputs.stack.name, folder, draft);
  await passed;
  const { read, stack } = await readOnce(dockerMajor);
  return { ...read, draft: { stack, checked } };
}

/** Reads the files, and renders them as far as that goes without the image's digest. */
async function readAll(
  inputs: Inputs,
  world: World,
  facts: Facts,
  withheld: Withheld,
  dockerMajor: Promise<number>,
): Promise<{ read: ReadDeployment; stack: RenderedStack }> {
  const sources = readSources(inputs.stack, world.files, withheld);
  const read = { inputs, sources, withheld, dockerMajor: await dockerMajor, world, facts };
  sources.warnings.forEach((warning) => world.voice.warn(warning));
  const stack = renderWith(NO_DIGEST_YET, DRAFT_NAMES, read);
  stack.warnings.forEach((warning) => world.voice.warn(warning));
  checkBuildFiles(inputs.image, world.files);
  return { read, stack };
}

/** Opens the one session, whichever mode it is for, with the credential that the swarm is to keep. */
export async function connect({ inputs, world, facts }: Rollout): Promise<Session> {
  world.voice.group("Connect");
  const session = await world.connect(swarmLogin(inputs.image));
  session.onManager((address) => (facts.manager = address));
  world.voice.say(`Connected to ${session.swarm.address}.`);
  return session;
}

export function renderWith(
  digest: string,
  naming: Naming,
  { inputs, sources, withheld, world, dockerMajor }: ReadDeployment,
): RenderedStack {
  const { stack, image } = inputs;
  const { folder } = sources;
  return render({
    templates: sources.templates,
    unread: sources.unread,
    stack: stack.name,
    variables: stack.variables,
    secrets: stack.secrets,
    environment: world.environment,
    withheld,
    strict: stack.strict,
    defaults: { updateOrder: stack.updateOrder, failureAction: stack.failureAction },
    envFile: sources.envFile,
    envConfig: stack.envConfig,
    namingKey: naming.key,
    taken: naming.taken,
    read: (path) => world.files.read(cleanPath(folder === "." ? "" : `${folder}/`, path)),
    image: { ...image, digest },
    commit: world.run.sha,
    dockerMajor,
  });
}

/** Nothing is known yet of what registries have. */
export function lookupFor({ inputs, world }: Rollout, session: Session): ImageLookup {
  return new ImageLookup(session, world.clock, inputs.image.repository);
}

export function referenceOf(inputs: Inputs): string {
  return `${inputs.image.repository}:${inputs.image.version}`;
}

export function nameImage(digest: string, { inputs, facts }: Deployment): void {
  facts.digest = digest;
  facts.image = `${referenceOf(inputs)}@${digest}`;
}
