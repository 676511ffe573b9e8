import {
  type Consequence,
  type Discretion,
  type FieldChange,
  type Plainness,
  fieldChanges,
  namesOf,
  networkName,
} from "./field-changes.ts";
import { withoutDraftDigest } from "./image/reference.ts";
import { type JsonObject, listAt, objectAt, textAt } from "./json.ts";
import { type Plan, type PlannedService, alters, newNetworks } from "./plan.ts";
import { type Fate, fateOf } from "./preflight/fate.ts";
import { isRunning } from "./preflight/subject.ts";
import { type StaleObject, used } from "./release/release.ts";
import { isJob } from "./rollout.ts";
import { imageOf, networkIdsOf } from "./spec.ts";
import { KEY_LABEL, MANAGED_LABEL, STACK_LABEL } from "./stack/defaults.ts";
import { type NewObject, type ServiceSpec, type Survey } from "./swarm.ts";
import { byName } from "./text-order.ts";

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
  const image = withoutDraftDigest(imageOf(wanted ?? before?.spec));
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
