import { type Place, type Problem } from "./errors.ts";
import { type FindingId } from "./findings.ts";
import { parseImageReference } from "./image/reference.ts";
import { type Json, type JsonObject, at, isObject, listAt, numberAt, textAt } from "./json.ts";
import {
  type Bar,
  type Eligibility,
  constraintsOf,
  driversOf,
  eligibility,
  fitting,
  less,
  platformOf,
  reservationOf,
} from "./placement.ts";
import { type Needs, type Plan, type PlannedService, changed, isOfTasks } from "./plan.ts";
import { isJob } from "./rollout.ts";
import { HEALTHCHECK_DEFAULTS, canonicalSpec, differingPaths, networkIdsOf } from "./spec.ts";
import { externalName, isExternal } from "./stack/configs.ts";
import { isHostNetwork } from "./stack/defaults.ts";
import { isSubstituted, networksOf, sourceOf } from "./stack/references.ts";
import { type RenderedStack } from "./stack/render.ts";
import { type Mapping, type Node as TreeNode, entriesOf, get, isNull } from "./stack/tree.ts";
import { type Node, type Resources, type ServiceSpec, type Survey, type Task } from "./swarm.ts";

/** One thing that stands against the deployment, or that it should know of. */
export interface Finding {
  readonly id: FindingId;
  readonly severity: "error" | "warning";
  readonly problem: Problem;
}

/**
 * What the file takes for granted and the swarm does not have: external networks, configs and secrets that a service uses. `made` are
 * the names of those that this deployment creates. Told before docker is rehearsed, which would stop at the first; so what is to be passed
 * over is left to docker.
 */
export function lacking(
  { root }: RenderedStack,
  survey: Survey,
  made: ReadonlySet<string>,
  ignored: ReadonlySet<FindingId>,
): { readonly findings: readonly Finding[]; readonly names: Needs } {
  const findings: Finding[] = [];
  const names = { networks: [] as string[], configs: [] as string[], secrets: [] as string[] };
  const services = entriesOf(get(root, "services")).map(({ value }) => value);
  const existing = {
    networks: new Set(survey.networks.flatMap((raw) => [textAt(raw, "Name"), textAt(raw, "Id")])),
    configs: new Set(survey.configs.flatMap(({ name, id }) => [name, id])),
    secrets: new Set(survey.secrets.flatMap(({ name, id }) => [name, id])),
  };
  const used = {
    networks: new Set(
      services.flatMap((service) => {
        const own = networksOf(service).map(({ name }) => name);
        return own.length === 0 ? ["default"] : own;
      }),
    ),
    configs: usedOf(services, "configs"),
    secrets: usedOf(services, "secrets"),
  };
  for (const kind of ["networks", "configs", "secrets"] as const) {
    const singular = kind.slice(0, -1) as "network" | "config" | "secret";
    for (const { key, value } of entriesOf(get(root, kind))) {
      if (!used[kind].has(key.text) || !isExternal(value)) continue;
      const name = externalName(key.text, value);
      if (made.has(name) || (kind === "networks" && EVERYWHERE.test(name))) continue;
      const called = isSubstituted(value) ? key.text : name;
      const what = `The ${singular} ${called} is external, and`;
      if (!existing[kind].has(name) && !ignored.has(`missing-${singular}`)) {
        names[kind].push(name);
        findings.push(
          error(
            `missing-${singular}`,
            `${what} the swarm has none of this name.`,
            key.place,
            CREATE[kind](called),
          ),
        );
      } else if (kind === "networks" && existing[kind].has(name) && !reachesAll(survey, name)) {
        if (ignored.has("network-scope")) continue;
        names[kind].push(name);
        const why = `${what} it ends at the manager: its scope is not swarm, so no service can be on it.`;
        findings.push(
          error("network-scope", why, key.place, "Create an overlay network, and name that one."),
        );
      }
    }
  }
  return { findings, names };
}

/** Networks that each node has on its own. */
const EVERYWHERE = /^(default|bridge|host|none|container:.*)$/;

