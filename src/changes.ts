import { createHash } from "node:crypto";
import { looksSecret, soundsSecret } from "./credential.ts";
import { type Definitions, NAMING_KEY } from "./definitions.ts";
import { fieldOf } from "./field-words.ts";
import { brief } from "./foreign-text.ts";
import { NO_DIGEST_YET, shortImage } from "./image/reference.ts";
import { formatDuration } from "./inputs/duration.ts";
import { type Json, type JsonObject, at, listAt, numberAt, objectAt, textAt } from "./json.ts";
import {
  type Plan,
  type PlannedService,
  alters,
  futureId,
  isOfPlacement,
  isOfTasks,
  newNetworks,
} from "./plan.ts";
import { type Fate, fateOf } from "./preflight/fate.ts";
import { isRunning } from "./preflight/subject.ts";
import { type Release, type StaleObject, used } from "./release/release.ts";
import { isJob } from "./rollout.ts";
import { KEY_LABEL, MANAGED_LABEL, STACK_LABEL } from "./stack/defaults.ts";
import { type Path, canonicalSpec, differingPaths, engineDefault, networkIdsOf } from "./spec.ts";
import { type NewObject, type ServiceSpec, type Survey } from "./swarm.ts";
import { byName, compareTexts } from "./text-order.ts";

/** A plan in words that may be shown to everybody: no value in it can be a secret. This is also the JSON of the output `plan`. */
export interface Changes {
  readonly stack: string;
  readonly services: readonly ServiceChanges[];
  readonly networks: readonly ObjectChange[];
  readonly configs: readonly ObjectChange[];
  readonly secrets: readonly ObjectChange[];
  /** As far as they can be known: a volume lies on the nodes whose tasks use it. */
  readonly volumes: readonly ObjectChange[];
}

export type Change = PlannedService["change"];

export interface ObjectChange {
  /** On the swarm. */
  readonly name: string;
  /** `foreign`: somebody else's, or no longer used and left alone. */
  readonly change: Change;
  /** For an update: the name of the version that is used until then, since content can't change under a name. */
  readonly before?: string;
}

/**
 * What becomes of the tasks: made, ended, ended before or after new ones are there, ended here and made there, more or fewer of them, or
 * nothing at all. Of a job each update starts tasks, whatever it changes (SWARM 12).
 */
export type Consequence =
  "starts tasks" | "ends tasks" | "restarts tasks" | "rolling" | "moves tasks" | "in place" | "nothing";

export interface ServiceChanges {
  /** As the stack file calls it. */
  readonly name: string;
  readonly change: Change;
  /** What it runs, or will run; a tag alone for an image that is yet to be built. */
  readonly image: string;
  /** The keys of the stack file that differ. */
  readonly fields: readonly string[];
  readonly details: readonly FieldChange[];
  readonly consequence: Consequence;
}

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

/** What the words about a plan are made of, beside the plan. */
export interface ChangesRequest {
  readonly survey: Survey;
  /** Configs and secrets that must exist. */
  readonly objects: readonly NewObject[];
  /** Those that the deployment removes after a good verdict, since nothing will need them any more. */
  readonly stale: readonly StaleObject[];
  readonly discretion: {
    readonly isSecret: Discretion["isSecret"];
    /** By the full name of a service. */
    readonly before: (service: string) => Plainness;
    readonly after: (service: string) => Plainness;
  };
}

/** Puts a plan into words. */
export function changesOf(plan: Plan, request: ChangesRequest): Changes {
  const { survey } = request;
  const networkIds = networkIdsOf(survey.networks);
  return {
    stack: plan.stack,
    services: plan.services.map((service) => serviceChanges(service, request, networkIds)),
    networks: networkChanges(plan, survey, networkIds),
    configs: objectChanges("config", plan, request),
    secrets: objectChanges("secret", plan, request),
    volumes: volumeChanges(plan),
  };
}

/** How many things the plan creates, updates or removes; 0 for a plan that does nothing. */
export function countOf({ services, networks, configs, secrets, volumes }: Changes): number {
  return [services, networks, configs, secrets, volumes].flat().filter(alters).length;
}

