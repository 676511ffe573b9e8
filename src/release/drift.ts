import {
  type Discretion,
  type FieldChange,
  NOTHING_IS_PLAIN,
  fieldChanges,
  plainSince,
} from "../field-changes.ts";
import { textAt } from "../json.ts";
import { isManaged, shortName } from "../plan.ts";
import { networkIdsOf } from "../spec.ts";
import { type Survey } from "../swarm.ts";
import { type Release, asOftenForced, isOlderThan } from "./release.ts";

/** What somebody has done to a service since the stack's newest release: by hand, or by another tool. */
export interface Drift {
  /** Without the stack's name. */
  readonly service: string;
  readonly change: "changed" | "removed" | "added";
  /** From the release to what runs now. */
  readonly details: readonly FieldChange[];
}

/**
 * Compares what runs with the newest release. A service that this action never deployed is no part of either. What somebody has put there
 * by hand, or a deployment that failed, may be a secret that nobody knows of: it is shown only where its field can't have one.
 */
export function driftSince(
  release: Release,
  stack: string,
  survey: Survey,
  isSecret: Discretion["isSecret"],
): Drift[] {
  const short = (name: string): string => shortName(stack, name);
  const recorded = new Map(release.services.map((spec) => [textAt(spec, "Name"), spec]));
  const live = new Map(survey.services.map((service) => [service.name, service]));
  const ids = networkIdsOf(survey.networks);
  // A network that was made anew in the meantime is the same one to the stack file.
  const renewed = release.networks.map(({ name, id }) => [id, ids.get(name) ?? id] as const);
  const networkIds = new Map([...renewed, ...ids]);
  const plain = plainSince(release, networkIds);
  const kept = [...recorded].flatMap(([name, spec]): Drift[] => {
    const now = live.get(name);
    if (now === undefined) return [{ service: short(name), change: "removed", details: [] }];
    const discretion = { isSecret, before: plain(name), after: NOTHING_IS_PLAIN };
    const details = fieldChanges(asOftenForced(spec, now), now.spec, networkIds, discretion);
    return details.length === 0 ? [] : [{ service: short(name), change: "changed", details }];
  });
  // What `prune: false` has left is older, and nobody has added it.
  const added = [...live.values()]
    .filter((each) => !recorded.has(each.name) && isManaged(each) && !isOlderThan(release, each))
    .map(({ name }): Drift => ({ service: short(name), change: "added", details: [] }));
  return [...kept, ...added];
}

/** Full names of the services that have the spec of the newest release. */
export function asReleased(release: Release, stack: string, survey: Survey): ReadonlySet<string> {
  const changed = new Set(driftSince(release, stack, survey, () => true).map(({ service }) => service));
  const recorded = new Set(release.services.map((spec) => textAt(spec, "Name")));
  const names = survey.services.map(({ name }) => name);
  return new Set(names.filter((name) => recorded.has(name) && !changed.has(shortName(stack, name))));
}