const CREATE: Readonly<Record<keyof Needs, (name: string) => string>> = {
  networks: (name) =>
    `Name it in the input "networks", or run: docker network create --driver overlay --attachable ${name}`,
  configs: (name) => `Give it content or file instead of external, or run: docker config create ${name} FILE`,
  secrets: (name) =>
    `Give it environment or file instead of external, or run: docker secret create ${name} FILE`,
};

function usedOf(services: readonly TreeNode[], kind: string): ReadonlySet<string> {
  const items = services.flatMap((service) => {
    const list = get(service, kind);
    return list?.kind === "sequence" ? list.items : [];
  });
  return new Set(items.map((item) => sourceOf(item) ?? ""));
}

function reachesAll({ networks }: Survey, name: string): boolean {
  const called = networks.filter((raw) => textAt(raw, "Name") === name || textAt(raw, "Id") === name);
  return called.some((raw) => ["swarm", ""].includes(textAt(raw, "Scope")));
}

/**
 * Looks at what is about to be sent with the eyes of Swarm's scheduler and of an operator. Only services that the plan changes are
 * looked at, so that a deployment of the same thing has nothing to say. It asks nobody: all is in the survey.
 */
export function preflight(stack: RenderedStack, plan: Plan, survey: Survey): Finding[] {
  const networkIds = networkIdsOf(survey.networks);
  const room = roomOf(plan, survey);
  const services = changed(plan).flatMap((planned) => {
    const { wanted } = planned;
    if (wanted === undefined) return [];
    const entry = entriesOf(get(stack.root, "services")).find(({ key }) => key.text === planned.name);
    const tasks = survey.tasks.filter(
      (task) => task.serviceId === planned.before?.id && isRunning(task) && task.current,
    );
    const subject: Subject = {
      name: planned.name,
      spec: wanted,
      before: planned.before?.spec,
      file: entry?.value,
      place: (entry?.key ?? stack.root).place,
      tasks,
      news: newsOf(planned, tasks.length, networkIds),
      startFirst: textAt(wanted, "UpdateConfig", "Order") === "start-first",
      mode: modeOf(wanted),
      where: eligibility(wanted, survey.nodes),
      room,
    };
    return SERVICE_RULES.flatMap((rule) => rule(subject, stack.root, survey));
  });
  return [...services, ...portsInUse(stack, plan, survey), ...shortLived(plan), ...quorum(survey)];
}

/** What is to stop the deployment, and what is only to be said; findings that are to be passed over are in neither. */
export function judged(
  findings: readonly Finding[],
  ignored: ReadonlySet<FindingId>,
): {
  readonly errors: readonly Problem[];
  readonly warnings: readonly Problem[];
  readonly passed: readonly Finding[];
} {
  const heeded = findings.filter(({ id }) => !ignored.has(id));
  const problems = (severity: Finding["severity"]): Problem[] =>
    heeded.filter((each) => each.severity === severity).map(({ problem }) => problem);
  return {
    errors: problems("error"),
    warnings: problems("warning"),
    passed: findings.filter(({ id }) => ignored.has(id)),
  };
}

function finding(
  severity: Finding["severity"],
  id: FindingId,
  message: string,
  place: Place | undefined,
  fix: string,
): Finding {
  return { id, severity, problem: { message: `${message} [${id}]`, place, hint: fix } };
}

const error = finding.bind(undefined, "error");
const warning = finding.bind(undefined, "warning");

