import { IN_EARNEST, dockersReason, stackDeploy } from "./apply.ts";
import { StackFileError } from "./errors.ts";
import { type Draft, foreseen } from "./foreseen.ts";
import {
  type Needs,
  type Plan,
  createdBy,
  futureId,
  planDeployment,
  withPlatformsOf,
  writesService,
} from "./plan.ts";
import { textAt } from "./json.ts";
import { networkIdsOf } from "./spec.ts";
import { type RenderedStack, printed } from "./stack/render.ts";
import { type Kind, externalName } from "./stack/configs.ts";
import { objection } from "./stack/objection.ts";
import { entriesOf, get } from "./stack/tree.ts";
import { isAssumed, withoutAssumed } from "./stack/withheld.ts";
import { type ImageAnswer, type Named, type NewObject, type ServiceSpec, type Survey } from "./swarm.ts";
import {
  type Docker,
  type DockerAnswer,
  type Session,
  type Signs,
  type Stage,
  type Voice,
  type World,
  type Write,
} from "./world.ts";

export interface PlanningRequest {
  readonly stack: RenderedStack;
  /** Its text. */
  readonly file: string;
  /** Configs and secrets that must exist. */
  readonly objects: readonly NewObject[];
  readonly survey: Survey;
  readonly images: ReadonlyMap<string, ImageAnswer>;
  /** Networks that must exist. */
  readonly networks: readonly string[];
  readonly draft: PendingDraft;
  /** Of the image of this repository. */
  readonly digest: string;
  /** Images as the stack file names them → with their digest. */
  readonly pins: ReadonlyMap<string, string>;
  /** What the file takes for granted and the swarm lacks, which is told elsewhere: names. Docker is not to stumble over it here. */
  readonly lacking: Needs;
  readonly prune: boolean;
  readonly folder: string;
  readonly dockerMajor: number;
}

/** Rehearses the deployment and compares what docker would send with what runs, unless all is as the draft has it. */
export async function plan(request: PlanningRequest, session: Session, voice: Voice): Promise<Plan> {
  const { stack, file, survey, folder, dockerMajor } = request;
  const missing = (kind: Kind, existing: readonly Named[]): string[] =>
    request.objects
      .filter((object) => object.kind === kind && !existing.some(({ name }) => name === object.name))
      .map(({ name }) => name);
  const needs: Needs = {
    networks: request.networks.filter((name) => !survey.networks.some((network) => network.Name === name)),
    configs: missing("config", survey.configs),
    secrets: missing("secret", survey.secrets),
  };
  const { lacking } = request;
  const draft = { stack: request.draft.stack, ...(await request.draft.checked) };
  const nothing = foreseen({ ...request, draft, needs });
  if (nothing !== undefined) {
    sayWarnings(draft.said, voice);
    return nothing;
  }
  const usable = survey.networks.filter(({ Name }) => !lacking.networks.some((name) => name === Name));
  const stage: Stage = {
    survey: { ...survey, networks: usable },
    images: request.images,
    networks: futures([...needs.networks, ...lacking.networks]),
    configs: futures([...needs.configs, ...lacking.configs]),
    secrets: futures([...needs.secrets, ...lacking.secrets]),
  };
  const writes = await session.rehearse(stage, async (docker) => {
    const call = { stack: stack.name, file, folder, dockerMajor, flags: IN_EARNEST };
    const answer = await stackDeploy(docker, call);
    sayWarnings(answer.stderr, voice);
    if (answer.code !== 0) throw refusal(dockersReason(answer), stack);
  });
  const wanted = wantedBy(writes).map(({ spec, auth }) => ({
    spec: withPlatformsOf(survey.services, spec),
    auth,
  }));
  return planDeployment({
    stack: stack.name,
    wanted,
    live: survey.services,
    networkIds: networkIdsOf(survey.networks),
    prune: request.prune,
    needs,
    networks: createdIn(writes, "networks"),
    secrets: createdIn(writes, "secrets"),
  });
}

function futures(names: readonly string[]): ReadonlyMap<string, string> {
  return new Map(names.map((name) => [name, futureId(name)]));
}

/** What docker makes of the draft, on a swarm that has no service yet, and what it says on the way. */
type Checked = Pick<Draft, "plan" | "said">;

/** The draft, which docker has found nothing wrong with. */
export interface PendingDraft {
  readonly stack: RenderedStack;
  /** Docker may still be at it. */
  readonly checked: Promise<Checked>;
}

/** A check by docker on its way. */
export interface Check {
  /** Major version of the docker CLI; 0 where it does not tell. */
  readonly dockerMajor: Promise<number>;
  /** Resolves when docker has read all of the draft and found nothing wrong with it; rejects with a `StackFileError` where it has. */
  readonly passed: Promise<void>;
  readonly checked: Promise<Checked>;
}

