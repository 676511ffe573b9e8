import { type Problem } from "../errors.ts";
import { type Json, isObject, objectAt, textAt } from "../json.ts";
import { futureId } from "../plan.ts";
import { networkIdsOf } from "../spec.ts";
import { type Kind } from "../stack/configs.ts";
import { KEY_LABEL } from "../stack/defaults.ts";
import { type ServiceSpec, type Survey } from "../swarm.ts";
import { type RecordedNetwork, type Release, asOftenForced, titleOf, used } from "./release.ts";

/** The specs of a release with the ids of today. */
export interface Renewed {
  readonly specs: readonly ServiceSpec[];
  /** The stack's own networks that are gone: they can be created again. */
  readonly networks: readonly RecordedNetwork[];
  /** Configs and secrets of somebody else that are others by now, under the same name. */
  readonly remade: readonly { readonly kind: Kind; readonly name: string }[];
  /** What is gone and can't be made from the record. */
  readonly missing: readonly { readonly kind: Kind | "network"; readonly name: string }[];
}

export function renewed(release: Release, survey: Survey): Renewed {
  const ids = new Map<string, string>();
  const missing: Renewed["missing"][number][] = [];
  const remade: Renewed["remade"][number][] = [];
  for (const kind of ["config", "secret"] as const) {
    const today = new Map(survey[`${kind}s`].map(({ name, id }) => [name, id]));
    for (const [name, id] of used(kind, release.services)) {
      const now = today.get(name);
      if (now === undefined) missing.push({ kind, name });
      else ids.set(id, now);
      if (now !== undefined && now !== id && !isVersioned(kind, name, survey)) remade.push({ kind, name });
    }
  }
  const today = networkIdsOf(survey.networks);
  const lost = release.networks.filter(({ name }) => !today.has(name));
  for (const { name, id } of release.networks) ids.set(id, today.get(name) ?? futureId(name));
  for (const { name, definition } of lost)
    if (definition === undefined) missing.push({ kind: "network", name });
  return {
    specs: release.services.map((spec) => {
      const live = survey.services.find(({ name }) => name === textAt(spec, "Name"));
      return asOftenForced(withIds(spec, ids) as ServiceSpec, live);
    }),
    networks: lost,
    remade,
    missing,
  };
}

/** One of ours: under the same name it has the same content. */
function isVersioned(kind: Kind, name: string, { rawConfigs, rawSecrets }: Survey): boolean {
  const all = kind === "config" ? rawConfigs : rawSecrets;
  const raw = all.find((each) => textAt(each, "Spec", "Name") === name);
  return textAt(objectAt(raw, "Spec", "Labels"), KEY_LABEL) !== "";
}

/** What is told of a config or secret that is another one by now. */
export function otherContent({ kind, name }: Renewed["remade"][number], release: Release): string {
  return `The ${kind} ${name} that release ${titleOf(release)} used was removed since, and one of the same name was made: its services get the content of today.`;
}

/** One pass: the id of one thing today may have been another's before. */
function withIds(value: Json, ids: ReadonlyMap<string, string>): Json {
  if (typeof value === "string") return ids.get(value) ?? value;
  if (Array.isArray(value)) return value.map((item: Json) => withIds(item, ids));
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, withIds(child, ids)]));
}

/**
 * The release to go back to. `current` is the one that runs, if any does; `releases` has the newest first. Without a name it is the one
 * before: after a rollback that is the one before the release that runs again, so that to roll back once more never leads to what was
 * rolled back from. A version names its newest release, but not the current one as long as there is another.
 */
export function chooseRelease(
  releases: readonly Release[],
  current: Release | undefined,
  wanted: string | undefined,
): Release | undefined {
  if (wanted === undefined)
    return current === undefined ? releases[0] : releases.find(({ number }) => number < current.origin);
  const named = releases.filter((each) =>
    wanted.startsWith("#") ? each.number === Number(wanted.slice(1)) : each.version === wanted,
  );
  return named.find((each) => each !== current) ?? named[0];
}

/** Why no release was chosen, with those that there are. */
export function noSuchRelease(
  stack: string,
  releases: readonly Release[],
  wanted: string | undefined,
): Problem {
  if (releases.length === 0)
    return {
      message: `The swarm has no release of ${stack} to go back to.`,
      hint: 'Releases are recorded by each good deployment with this action. Deploy an older version with mode "deploy", "build: false" and "version".',
    };
  return {
    message:
      wanted === undefined
        ? `The swarm has no release of ${stack} before the one that runs.`
        : `The swarm has no release ${wanted} of ${stack}.`,
    hint: `There ${releases.length === 1 ? "is" : "are"}: ${releases.map(titleOf).join("; ")}. Name one with "version".`,
  };
}

/** What to say of something that a release needs, and that can't be made from its record. */
export function gone({ kind, name }: Renewed["missing"][number], release: Release): Problem {
  const again =
    kind === "network"
      ? `Create it: docker network create --driver overlay ${name}.`
      : `Deploy ${release.version || "that version"} again instead, with mode "deploy" and "build: false": it makes anew what the stack file defines.`;
  return {
    message: `The release ${titleOf(release)} needs the ${kind} ${name}, which is no longer on the swarm.`,
    hint: `Nothing was changed. ${again}`,
  };
}
