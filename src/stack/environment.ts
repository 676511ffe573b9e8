import { type Place, type Problem } from "../errors.ts";
import { readEnvFile } from "./env-file.ts";
import { cleanPath } from "./paths.ts";
import { type Findings, type Scope, isHidden } from "./template.ts";
import {
  type Mapping,
  type Node,
  type Scalar,
  ensureMapping,
  entriesOf,
  get,
  isNull,
  ours,
  remove,
  scalar,
  textOf,
} from "./tree.ts";

/** Reads a file relative to the first stack file; undefined where there is none. */
export type ReadFile = (path: string) => Uint8Array | undefined;

/**
 * Writes into `environment` what docker would read from elsewhere: the service's env files, and, for a name without a value, what the
 * step knows. Docker itself would ask its own process, which must not know our secrets, but knows the runner's. `folder` is that of the
 * first stack file, with a slash at its end, or empty.
 */
export function resolveEnvironment(
  root: Mapping,
  scope: Scope,
  folder: string,
  read: ReadFile,
  findings: Findings,
): void {
  for (const { key, value: service } of entriesOf(get(root, "services"))) {
    if (service.kind !== "mapping") continue;
    addEnvFiles(key.text, service, scope, folder, read, findings);
    fillEmpty(get(service, "environment"), scope, findings);
  }
}

function addEnvFiles(
  name: string,
  service: Mapping,
  scope: Scope,
  folder: string,
  read: ReadFile,
  findings: Findings,
): void {
  const files = get(service, "env_file");
  if (files === undefined) return;
  remove(service, "env_file");
  const values = new Map<string, Scalar>();
  for (const file of files.kind === "sequence" ? files.items : [files]) {
    const path = textOf(file) ?? textOf(get(file, "path"));
    if (path === undefined) {
      findings.problems.push({
        message: `Service ${name} has an env_file without a path.`,
        place: file.place,
      });
      continue;
    }
    const bytes = read(path);
    if (bytes === undefined) {
      (isOptional(file) ? findings.warnings : findings.problems).push(missing(name, path, file));
      continue;
    }
    const parsed = readEnvFile(bytes, cleanPath(folder, path), scope);
    findings.problems.push(...parsed.problems);
    findings.warnings.push(...parsed.warnings);
    for (const [variable, value] of parsed.values)
      values.set(variable, ours(value, file.place, `from ${path}`));
  }
  addBelow(service, values);
}

function isOptional(file: Node): boolean {
  return /^false$/i.test(textOf(get(file, "required")) ?? "");
}

function missing(service: string, path: string, file: Node): Problem {
  const what = `The env file "${path}" of service ${service} can't be read`;
  return isOptional(file)
    ? { message: `${what}; the service gets nothing from it, since it is not required.`, place: file.place }
    : {
        message: `${what}.`,
        hint: "Its path starts at the folder of the first stack file.",
        place: file.place,
      };
}

/** What `environment` says itself stands above what comes from files. */
function addBelow(service: Mapping, values: ReadonlyMap<string, Scalar>): void {
  if (values.size === 0) return;
  const existing = get(service, "environment");
  if (existing?.kind === "sequence") {
    const own = new Set(existing.items.map((item) => (textOf(item) ?? "").split("=")[0]));
    const lines = [...values].filter(([name]) => !own.has(name));
    existing.items.unshift(
      ...lines.map(([name, value]): Node => ({ ...value, text: `${name}=${value.text}` })),
    );
    return;
  }
  const environment = ensureMapping(service, "environment");
  if (environment === undefined) return; // Neither list nor mapping: docker's own check names it.
  const own = new Set(environment.entries.map(({ key }) => key.text));
  const entries = [...values].filter(([name]) => !own.has(name));
  environment.entries.unshift(...entries.map(([name, value]) => ({ key: scalar(name, value.place), value })));
}

/** `TOKEN`, `TOKEN=` and `TOKEN: ""` all take their value from outside, where there is one: docker makes no difference between them. */
function fillEmpty(environment: Node | undefined, scope: Scope, findings: Findings): void {
  if (environment?.kind === "sequence") {
    for (const item of environment.items) {
      if (item.kind !== "scalar") continue;
      const [name = "", ...rest] = item.text.split("=");
      const bare = rest.length === 0;
      if (!bare && rest.join("=") !== "") continue;
      const value = valueFor(name, bare, item.place, scope, findings);
      if (value !== undefined) Object.assign(item, { text: `${name}=${value}`, plain: false });
    }
  }
  for (const entry of entriesOf(environment)) {
    const bare = isNull(entry.value);
    if (!bare && (entry.value.kind !== "scalar" || entry.value.text !== "")) continue;
    const value = valueFor(entry.key.text, bare, entry.key.place, scope, findings);
    if (value !== undefined) entry.value = scalar(value, entry.value.place);
  }
}

function valueFor(
  name: string,
  bare: boolean,
  place: Place,
  scope: Scope,
  { problems, warnings }: Findings,
): string | undefined {
  const value = scope.lookup(name);
  if (value === undefined && bare) {
    if (isHidden(name)) problems.push(hidden(name, place));
    else warnings.push(unset(name, place));
  }
  if (value === undefined || (value === "" && !bare)) return undefined;
  if (!bare) warnings.push(filled(name, place));
  return value;
}

/** Left bare, docker itself would fill it, from the step's environment. */
function hidden(name: string, place: Place): Problem {
  const hint = 'If the service needs a value of this name, give it in "secrets".';
  return { place, message: `The variable ${name} belongs to the runner, and no service gets it.`, hint };
}

function unset(name: string, place: Place): Problem {
  const message = `${name} has no value here, and no variable of that name is defined: the service does not get it.`;
  return { place, message, hint: `Give it in "variables" or "secrets".` };
}

function filled(name: string, place: Place): Problem {
  const message = `${name} is empty here, and takes the value of the variable ${name}, as docker does it.`;
  return { place, message, hint: "Define no variable of that name where it has to stay empty." };
}
