import { looksSecret, soundsSecret } from "./credential.ts";
import { fieldOf } from "./field-words.ts";
import { brief } from "./foreign-text.ts";
import { NO_DIGEST_YET, shortImage, withoutDraftDigest } from "./image/reference.ts";
import { formatDuration } from "./inputs/duration.ts";
import { type Json, at, listAt, numberAt, textAt } from "./json.ts";
import { futureId, isOfPlacement, isOfTasks } from "./plan.ts";
import { type Fate } from "./preflight/fate.ts";
import { type Release } from "./release/release.ts";
import { isJob } from "./rollout.ts";
import { type Path, canonicalSpec, differingPaths, engineDefault } from "./spec.ts";
import { type ServiceSpec } from "./swarm.ts";
import { compareTexts } from "./text-order.ts";

/**
 * What becomes of the tasks: made, ended, ended before or after new ones are there, ended here and made there, more or fewer of them, or
 * nothing at all. Of a job each update starts tasks, whatever it changes (SWARM 12).
 */
export type Consequence =
  "starts tasks" | "ends tasks" | "restarts tasks" | "rolling" | "moves tasks" | "in place" | "nothing";

export interface FieldChange {
  /** In the stack file's words, for instance `environment.GREETING`. */
  readonly field: string;
  readonly change: "added" | "removed" | "changed";
  /** Left out where there was nothing, and where it could be a secret; shortened where it is long. */
  readonly before?: string;
  readonly after?: string;
  readonly consequence: Consequence;
}

/** Whether it is known of a field's value, which is given whole, that it was made of no secret. */
export type Plainness = (field: string, value: string) => boolean;

/** What decides which values are shown, beside their names and their looks. */
export interface Discretion {
  /** Whether a text holds what is known to be a secret. */
  readonly isSecret: (text: string) => boolean;
  /** Of what runs, and of what is to run. */
  readonly before: Plainness;
  readonly after: Plainness;
}

export const NOTHING_IS_PLAIN: Plainness = () => false;

/** Every field that differs, in the stack file's words. */
export function fieldChanges(
  before: ServiceSpec | undefined,
  wanted: ServiceSpec,
  networkIds: ReadonlyMap<string, string>,
  discretion: Discretion,
  fate: Fate = {},
): FieldChange[] {
  if (JSON.stringify(before) === JSON.stringify(wanted)) return []; // Known at once, and of what was released the usual case.
  const [a, b] = [
    before === undefined ? {} : canonicalSpec(before, networkIds),
    canonicalSpec(wanted, networkIds),
  ];
  const names = namesOf(networkIds);
  const order = textAt(b, "UpdateConfig", "Order") === "start-first" ? "rolling" : "restarts tasks";
  const startsAnew = before === undefined || isJob(wanted);
  const differing = differingPaths(a, b);
  const paths = differing.filter((path) => !isRepeated(path, differing));
  return paths.flatMap((path) => {
    const consequence = startsAnew ? (fate.ofAll ?? "starts tasks") : consequenceAt(path, order, fate);
    const [old, made] = [at(a, ...path), at(b, ...path)];
    return itemChanges(path, old, made, names).map((item): FieldChange => {
      const change = item.from === undefined ? "added" : item.to === undefined ? "removed" : "changed";
      return { field: item.field, change, ...shownSides(item, discretion), consequence };
    });
  });
}

type Sides = Pick<FieldChange, "before" | "after">;

/** What of both sides may be read by everybody. Whether both are hidden or one of them, no change is left out for it. */
function shownSides({ field, from, to, open }: ItemChange, discretion: Discretion): Sides {
  const values = [from, to].filter((value) => value !== undefined);
  if (from === to || values.some(discretion.isSecret)) return {};
  if (open) return sides(from, to);
  if (soundsSecret(field) || values.some(looksSecret)) return {};
  const before = from !== undefined && discretion.before(field, from) ? brief(from) : undefined;
  const after = to !== undefined && discretion.after(field, to) ? brief(to) : undefined;
  return before === after ? {} : sides(before, after); // They may differ in what is not shown of them.
}

function sides(before: string | undefined, after: string | undefined): Sides {
  return { ...(before === undefined ? {} : { before }), ...(after === undefined ? {} : { after }) };
}

/** Of a spec: the whole values of all fields whose nature does not say that they are no secrets. */
function closedValues(
  spec: ServiceSpec,
  networkIds: ReadonlyMap<string, string>,
): ReadonlyMap<string, string> {
  const whole = canonicalSpec(spec, networkIds);
  const names = namesOf(networkIds);
  const items = differingPaths({}, whole).flatMap((path) =>
    itemChanges(path, undefined, at(whole, ...path), names),
  );
  return new Map(
    items.flatMap(({ field, to, open }): [string, string][] =>
      open || to === undefined ? [] : [[field, to]],
    ),
  );
}