interface Subject {
  readonly name: string;
  readonly spec: ServiceSpec;
  readonly before: ServiceSpec | undefined;
  /** The service in the stack file. */
  readonly file: TreeNode | undefined;
  readonly place: Place;
  /** Those that run its present spec. */
  readonly tasks: readonly Task[];
  readonly news: News;
  readonly startFirst: boolean;
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

interface Mode {
  readonly kind: "replicated" | "global" | "job";
  /** Tasks that are wanted at once; one a node in global mode. */
  readonly replicas: number;
}

type Rule = (subject: Subject, root: Mapping, survey: Survey) => Finding[];

function isRunning({ state, desiredState }: Task): boolean {
  return state === "running" && desiredState === "running";
}

function modeOf(spec: ServiceSpec): Mode {
  const mode = at(spec, "Mode");
  if (isObject(at(mode, "Global"))) return { kind: "global", replicas: 0 };
  if (isJob(spec)) return { kind: "job", replicas: 0 };
  const replicas = at(mode, "Replicated", "Replicas");
  return { kind: "replicated", replicas: typeof replicas === "number" ? replicas : 1 };
}

function newsOf(
  { before, wanted }: PlannedService,
  running: number,
  networkIds: ReadonlyMap<string, string>,
): News {
  if (before === undefined || wanted === undefined) return { isNew: true, replaces: false, places: true };
  const paths = differingPaths(canonicalSpec(before.spec, networkIds), canonicalSpec(wanted, networkIds));
  const template = paths.filter(isOfTasks);
  const replaces = template.some(([section, part]) => section !== "TaskTemplate" || part !== "Placement");
  const grows = modeOf(wanted).replicas > running && paths.some(([section]) => section === "Mode");
  return { isNew: false, replaces, places: template.length > 0 || grows };
}

/**
 * What is left on each node at least: without what this stack's tasks reserve there that stay throughout the deployment. What is
 * reserved by other stacks is not known, so there may be less.
 */
function roomOf(plan: Plan, survey: Survey): ReadonlyMap<string, Resources> {
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
function placeOf({ file, place }: Subject, ...path: readonly string[]): Place {
  for (let length = path.length; length > 0; length -= 1) {
    const node = get(file, ...path.slice(0, length));
    if (node !== undefined && !isNull(node)) return node.place;
  }
  return place;
}

function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}

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
const noNode: Rule = (subject) => {
  const { name, spec, news, mode, where, file } = subject;
  const { nodes, barred } = where;
  const wantsNone = mode.kind === "replicated" && mode.replicas === 0;
  if (!news.places || wantsNone || nodes.length > 0 || barred.size === 0) return [];
  if (!news.isNew && !news.replaces && barred.has("paused")) return []; // What runs on a paused node stays there.
  const tell = mode.kind === "replicated" ? error : warning; // A global service without a node has nothing to wait for.
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

function builtFor(spec: ServiceSpec): string {
  const platforms = listAt(spec, "TaskTemplate", "Placement", "Platforms").map(
    (each) => `${textAt(each, "OS")}/${textAt(each, "Architecture")}`,
  );
  return `The image is built for ${[...new Set(platforms)].join(", ")} only.`;
}

function platformsOf(barred: Eligibility["barred"]): string {
  return [...new Set((barred.get("platform") ?? []).map(platformOf))].join(", ");
}

const someNodesOnly: Rule = (subject) => {
  const { name, spec, news, where } = subject;
  const others = where.barred.get("platform") ?? [];
  if (!news.places || others.length === 0 || where.nodes.length === 0) return [];
  const total = others.length + where.nodes.length;
  const message = `The image of service ${name} runs on ${where.nodes.length} of the ${count(total, "node")} that it could use. ${builtFor(spec)}`;
  const fix = `Build it for ${platformsOf(where.barred)} too, or say by a constraint that this is meant.`;
  return [warning("image-platform", message, placeOf(subject, "image"), fix)];
};

interface HostPort {
  readonly port: number;
  readonly protocol: string;
}

/** Ports of the node itself, of a number that the file says. */
function hostPortsOf(spec: ServiceSpec | undefined): HostPort[] {
  return portsOf(spec).filter(({ port, onHost }) => onHost && port > 0);
}

function portsOf(spec: ServiceSpec | undefined): (HostPort & { readonly onHost: boolean })[] {
  return listAt(spec, "EndpointSpec", "Ports").map((each) => ({
    port: numberAt(each, "PublishedPort"),
    protocol: textAt(each, "Protocol") || "tcp",
    onHost: textAt(each, "PublishMode") === "host",
  }));
}

function mostPerNode(spec: ServiceSpec): number {
  return numberAt(spec, "TaskTemplate", "Placement", "MaxReplicas") || Infinity;
}

const tooFewNodes: Rule = (subject) => {
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

function amount({ nanoCpus, memoryBytes }: Resources): string {
  const cpus = nanoCpus === 0 ? [] : [`${Math.round(nanoCpus / 1e7) / 100} CPUs`];
  const memory = memoryBytes === 0 ? [] : [`${Math.round(memoryBytes / 2 ** 20)} MiB`];
  return [...cpus, ...memory].join(" and ");
}

/** A reservation that the nodes could not hold if they were empty. */
const tooMuch: Rule = (subject) => {
  const { name, spec, news, mode, where } = subject;
  const each = reservationOf(spec);
  const holding = where.nodes.map(({ resources }) => fitting(resources, each));
  if (!news.places || where.nodes.length === 0 || mode.kind === "job") return [];
  const most = holding.reduce((sum, n) => sum + n, 0);
  const enough = mode.kind === "global" ? holding.every((n) => n > 0) : most >= mode.replicas;
  if (enough) return [];
  const sizes = [...new Set(where.nodes.map(({ resources }) => amount(resources)))].join("; ");
  const room =
    most === 0
      ? "none of the nodes that may run it has as much"
      : mode.kind === "global"
        ? "not each node that is to run it has as much"
        : `the nodes that may run it hold ${most} of its ${count(mode.replicas, "replica")}`;
  const message = `A task of service ${name} reserves ${amount(each)}, and ${room} (${count(where.nodes.length, "node")}: ${sizes}).${rest(where)}`;
  const place = placeOf(subject, "deploy", "resources", "reservations");
  return [error("reservation-too-large", message, place, "Reserve less, or add nodes.")];
};

/** What the old task holds as long as the new one waits for it, if start-first is in the file or by default. */
const besideTheOld: Rule = (subject) => {
  const { spec, before, news, startFirst, mode, where, tasks } = subject;
  if (!startFirst || mode.kind === "job" || where.nodes.length === 0) return [];
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
function orderOf(subject: Subject): Place {
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

const onHostNetwork: Rule = (subject, root) => {
  const { name, startFirst, file } = subject;
  const shares = file !== undefined && networksOf(file).some((network) => isHostNetwork(root, network.name));
  if (!startFirst || !shares) return [];
  const message = `Service ${name} shares its node's own network, where a port can be listened on once: with start-first a new task meets the old one there.`;
  return [warning("start-first-host-network", message, orderOf(subject), `${STOP_FIRST}.`)];
};

/** By the last part of their image's name. */
const DATABASES =
  /^(postgres|postgresql|postgis|timescaledb|pgvector|mysql|mysql-server|mariadb|percona|percona-server|mongo|mongodb|mongodb-community-server|redis|redis-stack|redis-stack-server|valkey|influxdb|couchdb|neo4j|cassandra|clickhouse|clickhouse-server|rabbitmq|etcd)$/;

const singleWriter: Rule = (subject) => {
  const { name, spec, startFirst } = subject;
  const image = textAt(spec, "TaskTemplate", "ContainerSpec", "Image");
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

const noHealthcheck: Rule = (subject) => {
  const { name, spec, startFirst } = subject;
  const [test] = listAt(spec, "TaskTemplate", "ContainerSpec", "Healthcheck", "Test");
  if (!startFirst || test !== "NONE") return [];
  const message = `Service ${name} has its healthcheck disabled: with start-first the old task goes as soon as the new one's process has started, ready or not.`;
  return [
    warning("start-first-no-healthcheck", message, placeOf(subject, "healthcheck"), "Give it a healthcheck."),
  ];
};

const goesOn: Rule = (subject) => {
  if (textAt(subject.spec, "UpdateConfig", "FailureAction") !== "continue") return [];
  const message = `Service ${subject.name} has failure_action: continue: an update replaces the tasks that work by ones that fail, to the last.`;
  const place = placeOf(subject, "deploy", "update_config", "failure_action");
  return [warning("failure-action-continue", message, place, "Write failure_action: rollback.")];
};

const NANOS = 1e6;

const shortMonitor: Rule = (subject) => {
  const { name, spec, file } = subject;
  const check = at(spec, "TaskTemplate", "ContainerSpec", "Healthcheck");
  const [test] = listAt(check, "Test");
  const written = get(file, "deploy", "update_config", "monitor");
  const monitorMs = numberAt(spec, "UpdateConfig", "Monitor") / NANOS;
  if (written === undefined || test === undefined || test === "NONE" || monitorMs === 0) return [];
  const intervalMs = numberAt(check, "Interval") / NANOS || HEALTHCHECK_DEFAULTS.intervalMs;
  const retries = numberAt(check, "Retries") || HEALTHCHECK_DEFAULTS.retries;
  if (monitorMs >= intervalMs * retries) return [];
  const message = `Service ${name} is monitored for ${monitorMs / 1000} s after a task runs, and its healthcheck takes ${(intervalMs * retries) / 1000} s to call one unhealthy (interval ${intervalMs / 1000} s × ${retries}).`;
  const fix = "Give a longer monitor, or a quicker healthcheck.";
  return [warning("monitor-too-short", message, written.place, fix)];
};

/**
 * Fields that an engine leaves out in silence where it is older than them (moby: daemon/server/router/swarm/helpers.go). The verdict would
 * find another spec than was sent, and blame somebody else.
 */
const SINCE: readonly {
  readonly what: string;
  readonly path: readonly string[];
  /** Major and minor, the way engines write them. */
  readonly engine: string;
  readonly has: (spec: ServiceSpec) => boolean;
}[] = [
  {
    what: "healthcheck.start_interval",
    path: ["healthcheck", "start_interval"],
    engine: "25.0",
    has: (spec) => numberAt(spec, "TaskTemplate", "ContainerSpec", "Healthcheck", "StartInterval") > 0,
  },
  {
    what: "a mode that is a job",
    path: ["deploy", "mode"],
    engine: "20.10",
    has: (spec) => modeOf(spec).kind === "job",
  },
  {
    what: "max_replicas_per_node",
    path: ["deploy", "placement", "max_replicas_per_node"],
    engine: "19.03",
    has: (spec) => mostPerNode(spec) < Infinity,
  },
];

const olderThanAsked: Rule = (subject, _root, { info }) => {
  const version = textAt(info, "ServerVersion");
  if (!/^\d+\.\d+/.test(version)) return [];
  return SINCE.filter(({ engine, has }) => isOlder(version, engine) && has(subject.spec)).map(
    ({ what, path, engine }) => {
      const message = `Service ${subject.name} has ${what}, which engines know since ${engine}; the manager's is ${version} and would leave it out in silence.`;
      return error(
        "engine-too-old",
        message,
        placeOf(subject, ...path),
        "Update the engine, or take it out.",
      );
    },
  );
};

function isOlder(version: string, than: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map((part) => Number.parseInt(part, 10));
  const [wantedMajor = 0, wantedMinor = 0] = than.split(".").map(Number);
  return major < wantedMajor || (major === wantedMajor && minor < wantedMinor);
}

const SERVICE_RULES: readonly Rule[] = [
  noNode,
  someNodesOnly,
  tooFewNodes,
  tooMuch,
  besideTheOld,
  onHostNetwork,
  singleWriter,
  noHealthcheck,
  goesOn,
  shortMonitor,
  olderThanAsked,
];

/** By swarmkit's own rule (manager/controlapi/service.go, checkPortConflicts); who is in the file too is told by its line already. */
function portsInUse({ root }: RenderedStack, plan: Plan, { takenPorts }: Survey): Finding[] {
  const inFile = new Set(plan.services.flatMap(({ wanted }) => (wanted === undefined ? [] : [wanted.Name])));
  const others = takenPorts.filter(({ service }) => !inFile.has(service));
  return changed(plan).flatMap(({ name, wanted }) =>
    portsOf(wanted).flatMap(({ port, protocol, onHost }) => {
      const other = others.find(
        (each) => each.port === port && each.protocol === protocol && !(each.onHost && onHost),
      );
      if (port === 0 || other === undefined) return [];
      const own = other.stack === plan.stack;
      const whose = own
        ? "which the file has no more"
        : other.stack === ""
          ? "of no stack"
          : `of the stack ${other.stack}`;
      const message = `Service ${name} publishes port ${port}/${protocol}, which the service ${other.service} (${whose}) has already.`;
      const fix = own
        ? `Publish another port, or remove that service first: docker service rm ${other.service}`
        : "Publish another port, or take it from the other service first.";
      const service = get(root, "services", name);
      const place = (get(service, "ports") ?? service ?? root).place;
      return [error("port-in-use", message, place, fix)];
    }),
  );
}

/** Credentials that are known to end within hours, by their looks; none of it is ever repeated. */
const SHORT_LIVED: readonly {
  readonly what: string;
  readonly is: (username: string, password: string, domain: string) => boolean;
}[] = [
  { what: "a token of the job (GITHUB_TOKEN)", is: (_username, password) => password.startsWith("ghs_") },
  {
    what: "a token of Amazon ECR (12 hours)",
    is: (username, _password, domain) => username === "AWS" && /\.dkr\.ecr\./.test(domain),
  },
  { what: "a Google access token (an hour)", is: (username) => username === "oauth2accesstoken" },
  {
    what: "a token of Azure's registry (hours)",
    is: (username, _password, domain) =>
      /^0{8}-(0{4}-){3}0{12}$/.test(username) && domain.endsWith(".azurecr.io"),
  },
];

function shortLived(plan: Plan): Finding[] {
  const told = new Map<string, string>();
  for (const { wanted, auth } of changed(plan)) {
    const domain =
      parseImageReference(textAt(wanted, "TaskTemplate", "ContainerSpec", "Image"))?.domain ?? "";
    const { username, password } = credentialIn(auth);
    const found = SHORT_LIVED.find(({ is }) => is(username, password, domain));
    if (found !== undefined) told.set(domain, found.what);
  }
  return [...told].map(([domain, what]) =>
    warning(
      "short-lived-credential",
      `What the swarm keeps for its pulls from ${domain} is ${what}: once it has ended, a task that moves to another node can't pull a private image.`,
      undefined,
      'Give "pull-username" and "pull-password": a token that lives long and may only read.',
    ),
  );
}

/** What an X-Registry-Auth value holds. */
function credentialIn(auth: string | undefined): { username: string; password: string } {
  let raw: Json = {};
  try {
    raw = JSON.parse(Buffer.from(auth ?? "", "base64url").toString("utf8")) as JsonObject;
  } catch {
    // Docker sends an empty value where it has none.
  }
  return { username: textAt(raw, "username"), password: textAt(raw, "password") };
}

function quorum({ nodes }: Survey): Finding[] {
  const managers = nodes.filter(({ role }) => role === "manager");
  const reachable = managers.filter(({ reachability }) => reachability === "reachable").length;
  const needed = Math.floor(managers.length / 2) + 1;
  if (managers.length < 2 || reachable > needed) return [];
  const message = `Of ${managers.length} managers ${reachable} can be reached, and the swarm needs ${needed}: ${reachable < needed ? "it has no quorum" : "with one more lost, nothing can be deployed or moved any more"}.`;
  const fix =
    reachable < managers.length
      ? "Bring the lost manager back, or take it out: docker node demote NODE"
      : "Have three managers, which bear the loss of one, or only one.";
  return [warning("manager-quorum", message, undefined, fix)];
}
