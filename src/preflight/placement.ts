import { type Json, listAt, numberAt, textAt } from "../json.ts";
import { type Node, type Resources, type ServiceSpec, type Task } from "../swarm.ts";

/** Which nodes may run a service's tasks, decided as Swarm's scheduler does (swarmkit: manager/scheduler/filter.go). */
export interface Eligibility {
  readonly nodes: readonly Node[];
  /** All others, by the first reason that is against them. */
  readonly barred: ReadonlyMap<Bar, readonly Node[]>;
}

export type Bar = "down" | "drained" | "paused" | "constraints" | "driver" | "platform";

export function eligibility(spec: ServiceSpec, nodes: readonly Node[]): Eligibility {
  const constraints = constraintsOf(spec);
  const drivers = driversOf(spec);
  const platforms = listAt(spec, "TaskTemplate", "Placement", "Platforms");
  const barOf = (node: Node): Bar | undefined => {
    if (!constraints.every((constraint) => satisfies(node, constraint))) return "constraints";
    // For some seconds after another leader is there, until it hears of them, nodes are `unknown`.
    if (node.state !== "ready" && node.state !== "unknown") return "down";
    if (node.availability !== "active") return node.availability === "pause" ? "paused" : "drained";
    if (!drivers.every((driver) => hasDriver(node, driver))) return "driver";
    if (platforms.length > 0 && !platforms.some((platform) => runs(node, platform))) return "platform";
    return undefined;
  };
  const eligible: Node[] = [];
  const barred = new Map<Bar, Node[]>();
  for (const node of nodes) {
    const bar = barOf(node);
    if (bar === undefined) eligible.push(node);
    else barred.set(bar, [...(barred.get(bar) ?? []), node]);
  }
  return { nodes: eligible, barred };
}

/** Whether a task's node does not satisfy the constraints of a spec: a change of nothing but the placement replaces no other task. */
export function drivesAway(spec: ServiceSpec, tasks: readonly Task[], nodes: readonly Node[]): boolean {
  const constraints = constraintsOf(spec);
  return tasks.some(({ nodeId }) => {
    const node = nodes.find(({ id }) => id === nodeId);
    return node === undefined || !constraints.every((constraint) => satisfies(node, constraint));
  });
}

export function constraintsOf(spec: ServiceSpec): string[] {
  return listAt(spec, "TaskTemplate", "Placement", "Constraints").flatMap((each) =>
    typeof each === "string" ? [each] : [],
  );
}

const PROPERTIES: Readonly<Record<string, (node: Node) => string>> = {
  "node.id": ({ id }) => id,
  "node.hostname": ({ hostname }) => hostname,
  "node.role": ({ role }) => role,
  "node.platform.os": ({ os }) => os,
  "node.platform.arch": ({ architecture }) => architecture,
};

/** Whether a node satisfies a constraint (manager/constraint/constraint.go); one that we can't judge counts as satisfied. */
function satisfies(node: Node, constraint: string): boolean {
  const [, key = "", operator, value = ""] = /^\s*(.*?)\s*(==|!=)\s*(.*?)\s*$/.exec(constraint) ?? [];
  const known = key.toLowerCase();
  if (operator === undefined || known === "node.ip") return true; // Addresses and their ranges are Swarm's to compare.
  const label = /^(node|engine)\.labels\.(.+)$/i.exec(key);
  const labels = label?.[1]?.toLowerCase() === "node" ? node.labels : node.engineLabels;
  const found = label === null ? PROPERTIES[known]?.(node) : (labels[label[2] ?? ""] ?? "");
  if (found === undefined) return false; // Swarm matches no node by a key that it does not know.
  return (found.toLowerCase() === value.toLowerCase()) === (operator === "==");
}

/** The drivers of a service's volumes that a node must have. */
export function driversOf(spec: ServiceSpec): string[] {
  const named = listAt(spec, "TaskTemplate", "ContainerSpec", "Mounts")
    .filter((mount) => textAt(mount, "Type") === "volume")
    .map((mount) => textAt(mount, "VolumeOptions", "DriverConfig", "Name"));
  return [...new Set(named)].filter((name) => name !== "" && name !== "local");
}

function hasDriver({ volumeDrivers }: Node, driver: string): boolean {
  return volumeDrivers.includes(driver) || volumeDrivers.includes(`${driver}:latest`);
}

function runs({ os, architecture }: Node, platform: Json): boolean {
  const [wantedOs, wanted] = [textAt(platform, "OS"), normal(textAt(platform, "Architecture"))];
  return (wanted === "" || wanted === normal(architecture)) && (wantedOs === "" || wantedOs === os);
}

function normal(architecture: string): string {
  return { x86_64: "amd64", aarch64: "arm64" }[architecture] ?? architecture;
}

/** `linux/amd64`, as an image's platform is written. */
export function platformOf({ os, architecture }: Node): string {
  return `${os}/${normal(architecture)}`;
}

export function reservationOf(spec: ServiceSpec): Resources {
  const path = ["TaskTemplate", "Resources", "Reservations"];
  return {
    nanoCpus: numberAt(spec, ...path, "NanoCPUs"),
    memoryBytes: numberAt(spec, ...path, "MemoryBytes"),
  };
}

/** How many tasks with this reservation fit; infinite where nothing is reserved. */
export function fitting(room: Resources, each: Resources): number {
  return Math.min(times(room.nanoCpus, each.nanoCpus), times(room.memoryBytes, each.memoryBytes));
}

export function less(room: Resources, taken: Resources): Resources {
  return {
    nanoCpus: room.nanoCpus - taken.nanoCpus,
    memoryBytes: room.memoryBytes - taken.memoryBytes,
  };
}

function times(have: number, need: number): number {
  return need === 0 ? Infinity : Math.max(Math.floor(have / need), 0);
}