/** Names of fields, by the full names of services, whose values hold what may be a secret. */
export function secretFields(
  specs: readonly ServiceSpec[],
  networkIds: ReadonlyMap<string, string>,
  mayBeSecret: (text: string) => boolean,
): Readonly<Record<string, readonly string[]>> {
  const found = specs.map((spec): [string, string[]] => {
    const values = [...closedValues(spec, networkIds)];
    return [textAt(spec, "Name"), values.filter(([, value]) => mayBeSecret(value)).map(([field]) => field)];
  });
  return Object.fromEntries(found.filter(([, fields]) => fields.length > 0));
}

/** Values that a release has left there, and that it knows to have been made of no secret. */
export function plainSince(
  release: Pick<Release, "services" | "hidden"> | undefined,
  networkIds: ReadonlyMap<string, string>,
): (service: string) => Plainness {
  return (service) => {
    const spec = release?.services.find((each) => textAt(each, "Name") === service);
    if (spec === undefined || release?.hidden === undefined) return NOTHING_IS_PLAIN;
    const hidden = new Set(release.hidden[service]);
    let values: ReadonlyMap<string, string> | undefined; // Most services have not changed, so nobody asks.
    return (field, value) =>
      !hidden.has(field) && (values ??= closedValues(spec, networkIds)).get(field) === value;
  };
}

/** Says what another field says: docker's labels, and the platforms that an image's digest stands for. */
function isRepeated(path: Path, differing: readonly Path[]): boolean {
  const text = path.join(".");
  if (text === IMAGE_LABEL) return differing.some((other) => other.join(".") === IMAGE);
  return (
    text === "Name" ||
    text.startsWith("Labels.com.docker.stack.namespace") ||
    text.startsWith("TaskTemplate.ContainerSpec.Labels.com.docker.stack.namespace") ||
    text.startsWith("TaskTemplate.Placement.Platforms")
  );
}

const IMAGE = "TaskTemplate.ContainerSpec.Image";
const IMAGE_LABEL = "Labels.com.docker.stack.image";

function consequenceAt(path: Path, order: Consequence, { ofAll, ofPlacement }: Fate): Consequence {
  if (isOfPlacement(path)) return ofAll ?? ofPlacement ?? order;
  if (isOfTasks(path)) return ofAll ?? order;
  return path[0] === "Mode" ? "in place" : "nothing";
}

/** The runner masks shorter ones by itself; as part of another text they mean nothing. */
const SHORTEST_PART = 4;

/** Whether one of the secrets is the text, or a part of it. */
export function holdsSecret(text: string, secrets: readonly string[]): boolean {
  return secrets.some((secret) => {
    if (secret === "") return false; // A fork is given none.
    if (secret.length < SHORTEST_PART) return text === secret;
    return text.includes(secret) || text.includes(JSON.stringify(secret).slice(1, -1));
  });
}

interface ItemChange {
  readonly field: string;
  /** Whole. */
  readonly from: string | undefined;
  readonly to: string | undefined;
  /** Whether its value can't be a secret by its nature. */
  readonly open: boolean;
}

/** Values that say how something runs, and never with what credentials. Of all others it depends. */
const OPEN =
  /^Labels\.com\.docker\.stack\.image$|^TaskTemplate\.(ContainerSpec\.(Image|User|Dir|Hostname|Init|ReadOnly|TTY|OpenStdin|StopSignal|StopGracePeriod|Isolation|CapabilityAdd|CapabilityDrop|Groups|Healthcheck\.(Interval|Timeout|StartPeriod|StartInterval|Retries))|Resources|RestartPolicy|Placement|LogDriver\.Name)(\.|$)|^(Mode|UpdateConfig|RollbackConfig|EndpointSpec)(\.|$)/;

function itemChanges(
  path: Path,
  before: Json | undefined,
  after: Json | undefined,
  names: ReadonlyMap<string, string>,
): ItemChange[] {
  const field = fieldOf(path);
  const list = LISTS.find(({ at: where }) => where === path.join("."));
  if (list === undefined) {
    const open = OPEN.test(path.join("."));
    return [{ field, from: valueText(path, before), to: valueText(path, after), open }];
  }
  const [old, made] = [itemsOf(list, before, names), itemsOf(list, after, names)];
  return [...new Set([...old.keys(), ...made.keys()])]
    .toSorted(compareTexts)
    .filter((key) => JSON.stringify(old.get(key)?.whole) !== JSON.stringify(made.get(key)?.whole))
    .map((key) => ({
      field: `${field}.${key}`,
      from: old.get(key)?.shown,
      to: made.get(key)?.shown,
      open: list.open,
    }));
}

interface List {
  readonly at: string;
  /** What tells its items apart. */
  readonly key: (item: Json, networkNames: ReadonlyMap<string, string>) => string;
  readonly shown: (item: Json) => string;
  readonly open: boolean;
}

