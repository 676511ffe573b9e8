import { type Place, type Problem, describe } from "../errors.ts";
import { type Lookup, type Unresolved, interpolate, nearest } from "./interpolate.ts";
import { type Mapping, type Node, type Scalar, entriesOf, get, isNull, textOf } from "./tree.ts";
import { NOTHING_WITHHELD, StandIns, type Withheld } from "./withheld.ts";

export interface Scope {
  readonly lookup: Lookup;
  /** The name with a value that the author of another one most likely meant. */
  readonly suggest: (name: string) => string | undefined;
  /** Values that came from the step's environment, as far as it was asked, or from an env file: they may be secrets that nobody has called so. */
  readonly borrowed: Set<string>;
  readonly standIns: StandIns;
}

export interface Findings {
  /** Stop the deployment. */
  readonly problems: Problem[];
  readonly warnings: Problem[];
}

/** Adds one by one: of a file's findings there may be more than the arguments that a single `push` can take. */
export function addFindings(into: Findings, { problems = [], warnings = [] }: Found): void {
  for (const problem of problems) into.problems.push(problem);
  for (const warning of warnings) into.warnings.push(warning);
}

interface Found {
  readonly problems?: readonly Problem[];
  readonly warnings?: readonly Problem[];
}

/** Variables that belong to the runner or to this step, and that no template may read. */
const HIDDEN =
  /^(INPUT_|STATE_|ACTIONS_)|^(GITHUB_TOKEN|GITHUB_(ENV|PATH|OUTPUT|STATE|STEP_SUMMARY)|SSH_AUTH_SOCK)$/;

/** Whether a variable of the step's environment must stay out of every stack file, and out of what docker reads for it. */
export function isHidden(name: string): boolean {
  return HIDDEN.test(name);
}

/** Of this action's own variables the one that a workflow without `env-file` does not have, wherever it runs. */
const OF_ENV_FILE = "ENV_CONFIG";

/**
 * In falling priority: `secrets`, `variables`, the action's own variables, the step's environment. Where a name is withheld an empty
 * value is none: `${{ secrets.TOKEN }}` is empty there.
 */
export function scopeOf(
  layers: readonly ReadonlyMap<string, string>[],
  environment: Readonly<Record<string, string | undefined>>,
  withheld: Withheld = NOTHING_WITHHELD,
): Scope {
  const values = new Map<string, string>();
  for (const [name, value] of Object.entries(environment)) {
    if (value !== undefined && !HIDDEN.test(name)) values.set(name, value);
  }
  for (const layer of layers.toReversed()) for (const [name, value] of layer) values.set(name, value);
  const suggested = new Map<string, string | undefined>();
  const suggest = (name: string): string | undefined => {
    if (!suggested.has(name) && suggested.size < MOST_SUGGESTIONS)
      suggested.set(name, nearest(name, values.keys()));
    return suggested.get(name);
  };
  const borrowed = new Set<string>();
  const lookup = (name: string): string | undefined => {
    const value = values.get(name);
    if (value === "" && withheld.hasName(name)) return undefined;
    if (value !== undefined && !layers.some((layer) => layer.has(name))) borrowed.add(value);
    return value;
  };
  const isNobodys = (name: string): boolean =>
    !values.has(name) && (HIDDEN.test(name) || name === OF_ENV_FILE);
  const hasName = (name: string): boolean => withheld.hasName(name) && !isNobodys(name);
  return { lookup, suggest, borrowed, standIns: new StandIns({ ...withheld, hasName }) };
}

/** Each name is held against every other one; who has more mistakes than these has made another one. */
const MOST_SUGGESTIONS = 100;

/** Resolves every value of the tree in place. Keys stay as they are, as with docker. */
export function resolveTemplate(root: Mapping, scope: Scope, strict: boolean): Findings {
  const findings: Findings = { problems: [], warnings: [] };
  const walk = (node: Node, path: readonly string[]): void => {
    if (node.kind === "scalar") resolveScalar(node, path, scope, strict, findings);
    else if (node.kind === "sequence") node.items.forEach((item) => walk(item, [...path, "[]"]));
    else node.entries.forEach((entry) => walk(entry.value, [...path, entry.key.text]));
  };
  walk(root, []);
  return { problems: once(findings.problems), warnings: once(findings.warnings) };
}

