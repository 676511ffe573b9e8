import { type JsonObject, at, listAt, objectAt, textAt } from "../json.ts";
import { type Kind } from "../stack/configs.ts";
import { LABEL_PREFIX, MANAGED_LABEL, STACK_LABEL } from "../stack/defaults.ts";
import { type Service, type ServiceSpec, type Survey } from "../swarm.ts";

/** What ran after a good verdict, complete enough to come back to it without the files, the build or the registry's tags. */
export interface Release {
  /** Counts the good deployments of a stack, from 1. */
  readonly number: number;
  /** Which release this is again, after a rollback; its own number otherwise. */
  readonly origin: number;
  readonly version: string;
  /** `registry/project:version@sha256:…` */
  readonly image: string;
  /** `sha256:…` */
  readonly digest: string;
  /** The swarm's name of the config made from the env file; empty without one. */
  readonly configName: string;
  /** What was built, or would have been. */
  readonly commit: string;
  /** The page of the run that recorded it. */
  readonly run: string;
  readonly actor: string;
  /** RFC 3339, by the runner's clock. */
  readonly at: string;
  /** The action's own version, as the workflow names it. */
  readonly by: string;
  /** The rendered stack file, as docker got it. */
  readonly file: string;
  /** As the swarm stored them, with the ids of their time. */
  readonly services: readonly ServiceSpec[];
  /** Those that the services are attached to. */
  readonly networks: readonly RecordedNetwork[];
  /** Names of those that the services use, or that were made for the release. */
  readonly configs: readonly string[];
  readonly secrets: readonly string[];
  /**
   * Fields in the stack file's words, by the full names of services, whose values held what may be a secret. Undefined in records of a
   * time that did not ask: then every one may.
   */
  readonly hidden: Readonly<Record<string, readonly string[]>> | undefined;
}

export interface RecordedNetwork {
  readonly name: string;
  /** Of its time. */
  readonly id: string;
  /** How to create it again, in the engine's words; undefined where it is not the stack's own. */
  readonly definition: JsonObject | undefined;
}

/** What a release is made of, beside what the swarm says. */
export type ReleaseFacts = Omit<Release, "services" | "networks" | "configs" | "secrets">;

/** What the swarm can't say about a release. */
export interface Belongings {
  readonly stack: string;
  /** Full names of its services. */
  readonly services: ReadonlySet<string>;
  /** Names of configs and secrets that were made for it, used or not. */
  readonly configs: readonly string[];
  readonly secrets: readonly string[];
  /** Names of the networks whose addresses were chosen, and not left to the swarm. */
  readonly addressed: ReadonlySet<string>;
}

/** What the swarm runs now, as a release. */
export function releaseOf(facts: ReleaseFacts, belongings: Belongings, survey: Survey): Release {
  const specs = survey.services.filter(({ name }) => belongings.services.has(name)).map(({ spec }) => spec);
  const names = (kind: Kind): string[] =>
    [...new Set([...used(kind, specs).keys(), ...belongings[`${kind}s`]])].toSorted();
  const networks = attached(specs, belongings, survey);
  return { ...facts, services: specs, networks, configs: names("config"), secrets: names("secret") };
}

function attached(
  specs: readonly ServiceSpec[],
  { stack, addressed }: Belongings,
  { networks }: Survey,
): RecordedNetwork[] {
  const targets = new Set(
    specs.flatMap((spec) =>
      [...listAt(spec, "TaskTemplate", "Networks"), ...listAt(spec, "Networks")].map((each) =>
        textAt(each, "Target"),
      ),
    ),
  );
  return networks
    .filter((raw) => targets.has(textAt(raw, "Id")))
    .map((raw) => {
      const name = textAt(raw, "Name");
      const isOwn = at(raw, "Labels", STACK_LABEL) === stack || at(raw, "Labels", MANAGED_LABEL) === "true";
      const definition = isOwn ? definitionOf(raw, addressed.has(name)) : undefined;
      return { name, id: textAt(raw, "Id"), definition };
    });
}