function serviceChanges(
  { name, change, fields, wanted, before }: PlannedService,
  { survey: { tasks, nodes }, discretion }: ChangesRequest,
  networkIds: ReadonlyMap<string, string>,
): ServiceChanges {
  const image = withoutDraftDigest(textAt(wanted ?? before?.spec, "TaskTemplate", "ContainerSpec", "Image"));
  const isChanged = wanted !== undefined && (change === "create" || change === "update");
  if (!isChanged) return { name, change, image, fields, details: [], consequence: BY_CHANGE[change] };
  const running = tasks.filter((task) => task.serviceId === before?.id && isRunning(task));
  const fate = fateOf(before?.spec, wanted, running, nodes);
  const fullName = textAt(wanted, "Name");
  const chosen = {
    ...discretion,
    before: discretion.before(fullName),
    after: discretion.after(fullName),
  };
  const details = fieldChanges(before?.spec, wanted, networkIds, chosen, fate);
  const consequence = change === "update" ? strongest(details, wanted, fate) : BY_CHANGE[change];
  return { name, change, image, fields, details, consequence };
}

const BY_CHANGE: Readonly<Record<Change, Consequence>> = {
  create: "starts tasks",
  remove: "ends tasks",
  update: "nothing",
  unchanged: "nothing",
  foreign: "nothing",
};
/** The one that is felt most comes first. */
const WEIGHTS: readonly Consequence[] = [
  "ends tasks",
  "starts tasks",
  "restarts tasks",
  "rolling",
  "moves tasks",
  "in place",
];

function strongest(details: readonly FieldChange[], wanted: ServiceSpec, { ofAll }: Fate): Consequence {
  if (isJob(wanted)) return ofAll ?? "starts tasks";
  return WEIGHTS.find((weight) => details.some(({ consequence }) => consequence === weight)) ?? "nothing";
}

