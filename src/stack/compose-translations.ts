import { type Place, type Problem } from "../errors.ts";
import { type Findings } from "./template.ts";
import { type Entry, type Mapping, ensureMapping, get, isNull, ours, set, textOf } from "./tree.ts";
import { assumptionOf } from "./withheld.ts";

/** Takes the older spelling, already out of the service, and writes what means the same. */
export type Translate = (service: Mapping, entry: Entry, name: string, findings: Findings) => void;

export function dropped(what: string, why: string, place: Place): Problem {
  return { message: `${what} is left out.`, hint: why, place };
}

function translated(entry: Entry): string {
  return `from ${entry.key.text}`;
}

/** `deploy.resources` wins over the older spelling, which may stand there for Compose. */
export function toResource(group: "limits" | "reservations", field: string): Translate {
  return (parent, entry, name, findings) => {
    const { key, value } = entry;
    const text = textOf(value);
    if (text === undefined) return;
    const target = mappingAt(parent, ["deploy", "resources", group]);
    if (get(target, field) !== undefined) {
      const why = `deploy.resources.${group}.${field} decides.`;
      findings.warnings.push(dropped(`services.${name}.${key.text}`, why, key.place));
    } else if (field === "pids" && /^-?[01]$|^-/.test(text) && Number(text) <= 0)
      return; // No limit, as without the key.
    else if (target !== undefined)
      set(target, field, {
        ...ours(text, value.place, translated(entry), field === "pids" ? "plain" : "quoted"),
        ...assumptionOf(value),
      });
  };
}

export function toReplicas(parent: Mapping, entry: Entry, name: string, findings: Findings): void {
  const { key, value } = entry;
  const text = textOf(value);
  if (text === undefined) return;
  const deploy = mappingAt(parent, ["deploy"]);
  if (get(deploy, "replicas") !== undefined)
    findings.warnings.push(dropped(`services.${name}.scale`, "deploy.replicas decides.", key.place));
  else if (deploy !== undefined) set(deploy, "replicas", ours(text, value.place, translated(entry), "plain"));
}

/** What docker makes of `restart` (docker/cli, convertRestartPolicy), although it says that it ignores it. */
export function toRestartPolicy(parent: Mapping, entry: Entry, name: string, findings: Findings): void {
  const { key, value } = entry;
  const text = textOf(value) ?? "";
  const [, condition, attempts = "0"] = /^(no|always|unless-stopped|on-failure)(?::(\d+))?$/.exec(text) ?? [];
  const what = `services.${name}.restart`;
  const policy = get(parent, "deploy", "restart_policy");
  if (policy !== undefined && !isNull(policy)) {
    findings.warnings.push(dropped(what, "deploy.restart_policy decides.", key.place));
  } else if (text === "" || text === "no") {
    const why =
      "Docker does not heed it: Swarm starts the task again. To stop that write deploy.restart_policy: {condition: none}.";
    if (text !== "") findings.warnings.push(dropped(what, why, key.place));
  } else if (condition === undefined) {
    const hint = "Write always, unless-stopped, on-failure or on-failure:3.";
    findings.problems.push({
      message: `${what} is "${text}", which docker refuses.`,
      hint,
      place: value.place,
    });
  } else {
    const made = mappingAt(parent, ["deploy", "restart_policy"]);
    if (made === undefined) return;
    const onFailure = condition === "on-failure";
    set(made, "condition", ours(onFailure ? condition : "any", value.place, translated(entry), "plain"));
    if (onFailure) set(made, "max_attempts", ours(attempts, value.place, translated(entry), "plain"));
  }
}

/** The mapping at a path, made where there is none; undefined where something else stands in the way, which docker refuses. */
function mappingAt(parent: Mapping, path: readonly string[]): Mapping | undefined {
  let current: Mapping | undefined = parent;
  for (const key of path) current = current === undefined ? undefined : ensureMapping(current, key);
  return current;
}
