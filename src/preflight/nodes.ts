import { listAt, textAt } from "../json.ts";
import { isSubstituted } from "../stack/references.ts";
import { get } from "../stack/tree.ts";
import { type ServiceSpec } from "../swarm.ts";
import { error, warning } from "./finding.ts";
import {
  type Bar,
  type Eligibility,
  constraintsOf,
  driversOf,
  fitting,
  platformOf,
  reservationOf,
} from "./placement.ts";
import { type Rule, amount, count, hostPortsOf, isOnEachNode, mostPerNode, placeOf } from "./subject.ts";

const BARS: Readonly<Record<Bar, (n: number) => string>> = {
  constraints: (n) => `${count(n, "node")} ${n === 1 ? "does" : "do"} not satisfy the constraints`,
  down: (n) => `${count(n, "node")} ${n === 1 ? "is" : "are"} down`,
  drained: (n) => `${count(n, "node")} ${n === 1 ? "is" : "are"} drained`,
  paused: (n) => `${count(n, "node")} ${n === 1 ? "is" : "are"} paused`,
  driver: (n) => `${count(n, "node")} ${n === 1 ? "lacks" : "lack"} the volume driver`,
  platform: (n) => `${count(n, "node")} ${n === 1 ? "has" : "have"} another platform`,
};

function inWords(barred: Eligibility["barred"]): string {
  return [...barred].map(([bar, nodes]) => BARS[bar](nodes.length)).join(", ");
}

/** Some task has to run, and no node may take it. */
export const noNode: Rule = (subject) => {
  const { name, spec, news, mode, where, file } = subject;
  const { nodes, barred } = where;
  const wantsNone = !isOnEachNode(mode) && mode.replicas === 0;
  if (!news.places || wantsNone || nodes.length > 0 || barred.size === 0) return [];
  if (!news.isNew && !news.replaces && barred.has("paused")) return []; // What runs on a paused node stays there.
  const tell = isOnEachNode(mode) ? warning : error;
  const nowhere = `Service ${name} has no node to run on: ${inWords(barred)}.`;
  if (barred.has("platform")) {
    const place = placeOf(subject, "image");
    return [
      tell("image-platform", nowhere, place, `${builtFor(spec)} Build it for ${platformsOf(barred)} too.`),
    ];
  }
  if (barred.has("driver")) {
    const fix = `Install ${driversOf(spec).join(", ")} on a node, or use another driver.`;
    return [tell("missing-volume-driver", nowhere, placeOf(subject, "volumes"), fix)];
  }
  const constraints = constraintsOf(spec);
  const placement = get(file, "deploy", "placement");
  const secret = placement !== undefined && isSubstituted(placement);
  const which = constraints.length === 0 || secret ? "" : ` (${constraints.join(", ")})`;
  const fix = barred.has("constraints")
    ? `Change its constraints${which}, or give a node what they ask for: docker node update --label-add KEY=VALUE NODE`
    : "Bring a node back: docker node update --availability active NODE";
  return [tell("no-eligible-node", nowhere, placeOf(subject, "deploy", "placement", "constraints"), fix)];
};

/** Swarm neither makes nor replaces a global service's task on a paused node (swarmkit: manager/orchestrator/global/global.go). */
export const pausedNode: Rule = (subject) => {
  const { name, news, mode, where, tasks } = subject;
  const paused = (where.barred.get("paused") ?? []).filter(({ id }) =>
    tasks.some(({ nodeId }) => nodeId === id),
  );
  if (mode.kind !== "global" || !news.replaces || paused.length === 0) return [];
  const names = paused.map(({ hostname }) => hostname);
  const message = `Service ${name} is global and has a task on ${names.join(" and ")}, which ${names.length === 1 ? "is" : "are"} paused: Swarm does not replace it there, so the update would not end.`;
  const fix = `Let Swarm work there again: docker node update --availability active ${names[0]}`;
  return [error("paused-node", message, placeOf(subject, "deploy", "mode"), fix)];
};

function builtFor(spec: ServiceSpec): string {
  const platforms = listAt(spec, "TaskTemplate", "Placement", "Platforms").map(
    (each) => `${textAt(each, "OS")}/${textAt(each, "Architecture")}`,
  );
  return `The image is built for ${[...new Set(platforms)].join(", ")} only.`;
}

function platformsOf(barred: Eligibility["barred"]): string {
  return [...new Set((barred.get("platform") ?? []).map(platformOf))].join(", ");
}

export const someNodesOnly: Rule = (subject) => {
  const { name, spec, news, where } = subject;
  const others = where.barred.get("platform") ?? [];
  if (!news.places || others.length === 0 || where.nodes.length === 0) return [];
  const total = others.length + where.nodes.length;
  const message = `The image of service ${name} runs on ${where.nodes.length} of the ${count(total, "node")} that it could use. ${builtFor(spec)}`;
  const fix = `Build it for ${platformsOf(where.barred)} too, or say by a constraint that this is meant.`;
  return [warning("image-platform", message, placeOf(subject, "image"), fix)];
};

export const tooFewNodes: Rule = (subject) => {
  const { name, spec, news, mode, where } = subject;
  const [port] = hostPortsOf(spec);
  const each = Math.min(mostPerNode(spec), port === undefined ? Infinity : 1);
  const most = each * where.nodes.length;
  if (!news.places || mode.kind !== "replicated" || where.nodes.length === 0 || mode.replicas <= most)
    return [];
  const byPort = port !== undefined && each === 1;
  const why = byPort ? `each can publish port ${port.port} once` : `max_replicas_per_node is ${each}`;
  const message = `Service ${name} wants ${count(mode.replicas, "replica")}, and ${count(where.nodes.length, "node")} can run ${most}: ${why}.${rest(where)}`;
  const place = placeOf(subject, ...(byPort ? ["ports"] : ["deploy", "placement", "max_replicas_per_node"]));
  return [error("too-few-nodes", message, place, `Write at most replicas: ${most}, or add nodes.`)];
};

function rest({ barred }: Eligibility): string {
  return barred.size === 0 ? "" : ` Of the others, ${inWords(barred)}.`;
}

/** A reservation that the nodes could not hold if they were empty. */
export const tooMuch: Rule = (subject) => {
  const { name, spec, news, mode, where } = subject;
  const each = reservationOf(spec);
  const holding = where.nodes.map(({ resources }) => fitting(resources, each));
  if (!news.places || where.nodes.length === 0) return [];
  const most = holding.reduce((sum, n) => sum + n, 0);
  // What a job has no room for at once can wait for its other tasks to be over.
  const wanted = mode.kind === "replicated-job" ? Math.min(mode.replicas, 1) : mode.replicas;
  const enough = isOnEachNode(mode) ? holding.every((n) => n > 0) : most >= wanted;
  if (enough) return [];
  const sizes = [...new Set(where.nodes.map(({ resources }) => amount(resources)))].join("; ");
  const room =
    most === 0
      ? "none of the nodes that may run it has as much"
      : isOnEachNode(mode)
        ? "not each node that is to run it has as much"
        : `the nodes that may run it hold ${most} of its ${count(mode.replicas, "replica")}`;
  const message = `A task of service ${name} reserves ${amount(each)}, and ${room} (${count(where.nodes.length, "node")}: ${sizes}).${rest(where)}`;
  const place = placeOf(subject, "deploy", "resources", "reservations");
  return [error("reservation-too-large", message, place, "Reserve less, or add nodes.")];
};