/** Every field that differs, in the stack file's words. */
export function fieldChanges(
  before: ServiceSpec | undefined,
  wanted: ServiceSpec,
  networkIds: ReadonlyMap<string, string>,
  discretion: Discretion,
  fate: Fate = {},
): FieldChange[] {
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
    const values = closedValues(spec, networkIds);
    const hidden = new Set(release.hidden[service]);
    return (field, value) => !hidden.has(field) && values.get(field) === value;
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

function namesOf(networkIds: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  return new Map([...networkIds].map(([name, id]) => [id, name]));
}

function networkName(target: string, names: ReadonlyMap<string, string>): string {
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

/** An image that is yet to be built has no digest; what stands for it is no news to anybody. */
export function withoutDraftDigest(text: string): string {
  return text.replaceAll(`@${NO_DIGEST_YET}`, "");
}

function shownImage(image: string): string {
  return image.endsWith(NO_DIGEST_YET) ? `${withoutDraftDigest(image)}${NEW_IMAGE}` : shortImage(image);
}

/** What services need: of those that the plan leaves there, and of those that it takes away or leaves alone. */
function specsOf({ services }: Plan): {
  readonly wanted: readonly ServiceSpec[];
  readonly foreign: readonly ServiceSpec[];
  readonly live: readonly ServiceSpec[];
} {
  const live = services.flatMap(({ before }) => (before === undefined ? [] : [before.spec]));
  const wanted = services.flatMap(({ wanted: spec }) => (spec === undefined ? [] : [spec]));
  const foreign = services.flatMap(({ change, before }) =>
    change === "foreign" && before !== undefined ? [before.spec] : [],
  );
  return { wanted, foreign, live };
}

function objectChanges(
  kind: NewObject["kind"],
  plan: Plan,
  { survey, objects, stale }: ChangesRequest,
): ObjectChange[] {
  const specs = specsOf(plan);
  const [inUse, needed, others] = [
    used(kind, specs.live),
    used(kind, specs.wanted),
    used(kind, specs.foreign),
  ];
  const raw = new Map(
    (kind === "config" ? survey.rawConfigs : survey.rawSecrets).map((each) => [
      textAt(each, "Spec", "Name"),
      each,
    ]),
  );
  const labelsOf = (name: string): JsonObject => objectAt(raw.get(name), "Spec", "Labels");
  const isOurs = (name: string): boolean =>
    textAt(labelsOf(name), STACK_LABEL) === plan.stack && textAt(labelsOf(name), KEY_LABEL) !== "";
  const own = new Map(
    objects.filter((object) => object.kind === kind).map(({ name, labels }) => [name, labels.get(KEY_LABEL)]),
  );
  const created = new Set([...plan.needs[`${kind}s`], ...(kind === "secret" ? (plan.secrets ?? []) : [])]);
  const earlier = (key: string | undefined): string | undefined =>
    [...inUse.keys()].find((name) => key !== undefined && isOurs(name) && labelsOf(name)[KEY_LABEL] === key);

  const present = [...new Set([...own.keys(), ...needed.keys()])].map((name): ObjectChange => {
    if (!created.has(name)) return { name, change: own.has(name) || isOurs(name) ? "unchanged" : "foreign" };
    const before = earlier(own.get(name));
    return before === undefined ? { name, change: "create" } : { name, change: "update", before };
  });
  const replaced = new Set(present.map(({ before }) => before));
  const keys = new Set(own.values());
  const removed = new Set(stale.filter((each) => each.kind === kind).map(({ name }) => name));
  const left = [...inUse.keys()]
    .filter((name) => !needed.has(name) && !own.has(name) && !others.has(name) && !replaced.has(name))
    .filter((name) => isOurs(name) && !keys.has(textAt(labelsOf(name), KEY_LABEL)) && !removed.has(name))
    .map((name): ObjectChange => ({ name, change: "foreign" }));
  const gone = [...removed].map((name): ObjectChange => ({ name, change: "remove" }));
  const shown = present.filter(({ name }) => created.has(name) || !isHousekeeping(name, raw));
  return byName([...shown, ...left, ...gone]);
}

/** What serves all stacks, such as the key that the names of secrets are made with. */
function isHousekeeping(name: string, raw: ReadonlyMap<string, JsonObject>): boolean {
  const labels = objectAt(raw.get(name), "Spec", "Labels");
  return textAt(labels, MANAGED_LABEL) === "true" && textAt(labels, KEY_LABEL) === "";
}

function networkChanges(plan: Plan, survey: Survey, networkIds: ReadonlyMap<string, string>): ObjectChange[] {
  const names = namesOf(networkIds);
  const specs = specsOf(plan);
  const targets = (list: readonly ServiceSpec[]): string[] =>
    list.flatMap((spec) =>
      listAt(spec, "TaskTemplate", "Networks").map((each) => networkName(textAt(each, "Target"), names)),
    );
  const created = newNetworks(plan);
  const own = new Set(
    survey.networks
      .filter((raw) => textAt(raw, "Labels", STACK_LABEL) === plan.stack)
      .map((raw) => textAt(raw, "Name")),
  );
  const wanted = new Set([...created, ...targets(specs.wanted)]);
  const present = [...wanted].map((name): ObjectChange => {
    if (created.has(name)) return { name, change: "create" };
    return { name, change: own.has(name) ? "unchanged" : "foreign" };
  });
  const left = [...own]
    .filter((name) => !wanted.has(name))
    .map((name): ObjectChange => ({ name, change: "foreign" }));
  return byName([...present, ...left]);
}

function volumeChanges(plan: Plan): ObjectChange[] {
  const specs = specsOf(plan);
  const [wanted, live] = [volumesOf(specs.wanted), volumesOf(specs.live)];
  const present = [...wanted].map((name): ObjectChange => ({
    name,
    change: live.has(name) ? "unchanged" : "create",
  }));
  const left = [...live]
    .filter((name) => !wanted.has(name))
    .map((name): ObjectChange => ({ name, change: "foreign" }));
  return byName([...present, ...left]);
}

function volumesOf(specs: readonly ServiceSpec[]): ReadonlySet<string> {
  const mounts = specs.flatMap((spec) => listAt(spec, "TaskTemplate", "ContainerSpec", "Mounts"));
  const volumes = mounts.filter((mount) => textAt(mount, "Type") === "volume");
  return new Set(volumes.map((mount) => textAt(mount, "Source")).filter((name) => name !== ""));
}

/** What a plan's digest is made of, beside what is shown. */
export interface DigestRequest {
  /** The digest of an image that the deployment itself builds, which nobody could know beforehand; else empty. */
  readonly built: string;
  readonly definitions: Definitions;
  /** The digest that this one is to be held against. */
  readonly approved?: string | undefined;
}

/**
 * What `plan-digest` says about a plan: a digest of all that was shown and of each service's whole definition, and after it eight digits
 * for each thing in it, so that a later plan can tell what is different. It says nothing about a secret: what may be one has a part in it
 * by a keyed digest alone. Where the approved one comes from a time without a naming key, this one is told as it would have been then.
 */
export function planDigest(changes: Changes, { built, definitions, approved = "" }: DigestRequest): string {
  const keyless = changes.configs.some(isNewKey) || approved.includes(` config:${NAMING_KEY}=`);
  const named = keyless ? beforeNamingKey(changes) : changes;
  const defined = knowsNoDefinition(approved) ? [] : [...definitions];
  const text = (part: unknown): string => withoutBuilt(JSON.stringify(part), built);
  const parts = [
    ...named.services.map((each) => ["service", each] as const),
    ...named.networks.map((each) => ["network", each] as const),
    ...named.configs.map((each) => ["config", each] as const),
    ...named.secrets.map((each) => ["secret", each] as const),
    ...named.volumes.map((each) => ["volume", each] as const),
  ].map(([kind, each]) => `${kind}:${each.name}=${sha256(text(each)).slice(0, 8)}`);
  const definitionParts = defined.map(([name, digits]) => `${DEFINITION}:${name}=${digits.slice(0, 8)}`);
  const whole = [text(named), ...(defined.length === 0 ? [] : [JSON.stringify(defined)])].join("\n");
  return [`sha256:${sha256(whole)}`, ...[...parts, ...definitionParts].toSorted(compareTexts)].join(" ");
}

const DEFINITION = "definition";

/** The swarm had no naming key when it was made. Of a digest without its parts nobody can tell, so it is taken for one that has them. */
function knowsNoDefinition(approved: string): boolean {
  return approved.trim().includes(" ") && !approved.includes(` ${DEFINITION}:`);
}

/** What is different, in the order of the alphabet: `service web`, `config shop_env_0123`. Undefined where both are of one plan. */
export function differingParts(approved: string, present: string): string[] | undefined {
  const [[a = "", ...before], [b = "", ...after]] = [approved, present].map((text) =>
    text.trim().split(/\s+/),
  ) as [string[], string[]];
  if (a === b) return undefined;
  const only = [
    ...before.filter((part) => !after.includes(part)),
    ...after.filter((part) => !before.includes(part)),
  ];
  const names = new Set(only.map((part) => part.replace(/=[0-9a-f]*$/, "").replace(":", " ")));
  return [...names].flatMap((name) => inWords(name, names)).toSorted(compareTexts);
}

/** Where what is shown of a service is the same, the log can't tell why its plan is another one. */
function inWords(name: string, all: ReadonlySet<string>): string[] {
  if (!name.startsWith(`${DEFINITION} `)) return [name];
  const service = name.replace(DEFINITION, "service");
  return all.has(service) ? [] : [`${service} (in what a plan does not show)`];
}

function withoutBuilt(text: string, built: string): string {
  const digests = [NO_DIGEST_YET, built].filter((digest) => digest !== "");
  return digests
    .flatMap((digest) => [`@${digest}`, `@${digest.slice(0, SHORT_DIGEST)}`])
    .reduce((rest, digest) => rest.replaceAll(digest, ""), text)
    .replaceAll(NEW_IMAGE, "");
}

/** `sha256:` and the twelve digits that are shown. */
const SHORT_DIGEST = 19;
const NEW_IMAGE = " (new image)";

/**
 * Where the swarm has no key for the names of secrets yet, each run makes its own, and with it other names. Any stack may be the one
 * that brings the key, also between a plan and its deployment.
 */
function beforeNamingKey(changes: Changes): Changes {
  const text = changes.secrets.reduce(
    (all, { name, change }) =>
      change === "create" ? all.replaceAll(name, name.replace(/[0-9a-f]{12}$/, "")) : all,
    JSON.stringify(changes),
  );
  const named = JSON.parse(text) as Changes;
  const configs = named.configs.filter(({ name }) => name !== NAMING_KEY);
  return {
    ...named,
    configs: byName([...configs, { name: NAMING_KEY, change: "create" }]),
    secrets: byName(named.secrets),
  };
}

const isNewKey = ({ name, change }: ObjectChange): boolean => name === NAMING_KEY && change === "create";

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
