import { NO_DIGEST_YET } from "./image/reference.ts";
import { type JsonObject, listAt, objectAt, textAt } from "./json.ts";
import { type Needs, type Plan, isEmpty, planDeployment, withPlatforms, withRealIds } from "./plan.ts";
import { imageOf, networkIdsOf } from "./spec.ts";
import { STACK_LABEL } from "./stack/defaults.ts";
import { type RenderedStack } from "./stack/render.ts";
import { type ImageAnswer, type ServiceSpec, type Survey } from "./swarm.ts";

/** What docker makes of the files without the image's digest and the swarm's names: `rehearsed` before anything was contacted. */
export interface Draft {
  readonly stack: RenderedStack;
  /** On a swarm that has no service yet. */
  readonly plan: Plan;
  /** What docker said on the way. */
  readonly said: string;
}

/** What has been found out since. */
export interface Foresight {
  readonly draft: Draft;
  readonly stack: RenderedStack;
  readonly survey: Survey;
  /** Of the image of this repository. */
  readonly digest: string;
  /** Images as the draft names them, with that digest → with their own. */
  readonly pins: ReadonlyMap<string, string>;
  /** By the image with its digest. */
  readonly images: ReadonlyMap<string, ImageAnswer>;
  readonly needs: Needs;
  readonly lacking: Needs;
  readonly prune: boolean;
}

/**
 * The plan that does nothing, where that can be told without another rehearsal: the draft's specs, with the digests, names and ids of now in
 * their places, are what runs. Undefined where anything is different: what docker then sends depends on the engine's API and on what
 * runs, so docker is asked. It can't be wrong about "nothing": a field that docker would keep from an old engine is in the draft and
 * not in what runs.
 */
export function foreseen(known: Foresight): Plan | undefined {
  const { draft, stack, survey, needs, lacking, prune } = known;
  const isWhole = [needs, lacking].every((each) => Object.values(each).every(({ length }) => length === 0));
  const networks = new Set(
    survey.networks
      .filter((raw) => textAt(raw, "Labels", STACK_LABEL) === stack.name)
      .map((raw) => textAt(raw, "Name")),
  );
  if (!isWhole || draft.plan.networks?.every((name) => networks.has(name)) === false) return undefined;
  const replace = replacer(known);
  const wanted = draft.plan.services.flatMap((service) =>
    service.wanted === undefined ? [] : [withImage(replace(service.wanted), known)],
  );
  const images = new Map(survey.services.map(({ name, spec }) => [name, imageOf(spec)]));
  if (wanted.some((spec) => images.get(textAt(spec, "Name")) !== imageOf(spec))) return undefined; // Seen at once, and the usual case.
  const plan = planDeployment({
    stack: stack.name,
    wanted: wanted.map((spec) => ({ spec, auth: undefined })),
    live: survey.services,
    networkIds: networkIdsOf(survey.networks),
    prune,
    needs,
  });
  return isEmpty(plan) ? plan : undefined;
}

/** Puts what is known by now in the places of what stood for it. All of that is long, and made to be found. */
function replacer({ draft, stack, survey, digest }: Foresight): (spec: ServiceSpec) => ServiceSpec {
  const names = draft.stack.objects.map(({ kind, key, name }): [string, string] => {
    const now = stack.objects.find((each) => each.kind === kind && each.key === key);
    return [name, now?.name ?? name];
  });
  const texts = [[NO_DIGEST_YET, digest], ...names.filter(([before, now]) => before !== now)] as const;
  const ids = new Map([...survey.configs, ...survey.secrets].map(({ name, id }) => [name, id]));
  return (spec) => {
    const named = texts.reduce((text, [before, now]) => text.replaceAll(before, now), JSON.stringify(spec));
    return withRealIds(JSON.parse(named) as ServiceSpec, ids);
  };
}

/** With the image's digest, and the platforms that docker would have from the registry's answer. */
function withImage(spec: ServiceSpec, { pins, images }: Foresight): ServiceSpec {
  const image = pins.get(imageOf(spec)) ?? imageOf(spec);
  const template = objectAt(spec, "TaskTemplate");
  const named = {
    ...spec,
    Labels: { ...objectAt(spec, "Labels"), "com.docker.stack.image": image },
    TaskTemplate: {
      ...template,
      ContainerSpec: { ...objectAt(template, "ContainerSpec"), Image: image },
    },
  };
  return withPlatforms(named, platformsOf(images.get(image)));
}

/** As docker sends them: of "arm" it leaves the architecture out, since nodes have several words for it (swarmkit#2294). */
function platformsOf(answer: ImageAnswer | undefined): JsonObject[] {
  if (answer?.kind !== "found") return [];
  return listAt(answer.body, "Platforms").map((platform) => {
    const [architecture, os] = [textAt(platform, "architecture"), textAt(platform, "os")];
    return { Architecture: architecture.toLowerCase() === "arm" ? "" : architecture, OS: os };
  });
}
