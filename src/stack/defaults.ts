import { type Problem } from "../errors.ts";
import { type Mapping, type Node, ensureMapping, entriesOf, get, scalar, set, textOf } from "./tree.ts";

/** On everything this action makes; a service without it is somebody else's and is never removed by us. */
export const MANAGED_LABEL = "swarm-stack-deploy.managed";

const OURS = "set by Swarm Stack Deploy";

export interface Defaults {
  readonly updateOrder: string;
  readonly failureAction: string;
}

/** Writes what makes a rollout safe where the file is silent; what the file says is never changed. */
export function addDefaults(root: Mapping, defaults: Defaults): Problem[] {
  const warnings: Problem[] = [];
  for (const { key, value: service } of entriesOf(get(root, "services"))) {
    const deploy = service.kind === "mapping" ? ensureMapping(service, "deploy") : undefined;
    if (service.kind !== "mapping" || deploy === undefined) continue; // Docker's own check names the wrong type.
    addManagedLabel(deploy);
    if ((textOf(get(deploy, "mode")) ?? "").endsWith("-job")) continue; // A job is run, not updated.
    const update = ensureMapping(deploy, "update_config");
    if (update === undefined) continue;
    if (
      defaults.updateOrder === "start-first" &&
      get(update, "order") === undefined &&
      publishesOnHost(service)
    ) {
      // The new task would wait for ever for the port that the old one holds (SWARM: "host-mode port already in use").
      warnings.push({
        message: `Service ${key.text} publishes a port in host mode, so start-first can't work and stop-first stays.`,
        place: key.place,
      });
    } else addIfSilent(update, "order", defaults.updateOrder);
    addIfSilent(update, "failure_action", defaults.failureAction);
  }
  return warnings;
}

function addIfSilent(target: Mapping, key: string, value: string): void {
  if (get(target, key) === undefined) set(target, key, scalar(value, target.place, "plain"), OURS);
}

function addManagedLabel(deploy: Mapping): void {
  const labels = get(deploy, "labels");
  if (labels?.kind === "sequence") {
    labels.items.push(scalar(`${MANAGED_LABEL}=true`, labels.place));
    return;
  }
  const made = ensureMapping(deploy, "labels");
  if (made !== undefined) set(made, MANAGED_LABEL, scalar("true", made.place), OURS);
}

function publishesOnHost(service: Node): boolean {
  const ports = get(service, "ports");
  return ports?.kind === "sequence" && ports.items.some((port) => textOf(get(port, "mode")) === "host");
}

/**
 * The format version that docker needs to take the file. What we write (`order`, external names) needs 3.5, and every older 3.x file
 * means the same under 3.9. A file without a version, or with "3", has the newest schema since docker 25; before that docker
 * refuses it or reads it as 3.0, and 3.9 is the newest that 20.10 knows.
 */
export function setFormatVersion(root: Mapping, dockerMajor: number): void {
  const version = get(root, "version");
  const given = textOf(version) ?? "";
  const unquoted = version?.kind === "scalar" && version.plain && given !== "";
  const raise = /^3\.[0-8]$/.test(given) || (dockerMajor < 25 && /^3?$/.test(given));
  if (unquoted || !raise) return; // What is wrong with `version: 3.8` or "2", docker says.
  const node = scalar("3.9", root.place);
  if (version === undefined)
    root.entries.unshift({ key: scalar("version", root.place, "plain"), value: node });
  else set(root, "version", node);
}