/** The text of an anchor stands at each of its aliases too; what is wrong with it is one mistake, told of the first service. */
export function once(problems: readonly Problem[]): Problem[] {
  const causes = new Map<string, { readonly problem: Problem; readonly services: Set<string> }>();
  for (const problem of problems) {
    const service = problem.place === undefined ? undefined : SERVICE.exec(problem.message)?.[0];
    const message = service === undefined ? problem.message : problem.message.replace(service, "\0");
    const cause = describe({ ...problem, message });
    const known = causes.get(cause);
    if (known === undefined) causes.set(cause, { problem, services: new Set([service ?? ""]) });
    else known.services.add(service ?? "");
  }
  return [...causes.values()].map(({ problem, services }) =>
    services.size === 1
      ? problem
      : { ...problem, message: `${problem.message} ${alsoIn(services.size - 1)}` },
  );
}

/** How a message names the service that it is about. */
const SERVICE = /\b(?:[Ss]ervice |services\.)[\w-]+/;

function alsoIn(more: number): string {
  return `The same goes for ${more} more service${more === 1 ? "" : "s"}.`;
}

function resolveScalar(
  node: Scalar,
  path: readonly string[],
  scope: Scope,
  strict: boolean,
  findings: Findings,
): void {
  const template = node.text;
  const cast = castOf(path);
  const { text, changed, unresolved, assumed } = interpolate(template, scope.lookup, (name) =>
    scope.standIns.forName(name),
  );
  if (!changed) {
    if (cast !== undefined) unquote(node, cast);
    return;
  }
  const placed = unresolved.length === 0 ? [] : placesOf(node, template);
  let understood = true;
  for (const each of unresolved) {
    const tolerated = !strict && each.kind === "undefined";
    if (!tolerated) understood = false;
    const place = placed[each.offset] ?? node.place;
    (tolerated ? findings.warnings : findings.problems).push(explain(each, place, scope, tolerated));
  }
  const typed = understood ? (cast?.read(text) ?? (assumed ? cast?.example : undefined)) : undefined;
  if (cast !== undefined && understood && typed === undefined) {
    const message = `${inWords(path)} must be ${cast.what}; the template makes it "${shown(text, template)}".`;
    findings.problems.push({ message, place: node.place });
  }
  if (cast === MODE && typed !== undefined && !assumed && /^0\d/.test(text)) {
    const message = `Docker reads ${inWords(path)} as a decimal number where it comes from a variable: ${typed}, not octal.`;
    const hint = "Write an octal mode into the file itself, such as mode: 0440.";
    findings.warnings.push({ message, hint, place: node.place });
  }
  node.text = typed ?? text;
  node.substituted = true;
  if (!understood || assumed) node.unresolved = true;
  if (understood && assumed) node.assumed = true;
  node.plain = typed !== undefined;
}

/** A number in quotes, as Compose allows it and docker does not. */
function unquote(node: Scalar, cast: Cast): void {
  if (node.plain || node.tag !== undefined) return;
  const typed = cast === MODE ? octal(node.text) : cast.read(node.text);
  if (typed !== undefined) Object.assign(node, { text: typed, plain: true });
}

function octal(text: string): string | undefined {
  return /^[0-7]{1,5}$/.test(text) ? `0${text.replace(/^0+/, "")}` : undefined;
}

function inWords(path: readonly string[]): string {
  return path.join(".").replaceAll(".[]", "");
}

/** A value may be a secret: only what was typed in the file itself is repeated. */
function shown(text: string, template: string): string {
  return text === "" ? "" : template;
}

/** By the offset of each `$` in the template: where it stands in the file. */
function placesOf(node: Scalar, template: string): Place[] {
  const places: Place[] = [];
  let index = template.indexOf("$");
  for (const place of node.dollars) {
    places[index] = place;
    index = template.indexOf("$", index + 1);
  }
  return places;
}

function explain(unresolved: Unresolved, place: Place, scope: Scope, tolerated: boolean): Problem {
  switch (unresolved.kind) {
    case "malformed":
      return { place, message: `"${unresolved.name}" is no variable.`, hint: "Write $$ for a dollar sign." };
    case "unclosed":
      return {
        place,
        message: `The braces of "${unresolved.name}" don't close.`,
        hint: "Write $$ for a dollar sign.",
      };
    case "required":
      return {
        place,
        message: `The variable ${unresolved.name} is required${unresolved.why === "" ? "" : `: ${unresolved.why}`}.`,
      };
    case "undefined": {
      if (tolerated)
        return { place, message: `The variable ${unresolved.name} is not defined and becomes empty.` };
      const otherwise = `Give it in "variables" or "secrets", or a default: \${${unresolved.name}:-…}.`;
      return undefinedVariable(unresolved.name, place, scope, otherwise);
    }
  }
}

/** Names the defined variable that its author may have meant; `otherwise` is the hint where there is none. */
export function undefinedVariable(name: string, place: Place, scope: Scope, otherwise: string): Problem {
  const near = scope.suggest(name);
  const hint = near === undefined ? otherwise : `Did you mean ${near}?`;
  return { place, message: `The variable ${name} is not defined.`, hint };
}

