import { type Json, type JsonObject, isObject, objectAt, textAt } from "./json.ts";
import { type ServiceSpec } from "./swarm.ts";
import { compareTexts } from "./text-order.ts";

/**
 * When do two service specs mean the same? The engine stores what docker sends with names turned into ids, empty things left out or
 * written out, and defaults added, differently from version to version. Both sides are brought to one form, then compared.
 */
export function canonicalSpec(spec: ServiceSpec, networkIds: ReadonlyMap<string, string>): JsonObject {
  const found = canonical(spec, [], networkIds);
  return isObject(found) ? found : {};
}

/**
 * Network names to the ids that specs hold, from the swarm's networks. The manager may have one of the same name for itself; the engine lists
 * those of the swarm first, and takes them.
 */
export function networkIdsOf(networks: readonly JsonObject[]): ReadonlyMap<string, string> {
  return new Map(networks.map((raw) => [textAt(raw, "Name"), textAt(raw, "Id")] as const).toReversed());
}

/** The dotted paths at which two canonical specs differ, in order, as deep as can be said. */
export function differences(a: Json | undefined, b: Json | undefined): string[] {
  return differingPaths(a, b).map((path) => path.join("."));
}

/** The same, as paths. */
export function differingPaths(a: Json | undefined, b: Json | undefined, path: Path = []): Path[] {
  if (JSON.stringify(a) === JSON.stringify(b)) return [];
  if (!isObject(a ?? b) || !isObject(b ?? a)) return [path];
  const [left, right] = [objectAt(a), objectAt(b)];
  const keys = [...new Set([...Object.keys(left), ...Object.keys(right)])].toSorted();
  const found = keys.flatMap((key) => differingPaths(left[key], right[key], [...path, key]));
  return found.length === 0 ? [path] : found; // One of them is empty, the other one missing.
}

/** Where a field stands in a spec. Keys of labels have dots of their own, so it is no text. */
export type Path = readonly string[];

/** Lists whose order docker takes from a Go map, or whose order means nothing to a container. */
const UNORDERED = new Set([
  "Env",
  "Mounts",
  "Configs",
  "Secrets",
  "Networks",
  "Ports",
  "Constraints",
  "Platforms",
  "Aliases",
  "Groups",
  "Sysctls",
  "Ulimits",
  "CapabilityAdd",
  "CapabilityDrop",
]);

/** What an engine does where a health check does not say. It never writes that down. */
export const HEALTHCHECK_DEFAULTS = { intervalMs: 30_000, retries: 3 };

/** What the engine writes, or does, where docker sends nothing. */
const ENGINE_DEFAULTS: readonly (readonly [string, Json])[] = [
  ["Mode.Replicated.Replicas", 1],
  ["Mode.ReplicatedJob.MaxConcurrent", 1],
  ["Mode.ReplicatedJob.TotalCompletions", 1],
  ["EndpointSpec.Mode", "vip"],
  ["Ports.[].PublishMode", "ingress"],
  ["Ports.[].Protocol", "tcp"],
  ["ContainerSpec.Isolation", "default"],
  ["TaskTemplate.Runtime", "container"],
  ["RestartPolicy.Condition", "any"],
  ["RestartPolicy.Delay", 5_000_000_000],
  ["UpdateConfig.Parallelism", 1],
  ["UpdateConfig.FailureAction", "pause"],
  ["UpdateConfig.Monitor", 5_000_000_000],
  ["UpdateConfig.Order", "stop-first"],
  ["RollbackConfig.Parallelism", 1],
  ["RollbackConfig.FailureAction", "pause"],
  ["RollbackConfig.Monitor", 5_000_000_000],
  ["RollbackConfig.Order", "stop-first"],
  ["ContainerSpec.StopGracePeriod", 10_000_000_000],
];

const KEYS_WITH_DEFAULT = new Set(ENGINE_DEFAULTS.map(([suffix]) => suffix.split(".").at(-1)));

/** The image of a service spec; empty without one. */
export function imageOf(spec: ServiceSpec | undefined): string {
  return textAt(spec, "TaskTemplate", "ContainerSpec", "Image");
}

/** What the engine makes of a field that docker leaves out; undefined where that is "nothing". */
export function engineDefault(path: readonly string[]): Json | undefined {
  if (!KEYS_WITH_DEFAULT.has(path.at(-1))) return undefined; // Asked for each value of each spec, and nearly all have none.
  const joined = path.join(".");
  return ENGINE_DEFAULTS.find(([suffix]) => joined === suffix || joined.endsWith(`.${suffix}`))?.[1];
}

function canonical(
  value: Json,
  path: readonly string[],
  networkIds: ReadonlyMap<string, string>,
): Json | undefined {
  if (Array.isArray(value)) {
    const items = value.map((item: Json) => canonical(item, [...path, "[]"], networkIds) ?? null);
    if (items.length === 0) return undefined;
    const sorted = UNORDERED.has(path.at(-1) ?? "");
    return sorted ? items.toSorted((a, b) => compareTexts(JSON.stringify(a), JSON.stringify(b))) : items;
  }
  if (isObject(value)) {
    const entries = Object.entries(value)
      .map(([key, child]) => [key, canonical(child, [...path, key], networkIds)] as const)
      .filter((entry): entry is readonly [string, Json] => entry[1] !== undefined)
      .toSorted(([a], [b]) => compareTexts(a, b));
    // An empty object says nothing, but for the mode: `Global: {}` is all there is to say.
    const says = path.length === 0 || (path.length === 2 && path[0] === "Mode" && path[1] !== "Replicated");
    if (entries.length === 0 && !says) return undefined;
    return Object.fromEntries(entries);
  }
  return canonicalScalar(value, path, networkIds);
}

function canonicalScalar(
  value: Json,
  path: readonly string[],
  networkIds: ReadonlyMap<string, string>,
): Json | undefined {
  if (path.at(-2) === "Labels") return value; // An empty label is a label.
  const fallback = engineDefault(path);
  if (value === null || value === "" || value === fallback) return undefined;
  // Nought says nothing, except where leaving it out would mean something else: no replicas, all at once, no delay.
  if ((value === 0 || value === false) && fallback === undefined) return undefined;
  const key = path.at(-1);
  if (key === "Consistency" && path.at(-3) === "Mounts") return undefined; // No engine keeps it.
  if (key === "Target" && path.at(-3) === "Networks" && typeof value === "string")
    return networkIds.get(value) ?? value;
  return value;
}
