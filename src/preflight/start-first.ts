import { type Place } from "../errors.ts";
import { parseImageReference } from "../image/reference.ts";
import { type Json, at, listAt, textAt } from "../json.ts";
import { isJob } from "../rollout.ts";
import { hostNetworks } from "../stack/defaults.ts";
import { networksOf } from "../stack/references.ts";
import { type Node, type Resources, type ServiceSpec } from "../swarm.ts";
import { type Finding, error, warning } from "./finding.ts";
import { fitting, less, reservationOf } from "./placement.ts";
import {
  type FileRule,
  type Mode,
  type Rule,
  type Subject,
  type WrittenService,
  amount,
  count,
  hostPortsOf,
  mostPerNode,
  placeOf,
} from "./subject.ts";
import { imageOf } from "../spec.ts";

/** What the old task holds as long as the new one waits for it, if start-first is in the file or by default. */
export const besideTheOld: Rule = (subject) => {
  const { spec, before, news, startFirst, mode, where, tasks } = subject;
  if (!startFirst || isJob(spec) || where.nodes.length === 0) return [];
  const shrinks = mode.kind === "replicated" && mode.replicas < tasks.length; // The tasks that are too many go first.
  if (!news.isNew && (!news.replaces || shrinks)) return [];
  const onNode = new Map<string, number>();
  for (const { nodeId } of tasks) onNode.set(nodeId, (onNode.get(nodeId) ?? 0) + 1);
  const running = (node: Node): number => onNode.get(node.id) ?? 0;
  const stuck = (blocked: (node: Node) => boolean): boolean =>
    mode.kind === "global"
      ? where.nodes.some((node) => running(node) > 0 && blocked(node))
      : tasks.length > 0 && where.nodes.every(blocked);
  return [
    ...hostPortHeld(subject, stuck, running, before),
    ...limitReached(subject, stuck, running),
    ...noRoomBeside(subject, stuck, running, reservationOf(spec), reservationOf(before ?? {})),
  ];
};

type Stuck = (blocked: (node: Node) => boolean) => boolean;
type Running = (node: Node) => number;

const STOP_FIRST = "Write order: stop-first under deploy.update_config";

/** In global mode such an update hangs mostly, and not always (measured: 2 times of 3). */
function surely({ kind }: Mode): typeof error {
  return kind === "global" ? warning : error;
}

/** Where `order` stands in the file; ours has its place nearby. */
function orderOf(subject: WrittenService): Place {
  return placeOf(subject, "deploy", "update_config", "order");
}

function hostPortHeld(
  subject: Subject,
  stuck: Stuck,
  running: Running,
  before: ServiceSpec | undefined,
): Finding[] {
  const { name, spec, news, mode, where } = subject;
  const nodes = count(where.nodes.length, "node");
  if (news.isNew) {
    const [port] = hostPortsOf(spec);
    const fills = mode.kind === "global" || mode.replicas >= where.nodes.length;
    if (port === undefined || !fills) return [];
    const message = `Service ${name} publishes port ${port.port} in host mode and fills the ${nodes} that it may run on, so with start-first its next update will wait for that port for ever.`;
    return [warning("start-first-host-port", message, orderOf(subject), `${STOP_FIRST}.`)];
  }
  const held = hostPortsOf(before);
  const port = hostPortsOf(spec).find((each) =>
    held.some((other) => other.port === each.port && other.protocol === each.protocol),
  );
  if (port === undefined || !stuck((node) => running(node) > 0)) return [];
  const message = `Service ${name} publishes port ${port.port} in host mode and runs on each of the ${nodes} that it may use, so with start-first a new task waits for the port that the old one holds, for ever.`;
  return [
    surely(mode)(
      "start-first-host-port",
      message,
      orderOf(subject),
      `${STOP_FIRST}, or publish in ingress mode.`,
    ),
  ];
}

