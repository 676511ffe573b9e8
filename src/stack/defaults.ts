import { type Problem } from "../errors.ts";
import { externalName, isExternal } from "./configs.ts";
import { isOnHost } from "./ports.ts";
import { wholeNumber } from "./readings.ts";
import { networksOf } from "./references.ts";
import {
  type Mapping,
  type Node,
  ensureMapping,
  entriesOf,
  get,
  isNull,
  ours,
  scalar,
  set,
  textOf,
} from "./tree.ts";
import { isAssumed } from "./withheld.ts";

/** Docker's own label for what belongs to a stack; `docker stack rm` goes by it. */
export const STACK_LABEL = "com.docker.stack.namespace";

/** Of every label of ours. */
export const LABEL_PREFIX = "swarm-stack-deploy.";

/** On everything this action makes; a service without it is somebody else's and is never removed by us. */
export const MANAGED_LABEL = `${LABEL_PREFIX}managed`;

/** On configs and secrets that this action names by their content: their key in the stack file. */
export const KEY_LABEL = `${LABEL_PREFIX}key`;

const OURS = "set by Swarm Stack Deploy";

export interface Defaults {
  readonly updateOrder: string;
  readonly failureAction: string;
}

/** Writes what makes a rollout safe where the file is silent; what the file says is never changed. */
export function addDefaults(root: Mapping, defaults: Defaults): Problem[] {
  const warnings: Problem[] = [];
  const onHost = hostNetworks(root);
  for (const { key, value: service } of entriesOf(get(root, "services"))) {
    const deploy = service.kind === "mapping" ? ensureMapping(service, "deploy") : undefined;
    if (service.kind !== "mapping" || deploy === undefined) continue; // Docker's own check names the wrong type.
    addManagedLabel(deploy);
    if ((textOf(get(deploy, "mode")) ?? "").endsWith("-job")) continue; // A job is run, not updated.
    const update = ensureMapping(deploy, "update_config");
    if (update === undefined) continue;
    const obstacle = obstacleToStartFirst(service, onHost);
    if (isSilent(update, "order") && defaults.updateOrder === "start-first" && obstacle !== undefined) {
      const message = `Service ${key.text} ${obstacle}, so start-first can't work and stop-first stays.`;
      warnings.push({ message, place: key.place });
    } else addIfSilent(update, "order", defaults.updateOrder);
    addIfSilent(update, "failure_action", runsOnce(service) ? "continue" : defaults.failureAction);
    // Swarm's own way back stops first where nothing is said. Who updates without a gap goes back without one.
    const startsFirst = textOf(get(update, "order")) === "start-first" && obstacle === undefined;
    const back = startsFirst ? ensureMapping(deploy, "rollback_config") : undefined;
    if (back !== undefined) addIfSilent(back, "order", "start-first");
  }
  return warnings;
}

/**
 * What may end well ends within `monitor`, and Swarm takes that for a failed update, whatever the exit code: it would take back, or pause,
 * each update of such a service. This action's own verdict tells a good end from a bad one. The same rule as `mayFinish`, on the file.
 */
function runsOnce(service: Mapping): boolean {
  const condition = textOf(get(service, "deploy", "restart_policy", "condition")) ?? "";
  const stays = !isSilent(service, "healthcheck") || !isSilent(service, "ports");
  return ["none", "on-failure"].includes(condition) && !stays;
}

/** Why a new task could not run beside the old one; it would wait for ever (SWARM: "host-mode port already in use"). */
function obstacleToStartFirst(service: Mapping, onHost: ReadonlySet<string>): string | undefined {
  if (publishesOnHost(service)) return "publishes a port in host mode";
  if (networksOf(service).some(({ name }) => onHost.has(name)))
    return "shares the node's own network, where a port is free for one task only";
  const limit = get(service, "deploy", "placement", "max_replicas_per_node");
  const wanted = get(service, "deploy", "replicas");
  if (isAssumed(limit) || isAssumed(wanted)) return undefined;
  const most = wholeNumber(limit) ?? 0;
  const replicas = wholeNumber(wanted) ?? 1;
  if (most > 0 && replicas >= most) return "may fill its nodes (max_replicas_per_node)";
  return undefined;
}

/** A port of which Swarm chooses the number is free for each task. */
function publishesOnHost(service: Mapping): boolean {
  const ports = get(service, "ports");
  if (ports?.kind !== "sequence") return false;
  return ports.items.some(
    (port) => isOnHost(port) && !isAssumed(port) && (wholeNumber(get(port, "published")) ?? 0) > 0,
  );
}

/** The keys under `networks` that stand for the node's own network. */
export function hostNetworks(root: Mapping): ReadonlySet<string> {
  const keys = entriesOf(get(root, "networks"))
    .filter(({ key, value }) => isExternal(value) && externalName(key.text, value) === "host")
    .map(({ key }) => key.text);
  return new Set(keys);
}

function isSilent(target: Node | undefined, key: string): boolean {
  const value = get(target, key);
  return value === undefined || isNull(value);
}

function addIfSilent(target: Mapping, key: string, value: string): void {
  if (isSilent(target, key)) set(target, key, ours(value, target.place, OURS, "plain"));
}

function addManagedLabel(deploy: Mapping): void {
  const labels = get(deploy, "labels");
  if (labels?.kind === "sequence") {
    const line = `${MANAGED_LABEL}=true`;
    if (!labels.items.some((item) => textOf(item) === line))
      labels.items.push(ours(line, labels.place, OURS));
    return;
  }
  const made = ensureMapping(deploy, "labels");
  if (made !== undefined) set(made, MANAGED_LABEL, ours("true", made.place, OURS));
}

/**
 * The format version that docker reads the file by. What we write (`order`, external names) needs 3.5, and whatever an older 3.x file
 * says means the same in a newer one. Since docker 25 a file with "3", or without a version, has the newest; before that docker
 * refuses it or reads it as 3.0, and 3.9 is the newest that 20.10 knows.
 */
export function setFormatVersion(root: Mapping, dockerMajor: number): void {
  const version = get(root, "version");
  const given = textOf(version) ?? "";
  const [newest, older] = dockerMajor >= 25 ? ["3", /^3\.([0-9]|1[0-3])$/] : ["3.9", /^(3(\.[0-8])?)?$/];
  if (!older.test(given)) return;
  const node = ours(newest, root.place, OURS);
  if (version === undefined)
    root.entries.unshift({ key: scalar("version", root.place, "plain"), value: node });
  else set(root, "version", node);
}
