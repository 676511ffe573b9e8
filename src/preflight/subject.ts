import { type Place } from "../errors.ts";
import { type Json, at, isObject, listAt, numberAt, textAt } from "../json.ts";
import { type Plan, type PlannedService, isOfPlacement, isOfTasks } from "../plan.ts";
import { isJob } from "../rollout.ts";
import { canonicalSpec, differingPaths } from "../spec.ts";
import { type Mapping, type Node as TreeNode, get, isNull } from "../stack/tree.ts";
import { type Resources, type ServiceSpec, type Survey, type Task } from "../swarm.ts";
import { type Finding } from "./finding.ts";
import { type Eligibility, less, reservationOf } from "./placement.ts";

/** A service as its file and docker have it: all that is known where no swarm is asked. */
export interface WrittenService {
  readonly name: string;
  readonly spec: ServiceSpec;
  /** The service in the stack file. */
  readonly file: TreeNode | undefined;
  readonly place: Place;
  readonly startFirst: boolean;
}

/** A service among what the swarm has. */
export interface Subject extends WrittenService {
  readonly before: ServiceSpec | undefined;
  /** Those that run its present spec. */
  readonly tasks: readonly Task[];
  readonly news: News;
  readonly mode: Mode;
  readonly where: Eligibility;
  /** What is left on a node, by its id. */
  readonly room: ReadonlyMap<string, Resources>;
}

/** What the deployment means to a service's tasks. */
interface News {
  readonly isNew: boolean;
  /** Each of its tasks is replaced, not only those that a new constraint drives away. */
  readonly replaces: boolean;
  /** Some task has to find a node. */
  readonly places: boolean;
}

export interface Mode {
  readonly kind: "replicated" | "global" | "replicated-job" | "global-job";
  /** Tasks that are wanted at once, of a job at most; 0 in global mode, which has one a node. */
  readonly replicas: number;
}

/** Holds whatever the swarm is, so it can be told without one. */
export type FileRule = (service: WrittenService, root: Mapping) => Finding[];
export type Rule = (subject: Subject, root: Mapping, survey: Survey) => Finding[];

export function isRunning({ state, desiredState }: Task): boolean {
  return state === "running" && desiredState === "running";
}

export function startsFirst(spec: ServiceSpec): boolean {
  return textAt(spec, "UpdateConfig", "Order") === "start-first";
}

export function modeOf(spec: ServiceSpec): Mode {
  const mode = at(spec, "Mode");
  if (isObject(at(mode, "Global"))) return { kind: "global", replicas: 0 };
  if (isObject(at(mode, "GlobalJob"))) return { kind: "global-job", replicas: 0 };
  if (isJob(spec))
    return { kind: "replicated-job", replicas: orOne(at(mode, "ReplicatedJob", "MaxConcurrent")) };
  return { kind: "replicated", replicas: orOne(at(mode, "Replicated", "Replicas")) };
}

function orOne(value: Json | undefined): number {
  return typeof value === "number" ? value : 1;
}

/** One task on each node that may run it; without such a node there is nothing to wait for. */
export function isOnEachNode({ kind }: Mode): boolean {
  return kind === "global" || kind === "global-job";
}

export function newsOf(
  { before, wanted }: PlannedService,
  running: number,
  networkIds: ReadonlyMap<string, string>,
): News {
  if (before === undefined || wanted === undefined) return { isNew: true, replaces: false, places: true };
  if (isJob(wanted)) return { isNew: false, replaces: true, places: true }; // Each update runs it again (SWARM 12).
  const paths = differingPaths(canonicalSpec(before.spec, networkIds), canonicalSpec(wanted, networkIds));
  const template = paths.filter(isOfTasks);
  const replaces = template.some((path) => !isOfPlacement(path));
  const grows = modeOf(wanted).replicas > running && paths.some(([section]) => section === "Mode");
  return { isNew: false, replaces, places: template.length > 0 || grows };
}

/**
 * What is left on each node at least: without what this stack's tasks reserve there that stay throughout the deployment. What is
 * reserved by other stacks is not known, so there may be less.
 */
export function roomOf(plan: Plan, survey: Survey): ReadonlyMap<string, Resources> {
  const staying = new Map(
    plan.services.flatMap(({ change, before }) =>
      before === undefined || change === "update" || change === "create" ? [] : [[before.id, before.spec]],
    ),
  );
  const room = new Map(survey.nodes.map(({ id, resources }) => [id, resources]));
  for (const task of survey.tasks) {
    const spec = staying.get(task.serviceId);
    const left = room.get(task.nodeId);
    if (spec === undefined || left === undefined || !isRunning(task) || !task.current) continue;
    room.set(task.nodeId, less(left, reservationOf(spec)));
  }
  return room;
}

/** `deploy.placement`, or as much of the way there as the file has. */
export function placeOf({ file, place }: WrittenService, ...path: readonly string[]): Place {
  for (let length = path.length; length > 0; length -= 1) {
    const node = get(file, ...path.slice(0, length));
    if (node !== undefined && !isNull(node)) return node.place;
  }
  return place;
}

export function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}

export interface HostPort {
  readonly port: number;
  readonly protocol: string;
}

/** Ports of the node itself, of a number that the file says. */
export function hostPortsOf(spec: ServiceSpec | undefined): HostPort[] {
  return portsOf(spec).filter(({ port, onHost }) => onHost && port > 0);
}

export function portsOf(spec: ServiceSpec | undefined): (HostPort & { readonly onHost: boolean })[] {
  return listAt(spec, "EndpointSpec", "Ports").map((each) => ({
    port: numberAt(each, "PublishedPort"),
    protocol: textAt(each, "Protocol") || "tcp",
    onHost: textAt(each, "PublishMode") === "host",
  }));
}

export function mostPerNode(spec: ServiceSpec): number {
  return numberAt(spec, "TaskTemplate", "Placement", "MaxReplicas") || Infinity;
}

export function amount({ nanoCpus, memoryBytes }: Resources): string {
  const cpus = nanoCpus === 0 ? [] : [`${Math.round(nanoCpus / 1e7) / 100} CPUs`];
  const memory = memoryBytes === 0 ? [] : [`${Math.round(memoryBytes / 2 ** 20)} MiB`];
  return [...cpus, ...memory].join(" and ");
}
