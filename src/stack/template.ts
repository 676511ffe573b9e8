import { type Place, type Problem, describe } from "../errors.ts";
import { type Lookup, type Unresolved, interpolate, nearest } from "./interpolate.ts";
import { type Mapping, type Node, type Scalar, entriesOf, get, isNull, scalar, textOf } from "./tree.ts";

export interface Scope {
  readonly lookup: Lookup;
  /** Every name that has a value, for suggestions. */
  readonly names: readonly string[];
}

export interface Findings {
  /** Stop the deployment. */
  readonly problems: Problem[];
  readonly warnings: Problem[];
}

/** Variables that belong to the runner or to this step, and that no template may read. */
const HIDDEN =
  /^(INPUT_|STATE_|ACTIONS_)|^(GITHUB_TOKEN|GITHUB_(ENV|PATH|OUTPUT|STATE|STEP_SUMMARY)|SSH_AUTH_SOCK)$/;

/** Whether a variable of the step's environment must stay out of every stack file, and out of what docker reads for it. */
export function isHidden(name: string): boolean {
  return HIDDEN.test(name);
}

/** In falling priority: `secrets`, `variables`, the action's own variables, the step's environment. */
export function scopeOf(
  layers: readonly ReadonlyMap<string, string>[],
  environment: Readonly<Record<string, string | undefined>>,
): Scope {
  const values = new Map<string, string>();
  for (const [name, value] of Object.entries(environment)) {
    if (value !== undefined && !HIDDEN.test(name)) values.set(name, value);
  }
  for (const layer of layers.toReversed()) for (const [name, value] of layer) values.set(name, value);
  return { lookup: (name) => values.get(name), names: [...values.keys()] };
}

/** Resolves every value of the tree in place. Keys stay as they are, as with docker. */
export function resolveTemplate(root: Mapping, scope: Scope, strict: boolean): Findings {
  const findings: Findings = { problems: [], warnings: [] };
  const walk = (node: Node, path: readonly string[]): void => {
    if (node.kind === "scalar") resolveScalar(node, path, scope, strict, findings);
    else if (node.kind === "sequence") node.items.forEach((item) => walk(item, [...path, "[]"]));
    else node.entries.forEach((entry) => walk(entry.value, [...path, entry.key.text]));
  };
  walk(root, []);
  for (const service of entriesOf(get(root, "services")))
    fillBareEnvironment(get(service.value, "environment"), scope, findings);
  return { problems: once(findings.problems), warnings: once(findings.warnings) };
}

/** The text of an anchor stands at each of its aliases too; what is wrong with it is one mistake. */
function once(problems: readonly Problem[]): Problem[] {
  return [...new Map(problems.map((problem) => [describe(problem), problem])).values()];
}

function resolveScalar(
  node: Scalar,
  path: readonly string[],
  scope: Scope,
  strict: boolean,
  findings: Findings,
): void {
  const template = node.text;
  const { text, changed, unresolved } = interpolate(template, scope.lookup);
  for (const each of unresolved) {
    const tolerated = !strict && each.kind === "undefined";
    (tolerated ? findings.warnings : findings.problems).push(
      explain(each, placeOf(node, template, each.offset), scope, tolerated),
    );
  }
  if (!changed) return;
  const cast = unresolved.length === 0 ? castOf(path) : undefined;
  const typed = cast?.read(text);
  if (cast !== undefined && typed === undefined) {
    const message = `${path.join(".").replaceAll(".[]", "")} must be ${cast.what}; the template makes it "${shown(text, template)}".`;
    findings.problems.push({ message, place: node.place });
  }
  node.text = typed ?? text;
  node.plain = typed !== undefined;
}

/** A value may be a secret: only what was typed in the file itself is repeated. */
function shown(text: string, template: string): string {
  return text === "" ? "" : template;
}

function placeOf(node: Scalar, template: string, offset: number): Place {
  return node.dollars[template.slice(0, offset).split("$").length - 1] ?? node.place;
}

function explain(unresolved: Unresolved, place: Place, scope: Scope, tolerated: boolean): Problem {
  switch (unresolved.kind) {
    case "malformed":
      return { place, message: `"${unresolved.name}" is no variable.`, hint: "Write $$ for a dollar sign." };
    case "required":
      return {
        place,
        message: `The variable ${unresolved.name} is required${unresolved.why === "" ? "" : `: ${unresolved.why}`}.`,
      };
    case "undefined": {
      if (tolerated)
        return { place, message: `The variable ${unresolved.name} is not defined and becomes empty.` };
      const near = nearest(unresolved.name, scope.names);
      const hint =
        near === undefined
          ? `Give it in "variables" or "secrets", or a default: \${${unresolved.name}:-…}.`
          : `Did you mean ${near}?`;
      return { place, message: `The variable ${unresolved.name} is not defined.`, hint };
    }
  }
}

