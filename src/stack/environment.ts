import { type Place, type Problem } from "../errors.ts";
import { dropped } from "./compose-translations.ts";
import { readEnvFile } from "./env-file.ts";
import { nearest } from "./interpolate.ts";
import { cleanPath } from "./paths.ts";
import { isUnresolved } from "./references.ts";
import { type Findings, type Scope, addFindings, isHidden } from "./template.ts";
import {
  type Mapping,
  type Node,
  type Scalar,
  ensureMapping,
  entriesOf,
  get,
  isNull,
  mapping,
  ours,
  remove,
  scalar,
  sequence,
  set,
  textOf,
} from "./tree.ts";

/** Reads a file relative to the first stack file; undefined where there is none. */
export type ReadFile = (path: string) => Uint8Array | undefined;

/**
 * Writes into `environment` what docker would read from elsewhere: the service's env files, and, for a name without a value, what the
 * step knows. Docker itself would ask its own process, which must not know our secrets, but knows the runner's. `folder` is that of the
 * first stack file, with a slash at its end, or empty. Services that are left out (`idle`) need no env file.
 */
export function resolveEnvironment(
  root: Mapping,
  scope: Scope,
  folder: string,
  idle: { has(service: string): boolean },
  read: ReadFile,
  findings: Findings,
): void {
  for (const { key, value: service } of entriesOf(get(root, "services"))) {
    if (service.kind !== "mapping" || idle.has(key.text)) continue;
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
    const given = file.kind === "mapping" ? get(file, "path") : file;
    const path = textOf(given);
    if (path === undefined) {
      findings.problems.push({
        message: `Service ${name} has an env_file without a path.`,
        place: file.place,
      });
      continue;
    }
    if (given?.kind === "scalar" && given.unresolved === true) continue;
    findings.warnings.push(...unknownKeys(name, file));
    const bytes = read(path);
    if (bytes === undefined) {
      if (scope.standIns.forFile(path, bytes) !== undefined) continue;
      (isOptional(file) ? findings.warnings : findings.problems).push(missing(name, path, file));
      continue;
    }
    const parsed = readEnvFile(bytes, cleanPath(folder, path), scope);
    addFindings(findings, parsed);
    for (const [variable, { text, place }] of parsed.values) {
      values.set(variable, ours(text, place, `from ${path}`));
      scope.borrowed.add(text);
    }
  }
  addBelow(service, values);
}

/** Compose's long spelling, of which docker has only the path. */
function unknownKeys(service: string, file: Node): Problem[] {
  return entriesOf(file).flatMap(({ key, value }): Problem[] => {
    const what = `services.${service}.env_file.${key.text}`;
    if (key.text === "format" && textOf(value) !== "raw") {
      const hint = "An env file is read as docker reads it (format: raw): quotes and dollar signs are kept.";
      return [dropped(what, hint, key.place)];
    }
    if (key.text === "required" && !isUnresolved(value) && !/^(true|false)$/i.test(textOf(value) ?? ""))
      return [dropped(what, "It is neither true nor false: the file is required.", value.place)];
    if (["path", "required", "format"].includes(key.text)) return [];
    const meant = nearest(key.text, ["path", "required", "format"]);
    return [dropped(what, meant === undefined ? "Nobody knows it." : `Did you mean ${meant}?`, key.place)];
  });
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
    const above = lines.map(([name, value]): Node => ({ ...value, text: `${name}=${value.text}` }));
    set(service, "environment", sequence(existing.place, [...above, ...existing.items]));
    return;
  }
  const environment = ensureMapping(service, "environment");
  if (environment === undefined) return; // Neither list nor mapping: docker's own check names it.
  const own = new Set(environment.entries.map(({ key }) => key.text));
  const entries = [...values].filter(([name]) => !own.has(name));
  const above = entries.map(([name, value]) => ({ key: scalar(name, value.place), value }));
  set(service, "environment", mapping(environment.place, [...above, ...environment.entries]));
}

/** `TOKEN`, `TOKEN=` and `TOKEN: ""` all take their value from outside, where there is one: docker makes no difference between them. */
function fillEmpty(environment: Node | undefined, scope: Scope, findings: Findings): void {
  if (environment?.kind === "sequence") {
    const { items } = environment;
    const lines = items.map((item) => filledLine(item, scope, findings));
    const kept = withoutRepeats(
      lines,
      new Set(lines.filter((line, index) => line !== items[index]).map(textOf)),
    );
    items.length = 0;
    for (const line of kept) items.push(line);
  }
  for (const entry of entriesOf(environment)) {
    const bare = isNull(entry.value);
    if (!bare && (entry.value.kind !== "scalar" || entry.value.text !== "")) continue;
    const value = valueFor(entry.key.text, bare, entry.key.place, scope, findings);
    if (value !== undefined) entry.value = fromVariable(entry.key.text, value, entry.value.place);
  }
}

/** Names that have come to no value in any of the files, for the merged stack. */
export function tellBareNames(root: Mapping, { problems, warnings }: Findings): void {
  const tell = (name: string, place: Place): unknown =>
    isHidden(name) ? problems.push(hidden(name, place)) : warnings.push(unset(name, place));
  for (const { value: service } of entriesOf(get(root, "services"))) {
    const environment = get(service, "environment");
    for (const { key, value } of entriesOf(environment)) if (isNull(value)) tell(key.text, key.place);
    for (const item of environment?.kind === "sequence" ? environment.items : []) {
      const name = textOf(item) ?? "";
      if (name !== "" && !name.includes("=")) tell(name, item.place);
    }
  }
}

/** A name given twice, `[A, A=]`, may become the same line twice once it is filled, which docker refuses. */
function withoutRepeats(lines: readonly Node[], inserted: ReadonlySet<string | undefined>): Node[] {
  const last = new Map(lines.map((line, index) => [textOf(line), index]));
  return lines.filter((line, index) => !inserted.has(textOf(line)) || last.get(textOf(line)) === index);
}

function filledLine(item: Node, scope: Scope, findings: Findings): Node {
  if (item.kind !== "scalar" || item.assumed === true) return item;
  const [name = "", ...rest] = item.text.split("=");
  const bare = rest.length === 0;
  if (!bare && rest.join("=") !== "") return item;
  const value = valueFor(name, bare, item.place, scope, findings);
  return value === undefined ? item : fromVariable(name, `${name}=${value}`, item.place);
}

/** It may be a secret. */
function fromVariable(name: string, text: string, place: Place): Scalar {
  return { ...ours(text, place, `from the variable ${name}`), substituted: true };
}

function valueFor(
  name: string,
  bare: boolean,
  place: Place,
  scope: Scope,
  { warnings }: Findings,
): string | undefined {
  const value = scope.lookup(name) ?? (bare ? scope.standIns.forName(name) : undefined);
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