interface Cast {
  readonly what: string;
  /** The text as YAML would have to spell it; undefined where docker would refuse it. */
  readonly read: (text: string) => string | undefined;
  /** Stands in for a value that is not known. */
  readonly example: string;
}

const WHOLE: Cast = {
  what: "a whole number",
  example: "1",
  read: (text) => {
    if (!/^[+-]?\d{1,19}$/.test(text)) return undefined;
    const value = BigInt(text);
    return BigInt.asIntN(64, value) === value ? String(value) : undefined;
  },
};
/** As a whole number, but for its spelling in quotes. */
const MODE: Cast = { ...WHOLE };
const FRACTION: Cast = {
  what: "a number",
  example: "1",
  // As Go's ParseFloat: underscores between digits, and no hexadecimal without an exponent of two.
  read: (text) => {
    const digits = text.replace(/(?<=\d)_(?=\d)/g, "");
    return /^[-+]?(\d+(\.\d*)?|\.\d+)(e[-+]?\d+)?$/i.test(digits) && Number.isFinite(Number(digits))
      ? String(Number(digits))
      : undefined;
  },
};
const BOOLEAN: Cast = {
  what: "true or false",
  example: "false",
  read: (text) => {
    if (/^(true|y|yes|on)$/i.test(text)) return "true";
    return /^(false|n|no|off)$/i.test(text) ? "false" : undefined;
  },
};

/**
 * What docker casts after substitution (docker/cli, cli/compose/loader/interpolate.go), and the few numbers and booleans that it forgot
 * there, and refuses as text. Everything else stays text.
 */
const CASTS: readonly (readonly [string, Cast])[] = [
  ["services.*.configs.[].mode", MODE],
  ["services.*.secrets.[].mode", MODE],
  ["services.*.healthcheck.retries", WHOLE],
  ["services.*.healthcheck.disable", BOOLEAN],
  ["services.*.deploy.replicas", WHOLE],
  ["services.*.deploy.update_config.parallelism", WHOLE],
  ["services.*.deploy.update_config.max_failure_ratio", FRACTION],
  ["services.*.deploy.rollback_config.parallelism", WHOLE],
  ["services.*.deploy.rollback_config.max_failure_ratio", FRACTION],
  ["services.*.deploy.restart_policy.max_attempts", WHOLE],
  ["services.*.deploy.placement.max_replicas_per_node", WHOLE],
  ["services.*.deploy.resources.limits.pids", WHOLE],
  ["services.*.deploy.resources.reservations.generic_resources.[].discrete_resource_spec.value", WHOLE],
  ["services.*.ports.[].target", WHOLE],
  ["services.*.ports.[].published", WHOLE],
  ["services.*.ulimits.*", WHOLE],
  ["services.*.ulimits.*.hard", WHOLE],
  ["services.*.ulimits.*.soft", WHOLE],
  ["services.*.oom_score_adj", WHOLE],
  ["services.*.init", BOOLEAN],
  ["services.*.privileged", BOOLEAN],
  ["services.*.read_only", BOOLEAN],
  ["services.*.stdin_open", BOOLEAN],
  ["services.*.tty", BOOLEAN],
  ["services.*.volumes.[].read_only", BOOLEAN],
  ["services.*.volumes.[].volume.nocopy", BOOLEAN],
  ["services.*.volumes.[].tmpfs.size", WHOLE],
  ["networks.*.external", BOOLEAN],
  ["networks.*.internal", BOOLEAN],
  ["networks.*.attachable", BOOLEAN],
  ["volumes.*.external", BOOLEAN],
  ["secrets.*.external", BOOLEAN],
  ["configs.*.external", BOOLEAN],
];

const PATTERNS = CASTS.map(([pattern, cast]) => ({ parts: pattern.split("."), cast }));

function castOf(path: readonly string[]): Cast | undefined {
  return PATTERNS.find(
    ({ parts }) =>
      parts.length === path.length && parts.every((part, index) => part === "*" || part === path[index]),
  )?.cast;
}

/** The image of every service, as the file writes it. What is no mapping is no service, and told as such. */
export function imagesOf(
  root: Mapping,
): { service: string; image: string | undefined; place: Place; node: Node | undefined }[] {
  const services = entriesOf(get(root, "services"));
  return services
    .filter(({ value }) => value.kind === "mapping" || isNull(value))
    .map((entry) => {
      const node = get(entry.value, "image");
      return { service: entry.key.text, image: textOf(node), place: node?.place ?? entry.key.place, node };
    });
}
