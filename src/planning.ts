import { dockersReason, stackDeploy } from "./apply.ts";
import { type Place, StackFileError } from "./errors.ts";
import { type Needs, type Plan, futureId, planDeployment } from "./plan.ts";
import { networkIdsOf } from "./spec.ts";
import { type RenderedStack, printed } from "./stack/render.ts";
import { get } from "./stack/tree.ts";
import { type Kind } from "./stack/configs.ts";
import { type ImageAnswer, type Named, type NewObject, type Survey } from "./swarm.ts";
import { type Docker, type Session, type Stage, type Voice } from "./world.ts";

export interface PlanningRequest {
  readonly stack: RenderedStack;
  /** Configs and secrets that must exist. */
  readonly objects: readonly NewObject[];
  readonly survey: Survey;
  readonly images: ReadonlyMap<string, ImageAnswer>;
  /** Networks that must exist. */
  readonly networks: readonly string[];
  readonly prune: boolean;
  readonly folder: string;
  readonly dockerMajor: number;
}

/** Rehearses the deployment and compares what docker would send with what runs. */
export async function plan(request: PlanningRequest, session: Session, voice: Voice): Promise<Plan> {
  const { stack, survey, folder, dockerMajor } = request;
  const missing = (kind: Kind, existing: readonly Named[]): string[] =>
    request.objects
      .filter((object) => object.kind === kind && !existing.some(({ name }) => name === object.name))
      .map(({ name }) => name);
  const needs: Needs = {
    networks: request.networks.filter((name) => !survey.networks.some((network) => network.Name === name)),
    configs: missing("config", survey.configs),
    secrets: missing("secret", survey.secrets),
  };
  const stage: Stage = {
    survey,
    images: request.images,
    networks: futures(needs.networks),
    configs: futures(needs.configs),
    secrets: futures(needs.secrets),
  };
  const writes = await session.rehearse(stage, async (docker) => {
    const answer = await stackDeploy(
      docker,
      stack.name,
      printed(stack),
      folder,
      dockerMajor,
      () => undefined,
    );
    sayWarnings(answer.stderr, voice);
    if (answer.code !== 0) throw refusal(dockersReason(answer), stack);
  });
  const wanted = writes
    .filter(({ path }) => /^\/services\/(create|[^/]+\/update)$/.test(path))
    .map(({ body, auth }) => ({ spec: body, auth }));
  return planDeployment({
    stack: stack.name,
    wanted,
    live: survey.services,
    networkIds: networkIdsOf(survey.networks),
    prune: request.prune,
    needs,
  });
}

function futures(names: readonly string[]): ReadonlyMap<string, string> {
  return new Map(names.map((name) => [name, futureId(name)]));
}

/** Lets docker read the file without any engine, so that a wrong key is found before anything is contacted. Old docker can't. */
export async function checkByDocker(docker: Docker, stack: RenderedStack, folder: string): Promise<void> {
  const answer = await docker.run(["stack", "config", "--compose-file", "-"], {
    input: printed(stack),
    cwd: folder,
  });
  if (answer.code !== 0 && !/unknown (shorthand )?flag|unknown command|Usage:/.test(answer.stderr))
    throw refusal(dockersReason(answer), stack);
}

function sayWarnings(stderr: string, voice: Voice): void {
  for (const line of stderr.split(/[\r\n]+/).filter((each) => /^(Ignoring |time=.*level=warning)/.test(each)))
    voice.quote(line);
}

/** Docker's own objection to the file, at the place it speaks of, as far as that can be told. */
function refusal(reason: string, stack: RenderedStack): StackFileError {
  const place = placeIn(reason, stack);
  return new StackFileError([
    { message: `Docker refuses the stack file: ${reason}`, ...(place === undefined ? {} : { place }) },
  ]);
}

function placeIn(reason: string, stack: RenderedStack): Place | undefined {
  const path = /\b(services|networks|volumes|configs|secrets)(\.[\w-]+)+/.exec(reason)?.[0].split(".") ?? [];
  const named = /service "?([\w.-]+)"?:/.exec(reason)?.[1];
  const candidates = [path, ...(named === undefined ? [] : [["services", named]])];
  for (const candidate of candidates) {
    for (let length = candidate.length; length > 1; length -= 1) {
      const node = get(stack.root, ...candidate.slice(0, length));
      if (node !== undefined) return node.place;
    }
  }
  return undefined;
}
