import { MANAGED_LABEL } from "./stack/defaults.ts";
import { fieldsOf } from "./field-words.ts";
import { type Path, canonicalSpec, differingPaths, imageOf } from "./spec.ts";
import { NO_DIGEST_YET } from "./image/reference.ts";
import { listAt, objectAt, textAt, type Json } from "./json.ts";
import { type Service, type ServiceSpec } from "./swarm.ts";
import { byName } from "./text-order.ts";

type ServiceChange = "create" | "update" | "unchanged" | "remove" | "foreign";

export interface PlannedService {
  /** As the stack file calls it. */
  readonly name: string;
  readonly change: ServiceChange;
  /** For an update: what differs, in the stack file's words. */
  readonly fields: readonly string[];
  /** For an update: whether its tasks stay as they are, because only what surrounds them changes (replicas, labels, policies). */
  readonly sameTemplate: boolean;
  /** What docker would send; undefined for services the file does not have. */
  readonly wanted: ServiceSpec | undefined;
  /** What runs before the deployment; undefined for a new service. */
  readonly before: Service | undefined;
  /** The X-Registry-Auth value that docker sends along. */
  readonly auth: string | undefined;
}

export interface Plan {
  readonly stack: string;
  /** By name: docker sends them in another order each time, and a plan is to be the same when nothing changed. */
  readonly services: readonly PlannedService[];
  readonly needs: Needs;
  /** Names of networks that docker creates by itself, with the services that use them. */
  readonly networks?: readonly string[];
  /** Names of secrets that docker creates by itself, since a driver has their content. */
  readonly secrets?: readonly string[];
}

/** What has to be created before the services: names. */
export interface Needs {
  readonly networks: readonly string[];
  readonly configs: readonly string[];
  readonly secrets: readonly string[];
}

/** What docker wants for one service: found out by rehearsal. */
interface WantedService {
  readonly spec: ServiceSpec;
  readonly auth: string | undefined;
}

/** The id, in a rehearsal, of something that does not exist yet. */
export function futureId(name: string): string {
  return `future:${name}`;
}

/** Whether a write of docker's, by its path, creates or updates a service. */
export function writesService(path: string): boolean {
  return /^\/services\/(create|[^/]+\/update)$/.test(path);
}

/** What kind of thing a write of docker's creates, beside services; by its path. */
export function createdBy(path: string): keyof Needs | undefined {
  return KINDS.find((kind) => path === `/${kind}/create`);
}

const KINDS: readonly (keyof Needs)[] = ["networks", "configs", "secrets"];

const FUTURE_ID = new RegExp(`"${futureId("")}([^"]*)"`, "g");

/** Puts the ids of what is there by now into the specs of a plan. */
export function withRealIds(spec: ServiceSpec, ids: ReadonlyMap<string, string>): ServiceSpec {
  const replaced = JSON.stringify(spec).replace(FUTURE_ID, (future, name: string) => {
    const id = ids.get(name);
    return id === undefined ? future : JSON.stringify(id);
  });
  return JSON.parse(replaced) as ServiceSpec;
}

/** Nobody knows the platforms of an image that is yet to be built; that they stay is the best guess. */
export function withPlatformsOf(live: readonly Service[], spec: ServiceSpec): ServiceSpec {
  if (!imageOf(spec).endsWith(NO_DIGEST_YET)) return spec;
  const before = live.find(({ name }) => name === spec.Name);
  return withPlatforms(spec, listAt(before?.spec, "TaskTemplate", "Placement", "Platforms"));
}

export function withPlatforms(spec: ServiceSpec, Platforms: readonly Json[]): ServiceSpec {
  const TaskTemplate = objectAt(spec, "TaskTemplate");
  const Placement = { ...objectAt(TaskTemplate, "Placement"), Platforms };
  return { ...spec, TaskTemplate: { ...TaskTemplate, Placement } };
}

export interface PlanRequest {
  readonly stack: string;
  readonly wanted: readonly WantedService[];
  readonly live: readonly Service[];
  /** Network names to ids, since the engine stores ids. */
  readonly networkIds: ReadonlyMap<string, string>;
  readonly prune: boolean;
  /** Of the services that are not wanted any more: those that stay even so. */
  readonly stays?: (service: Service) => boolean;
  readonly needs: Needs;
  readonly networks?: Plan["networks"];
  readonly secrets?: Plan["secrets"];
}

/** Compares what docker would send with what runs. */
export function planDeployment(request: PlanRequest): Plan {
  const { stack, live, networkIds } = request;
  const wantedNames = new Set(request.wanted.map(({ spec }) => textAt(spec, "Name")));
  const present = request.wanted.map(({ spec, auth }): PlannedService => {
    const before = live.find((service) => service.name === spec.Name);
    const paths =
      before === undefined
        ? []
        : differingPaths(canonicalSpec(before.spec, networkIds), canonicalSpec(spec, networkIds));
    const change = before === undefined ? "create" : paths.length > 0 ? "update" : "unchanged";
    const sameTemplate = !paths.some(isOfTasks);
    const name = shortName(stack, textAt(spec, "Name"));
    return { name, change, fields: fieldsOf(paths), sameTemplate, wanted: spec, before, auth };
  });
  const absent = live
    .filter((service) => !wantedNames.has(service.name))
    .map((before): PlannedService => {
      const goes = request.prune && isManaged(before) && request.stays?.(before) !== true;
      const change = goes ? "remove" : "foreign";
      const rest = { fields: [], sameTemplate: true, wanted: undefined, auth: undefined };
      return { name: shortName(stack, before.name), change, before, ...rest };
    });
  const services = byName([...present, ...absent]);
  const { needs, networks = [], secrets = [] } = request;
  return { stack, services, needs, networks, secrets };
}

/** A service's name as the stack file has it. */
export function shortName(stack: string, name: string): string {
  return name.startsWith(`${stack}_`) ? name.slice(stack.length + 1) : name;
}

/** Whether a difference there means new tasks (swarmkit: manager/orchestrator/task.go, IsTaskDirty). */
export function isOfTasks([section]: Path): boolean {
  return section === "TaskTemplate" || section === "EndpointSpec";
}

/** The one part of a task's template that replaces only the tasks whose node does not satisfy it any more. */
export function isOfPlacement([section, part]: Path): boolean {
  return section === "TaskTemplate" && part === "Placement";
}

export function isManaged(service: Service): boolean {
  return textAt(service.spec, "Labels", MANAGED_LABEL) === "true";
}

/** Whether something is to become another than it is. */
export function alters({ change }: Pick<PlannedService, "change">): boolean {
  return change !== "unchanged" && change !== "foreign";
}

/** Whether the deployment has anything to send or to create. */
export function isEmpty(plan: Plan): boolean {
  return !plan.services.some(alters) && Object.values(plan.needs).every((names) => names.length === 0);
}

/** Names of the networks that it creates. */
export function newNetworks({ needs, networks = [] }: Plan): ReadonlySet<string> {
  return new Set([...needs.networks, ...networks]);
}

export function changed(plan: Plan): readonly PlannedService[] {
  return plan.services.filter(({ change }) => change === "create" || change === "update");
}