/** Lists of things that have a name. */
const LISTS: readonly List[] = [
  {
    at: "TaskTemplate.ContainerSpec.Env",
    key: (item) => (typeof item === "string" ? (item.split("=")[0] ?? "") : ""),
    shown: (item) => (typeof item === "string" ? item.slice(item.indexOf("=") + 1) : ""),
    open: false,
  },
  {
    at: "TaskTemplate.ContainerSpec.Configs",
    key: (item) => textAt(item, "File", "Name") || textAt(item, "ConfigName"),
    shown: (item) => textAt(item, "ConfigName"),
    open: true,
  },
  {
    at: "TaskTemplate.ContainerSpec.Secrets",
    key: (item) => textAt(item, "File", "Name") || textAt(item, "SecretName"),
    shown: (item) => textAt(item, "SecretName"),
    open: true,
  },
  {
    at: "TaskTemplate.ContainerSpec.Mounts",
    key: (item) => textAt(item, "Target"),
    shown: (item) => `${textAt(item, "Type")} ${textAt(item, "Source")}`.trim(),
    open: true,
  },
  {
    at: "TaskTemplate.Networks",
    key: (item, names) => networkName(textAt(item, "Target"), names),
    shown: (item) => textsOf(listAt(item, "Aliases")).join(", "),
    open: true,
  },
  {
    at: "EndpointSpec.Ports",
    key: (item) => `${numberAt(item, "TargetPort")}/${textAt(item, "Protocol") || "tcp"}`,
    shown: (item) =>
      `${numberAt(item, "PublishedPort") || "any"} (${textAt(item, "PublishMode") || "ingress"})`,
    open: true,
  },
];

function textsOf(list: readonly Json[]): string[] {
  return list.filter((item) => typeof item === "string");
}

interface Item {
  readonly shown: string;
  readonly whole: Json;
}

/** Several of one key, such as a port that is published twice, count as one. */
function itemsOf(
  list: List,
  value: Json | undefined,
  names: ReadonlyMap<string, string>,
): ReadonlyMap<string, Item> {
  const found = new Map<string, Item>();
  for (const item of Array.isArray(value) ? (value as readonly Json[]) : []) {
    const key = list.key(item, names);
    const earlier = found.get(key);
    const shown = [earlier?.shown, list.shown(item)].filter((text) => text !== undefined).join(", ");
    found.set(key, { shown, whole: earlier === undefined ? item : [earlier.whole, item] });
  }
  return found;
}

/** By their ids. */
export function namesOf(networkIds: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  return new Map([...networkIds].map(([name, id]) => [id, name]));
}

export function networkName(target: string, names: ReadonlyMap<string, string>): string {
  return names.get(target) ?? target.replace(futureId(""), "");
}

/** Undefined for nothing, unless the engine makes something of that. */
function valueText(path: Path, value: Json | undefined): string | undefined {
  const meant = value ?? (path[0] === "Mode" && path[1] !== "Replicated" ? undefined : engineDefault(path));
  if (meant === undefined) return undefined;
  const name = path.at(-1) ?? "";
  if (typeof meant === "string") return name === "Image" ? shownImage(meant) : meant;
  if (typeof meant === "number" && DURATIONS.has(name)) return formatDuration(meant / 1e6);
  if (name === "NanoCPUs") return String(Number(meant) / 1e9);
  if (name === "MemoryBytes") return bytesText(Number(meant));
  if (Array.isArray(meant) && COMMANDS.has(name)) return (meant as readonly Json[]).map(asWord).join(" ");
  if (Array.isArray(meant) && textsOf(meant).length === meant.length) return textsOf(meant).join(", ");
  return JSON.stringify(meant);
}

/** Lists of words. */
const COMMANDS = new Set(["Command", "Args", "Test"]);

/** As part of a command: what has blanks in it is one word all the same, and so is nothing, which a canonical spec has no text for. */
function asWord(item: Json): string {
  const text = typeof item === "string" ? item : "";
  return /^[^\s"]+$/.test(text) ? text : `"${text}"`;
}

/** In nanoseconds. */
const DURATIONS = new Set([
  "Delay",
  "Monitor",
  "Window",
  "Interval",
  "Timeout",
  "StartPeriod",
  "StartInterval",
  "StopGracePeriod",
]);

function bytesText(bytes: number): string {
  const units = ["", "K", "M", "G"];
  let [size, unit] = [bytes, 0];
  while (size % 1024 === 0 && size > 0 && unit < units.length - 1) [size, unit] = [size / 1024, unit + 1];
  return `${size}${units[unit]}`;
}

function shownImage(image: string): string {
  return image.endsWith(NO_DIGEST_YET) ? `${withoutDraftDigest(image)}${NEW_IMAGE}` : shortImage(image);
}

/** Behind an image that is yet to be built. */
export const NEW_IMAGE = " (new image)";