/**
 * Lets docker deploy the draft against a stand-in that has all the file takes for granted, so that what docker refuses is found before
 * anything is contacted. Docker takes as long to start as the files to read, so `draft` is called when it has been started; what `draft`
 * throws is thrown. Once docker sends the first service, it has converted all of them, and nothing but the manager's answer can fail.
 */
export function checkByDocker(
  world: World,
  stack: string,
  folder: string,
  draft: (dockerMajor: Promise<number>) => Promise<RenderedStack>,
): Check {
  let signs: Signs = {};
  const dockerMajor = new Promise<number>((introduced) => (signs = { ...signs, introduced }));
  const sending = new Promise<void>((sends) => (signs = { ...signs, sends }));
  const checked = certainly(world, stack, folder, async () => await draft(dockerMajor), signs);
  checked.catch(() => undefined); // Whoever needs it hears of it.
  return { dockerMajor, passed: Promise.race([sending, checked.then(() => undefined)]), checked };
}

/**
 * What docker refuses may be no more than a value that something stands in for: only what it refuses without those, too, is a mistake.
 */
async function certainly(
  world: World,
  stack: string,
  folder: string,
  draft: () => Promise<RenderedStack>,
  signs: Signs,
): Promise<Checked> {
  try {
    return await rehearsed(world, stack, folder, draft, signs);
  } catch (error) {
    if (!(error instanceof StackFileError)) throw error;
    const whole = await draft();
    if (!isAssumed(whole.root)) throw error;
    const certain = { ...whole, root: withoutAssumed(whole.root) };
    const again = rehearsed(world, stack, folder, async () => await Promise.resolve(certain), signs);
    return await again.catch((other: unknown) => {
      throw isSamePlace(error, other) ? error : other; // The first one counts all items of a list.
    });
  }
}

function isSamePlace(one: StackFileError, other: unknown): boolean {
  return other instanceof StackFileError && one.problems[0]?.place === other.problems[0]?.place;
}

async function rehearsed(
  world: World,
  stack: string,
  folder: string,
  draft: () => Promise<RenderedStack>,
  signs: Signs,
): Promise<Checked> {
  let answer: DockerAnswer = { code: 0, stdout: "", stderr: "" };
  const stage = async (): Promise<Stage> => assumed(await draft());
  const file = async (): Promise<string> => printed(await draft());
  const flags = ["--resolve-image", "never"];
  const deploy = async (docker: Docker): Promise<void> => {
    answer = await stackDeploy(docker, { stack, file, folder, dockerMajor: undefined, flags });
  };
  const writes = await world.rehearse(stage, deploy, signs);
  // Not before: a docker that has ended without a question is introduced only now, and the draft may wait for that.
  if (answer.code !== 0) throw refusal(dockersReason(answer), await draft());
  const drafted = planDeployment({
    stack,
    wanted: wantedBy(writes),
    live: [],
    networkIds: new Map(),
    prune: false,
    needs: { networks: [], configs: [], secrets: [] },
    networks: createdIn(writes, "networks"),
    secrets: createdIn(writes, "secrets"),
  });
  return { plan: drafted, said: answer.stderr };
}

function wantedBy(writes: readonly Write[]): { spec: ServiceSpec; auth: string | undefined }[] {
  return writes.filter(({ path }) => writesService(path)).map(({ body, auth }) => ({ spec: body, auth }));
}

function createdIn(writes: readonly Write[], kind: keyof Needs): string[] {
  return writes.filter(({ path }) => createdBy(path) === kind).map(({ body }) => textAt(body, "Name"));
}

/** A swarm without services, on which every external network, config and secret exists. */
function assumed({ root }: RenderedStack): Stage {
  const named = (section: string): string[] =>
    entriesOf(get(root, section)).map(({ key, value }) => externalName(key.text, value));
  const info = { Swarm: { LocalNodeState: "active", ControlAvailable: true } };
  const nothing = { networks: [], rawConfigs: [], rawSecrets: [], rawServices: [] };
  return {
    survey: {
      askedAt: 0,
      info,
      ...nothing,
      services: [],
      tasks: [],
      configs: [],
      secrets: [],
      nodes: [],
      takenPorts: [],
    },
    images: new Map(),
    networks: futures(named("networks")),
    configs: futures(named("configs")),
    secrets: futures(named("secrets")),
  };
}

function sayWarnings(stderr: string, voice: Voice): void {
  for (const line of stderr.split(/[\r\n]+/).filter((each) => /^(Ignoring |time=.*level=warning)/.test(each)))
    voice.quote(line);
}

function refusal(reason: string, { root }: RenderedStack): StackFileError {
  return new StackFileError([objection(reason, root)]);
}