/** `environment: [TOKEN]` takes its value from outside. Docker would ask its own process, which must not know our secrets. */
function fillBareEnvironment(environment: Node | undefined, scope: Scope, findings: Findings): void {
  const valueOf = (name: string, place: Place): string | undefined => {
    const value = scope.lookup(name);
    if (value === undefined && HIDDEN.test(name)) findings.problems.push(hidden(name, place));
    return value;
  };
  if (environment?.kind === "sequence") {
    for (const item of environment.items) {
      if (item.kind !== "scalar" || item.text.includes("=")) continue;
      const value = valueOf(item.text, item.place);
      if (value !== undefined) Object.assign(item, { text: `${item.text}=${value}`, plain: false });
    }
  }
  for (const entry of entriesOf(environment)) {
    const value = isNull(entry.value) ? valueOf(entry.key.text, entry.key.place) : undefined;
    if (value !== undefined) entry.value = scalar(value, entry.value.place);
  }
}

/** Left bare, docker itself would fill it, from the step's environment. */
function hidden(name: string, place: Place): Problem {
  const hint = 'If the service needs a value of this name, give it in "secrets".';
  return { place, message: `The variable ${name} belongs to the runner, and no service gets it.`, hint };
}

interface Cast {
  readonly what: string;
  /** The text as YAML would have to spell it; undefined where docker would refuse it. */
  readonly read: (text: string) => string | undefined;
}

const WHOLE: Cast = {
  what: "a whole number",
  read: (text) => (/^[+-]?\d+$/.test(text) ? String(BigInt(text)) : undefined),
};
const FRACTION: Cast = {
  what: "a number",
  read: (text) => (text.trim() !== "" && Number.isFinite(Number(text)) ? text : undefined),
};
const BOOLEAN: Cast = {
  what: "true or false",
  read: (text) => {
    if (/^(1|true|y|yes|on)$/i.test(text)) return "true";
    return /^(0|false|n|no|off)$/i.test(text) ? "false" : undefined;
  },
};

/** What docker casts after substitution (docker/cli, cli/compose/loader/interpolate.go); everything else stays text. */
const CASTS: readonly (readonly [string, Cast])[] = [
  ["services.*.configs.[].mode", WHOLE],
  ["services.*.secrets.[].mode", WHOLE],
  ["services.*.healthcheck.retries", WHOLE],
  ["services.*.healthcheck.disable", BOOLEAN],
  ["services.*.deploy.replicas", WHOLE],
  ["services.*.deploy.update_config.parallelism", WHOLE],
  ["services.*.deploy.update_config.max_failure_ratio", FRACTION],
  ["services.*.deploy.rollback_config.parallelism", WHOLE],
  ["services.*.deploy.rollback_config.max_failure_ratio", FRACTION],
  ["services.*.deploy.restart_policy.max_attempts", WHOLE],
  ["services.*.deploy.placement.max_replicas_per_node", WHOLE],
  ["services.*.ports.[].target", WHOLE],
  ["services.*.ports.[].published", WHOLE],
  ["services.*.ulimits.*", WHOLE],
  ["services.*.ulimits.*.hard", WHOLE],
  ["services.*.ulimits.*.soft", WHOLE],
  ["services.*.privileged", BOOLEAN],
  ["services.*.read_only", BOOLEAN],
  ["services.*.stdin_open", BOOLEAN],
  ["services.*.tty", BOOLEAN],
  ["services.*.volumes.[].read_only", BOOLEAN],
  ["services.*.volumes.[].volume.nocopy", BOOLEAN],
  ["networks.*.external", BOOLEAN],
  ["networks.*.internal", BOOLEAN],
  ["networks.*.attachable", BOOLEAN],
  ["volumes.*.external", BOOLEAN],
  ["secrets.*.external", BOOLEAN],
  ["configs.*.external", BOOLEAN],
];

function castOf(path: readonly string[]): Cast | undefined {
  return CASTS.find(([pattern]) => {
    const parts = pattern.split(".");
    return parts.length === path.length && parts.every((part, index) => part === "*" || part === path[index]);
  })?.[1];
}

/** The image of every service, as the file writes it. */
export function imagesOf(
  root: Mapping,
): { service: string; image: string | undefined; place: Place; node: Node | undefined }[] {
  return entriesOf(get(root, "services")).map((entry) => {
    const node = get(entry.value, "image");
    return { service: entry.key.text, image: textOf(node), place: node?.place ?? entry.key.place, node };
  });
}