function limitReached(subject: Subject, stuck: Stuck, running: Running): Finding[] {
  const { name, spec, news, mode, where } = subject;
  const most = mostPerNode(spec);
  if (most === Infinity || mode.kind === "global") return [];
  const limit = `max_replicas_per_node: ${most} on ${count(where.nodes.length, "node")}`;
  if (news.isNew) {
    if (mode.replicas < most * where.nodes.length) return [];
    const message = `Service ${name} fills its nodes with ${count(mode.replicas, "replica")} (${limit}), so with start-first its next update will have no room for one more task.`;
    return [warning("start-first-no-room", message, orderOf(subject), `${STOP_FIRST}, or raise the limit.`)];
  }
  if (!stuck((node) => running(node) >= most)) return [];
  const message = `Service ${name} has no room for one more task, which start-first needs: its ${count(subject.tasks.length, "task")} fill the limit (${limit}).`;
  return [error("start-first-no-room", message, orderOf(subject), `${STOP_FIRST}, or raise the limit.`)];
}

function noRoomBeside(
  subject: Subject,
  stuck: Stuck,
  running: Running,
  each: Resources,
  old: Resources,
): Finding[] {
  const { name, news, room, mode, where } = subject;
  const empty = (node: Node): Resources => room.get(node.id) ?? node.resources;
  const beside = (node: Node): Resources => {
    const taken = running(node);
    return less(empty(node), { nanoCpus: old.nanoCpus * taken, memoryBytes: old.memoryBytes * taken });
  };
  const fits = where.nodes.some(({ resources }) => fitting(resources, each) > 0);
  if (news.isNew || !fits || !stuck((node) => fitting(beside(node), each) === 0)) return [];
  const best = where.nodes.map(beside).toSorted((a, b) => b.memoryBytes - a.memoryBytes)[0];
  const left =
    best === undefined
      ? ""
      : ` Beside what this stack's tasks reserve, the ${where.nodes.length === 1 ? "node has" : `roomiest of ${where.nodes.length} nodes has`} ${amount(best) || "nothing"} left.`;
  const message = `A new task of service ${name} reserves ${amount(each)}, and with start-first it would wait for ever for room beside the old ones.${left}`;
  const fix = `${STOP_FIRST}, reserve less, or add a node.`;
  return [surely(mode)("start-first-no-room", message, orderOf(subject), fix)];
}

export const onHostNetwork: FileRule = (subject, root) => {
  const { name, startFirst, file } = subject;
  const onHost = hostNetworks(root);
  const shares = file !== undefined && networksOf(file).some((network) => onHost.has(network.name));
  if (!startFirst || !shares) return [];
  const message = `Service ${name} shares its node's own network, where a port can be listened on once: with start-first a new task meets the old one there.`;
  return [warning("start-first-host-network", message, orderOf(subject), `${STOP_FIRST}.`)];
};

/** By the last part of their image's name. */
const DATABASES =
  /^(postgres|postgresql|postgis|timescaledb|pgvector|mysql|mysql-server|mariadb|percona|percona-server|mongo|mongodb|mongodb-community-server|redis|redis-stack|redis-stack-server|valkey|influxdb|couchdb|neo4j|cassandra|clickhouse|clickhouse-server|rabbitmq|etcd)$/;

export const singleWriter: FileRule = (subject) => {
  const { name, spec, startFirst } = subject;
  const image = imageOf(spec);
  const [kind = ""] = (parseImageReference(image)?.path ?? "").split("/").toReversed();
  const volume = listAt(spec, "TaskTemplate", "ContainerSpec", "Mounts").find(isOwnLocalVolume);
  if (!startFirst || volume === undefined || !DATABASES.test(kind)) return [];
  const message = `Service ${name} is a ${kind} with a local volume, and starts first: during an update two of them have the same files, or the new one, on another node, has none.`;
  return [warning("start-first-single-writer", message, orderOf(subject), `${STOP_FIRST}.`)];
};

function isOwnLocalVolume(mount: Json): boolean {
  const driver = textAt(mount, "VolumeOptions", "DriverConfig", "Name");
  const named = textAt(mount, "Type") === "volume" && textAt(mount, "Source") !== "";
  return named && (driver === "" || driver === "local") && at(mount, "ReadOnly") !== true;
}

export const noHealthcheck: FileRule = (subject) => {
  const { name, spec, startFirst } = subject;
  const [test] = listAt(spec, "TaskTemplate", "ContainerSpec", "Healthcheck", "Test");
  if (!startFirst || test !== "NONE") return [];
  const message = `Service ${name} has its healthcheck disabled: with start-first the old task goes as soon as the new one's process has started, ready or not.`;
  return [
    warning("start-first-no-healthcheck", message, placeOf(subject, "healthcheck"), "Give it a healthcheck."),
  ];
};