/** What the swarm had chosen by itself it shall choose again: the subnet may belong to another network by then. */
function definitionOf(raw: JsonObject, isAddressed: boolean): JsonObject {
  const chosen = [
    "Driver",
    "Attachable",
    "Internal",
    "EnableIPv6",
    "Labels",
    ...(isAddressed ? ["IPAM"] : []),
  ];
  const kept = Object.entries(raw).filter(([key]) => chosen.includes(key));
  const options = Object.entries(objectAt(raw, "Options")).filter(([key]) => !key.endsWith(".vxlanid_list"));
  return { ...Object.fromEntries(kept), Options: Object.fromEntries(options) };
}

/** Names to ids of the configs or secrets in specs. */
export function used(kind: Kind, specs: readonly ServiceSpec[]): ReadonlyMap<string, string> {
  const [list, name, id] =
    kind === "config" ? ["Configs", "ConfigName", "ConfigID"] : ["Secrets", "SecretName", "SecretID"];
  return new Map(
    specs.flatMap((spec) =>
      listAt(spec, "TaskTemplate", "ContainerSpec", list).map((each): [string, string] => [
        textAt(each, name),
        textAt(each, id),
      ]),
    ),
  );
}

/** Whether a service was there already when the release was recorded; by two clocks, which differ by seconds at most. */
export function isOlderThan({ at: time }: Release, { createdAt }: Service): boolean {
  return Date.parse(createdAt) <= Date.parse(time);
}

/** A spec of a release as docker would send it today: how often somebody has asked for a restart is no part of a stack. */
export function asOftenForced(spec: ServiceSpec, live: Service | undefined): ServiceSpec {
  const template = objectAt(spec, "TaskTemplate");
  const ForceUpdate = at(live?.spec, "TaskTemplate", "ForceUpdate") ?? template.ForceUpdate;
  return ForceUpdate === undefined ? spec : { ...spec, TaskTemplate: { ...template, ForceUpdate } };
}

/** `#3`, or `#5, #3 again` */
export function nameOf({ number, origin }: Release): string {
  return origin === number ? `#${number}` : `#${number}, #${origin} again`;
}

/** `#3 v1.2.0 (2026-08-01 10:00, 0123456)` */
export function titleOf({ number, origin, version, at: time, commit }: Release): string {
  const when = time.slice(0, 16).replace("T", " ");
  const again = origin === number ? "" : `, #${origin} again`;
  return `#${number} ${version} (${[when, commit.slice(0, 7)].filter((part) => part !== "").join(", ")}${again})`;
}

/** A config or secret on the swarm. */
export interface StaleObject {
  readonly kind: Kind;
  readonly id: string;
  readonly name: string;
}

/**
 * Configs and secrets that this action made for the stack, and that nothing needs any more: no service of any stack, no service's
 * previous spec (`docker service rollback` would take it down without), no kept release. `services` is the engine's own list.
 */
export function staleObjects(
  stack: string,
  { rawConfigs, rawSecrets }: Survey,
  services: readonly JsonObject[],
  kept: readonly Pick<Release, "configs" | "secrets">[],
): StaleObject[] {
  const mentioned = JSON.stringify(services);
  const stale = (kind: Kind, objects: readonly JsonObject[]): StaleObject[] => {
    const needed = new Set(kept.flatMap((release) => release[`${kind}s`]));
    return objects
      .filter((raw) => ownLabel(raw, "stack") === stack && ownLabel(raw, "key") !== "")
      .map((raw) => ({ kind, id: textAt(raw, "ID"), name: textAt(raw, "Spec", "Name") }))
      .filter(({ id, name }) => !needed.has(name) && !mentioned.includes(JSON.stringify(id)));
  };
  return [...stale("config", rawConfigs), ...stale("secret", rawSecrets)];
}

/** A label of ours on a config or secret; empty where it has none. */
export function ownLabel(raw: JsonObject, name: string): string {
  return textAt(raw, "Spec", "Labels", `${LABEL_PREFIX}${name}`);
}
