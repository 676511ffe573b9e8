import { type Problem } from "../errors.ts";
import { COMPOSE_KEYS, type ComposeKey, OPEN, UNREAD } from "./compose-keys.ts";
import { dropped } from "./compose-translations.ts";
import { SOURCES, isExternal } from "./configs.ts";
import { nearest } from "./interpolate.ts";
import { hostAddress } from "./ports.ts";
import { type Findings, type Scope } from "./template.ts";
import { type Entry, type Mapping, type Node, entriesOf, get, remove, textOf } from "./tree.ts";
import { isAssumed } from "./withheld.ts";

/** Gives every Compose-only key its fate, in place. */
export function applyComposeKeys(root: Mapping, scope: Scope, findings: Findings): void {
  leaveOutProfiles(root, scope, findings);
  checkVersion(root, findings.problems);
  tellUnread(root, findings.warnings);
  walk(root, TREE, [], findings);
  for (const { key, value } of entriesOf(get(root, "services"))) {
    leaveOutTest(key.text, get(value, "healthcheck"), findings.warnings);
    for (const port of itemsOf(get(value, "ports"))) {
      const address = hostAddress(port);
      if (address === undefined) continue;
      const message = `Service ${key.text} publishes ${textOf(port)} on every address of the node: Swarm can't narrow it to ${address}.`;
      findings.warnings.push({ message, hint: "A firewall has to.", place: port.place });
    }
  }
}

function itemsOf(node: Node | undefined): readonly Node[] {
  return node?.kind === "sequence" ? node.items : [];
}

/** The keys' paths, grouped by their first parts, so that a file is walked once. */
interface Branch {
  key?: ComposeKey;
  /** All that docker takes here, where it says nothing about the rest. */
  taken?: readonly string[];
  readonly below: Map<string, Branch>;
}

const TREE = branches();

function branches(): Branch {
  const root: Branch = { below: new Map() };
  for (const key of COMPOSE_KEYS) branchAt(root, key.path).key = key;
  for (const [path, taken] of Object.entries(OPEN)) branchAt(root, path).taken = taken;
  return root;
}

function branchAt(root: Branch, path: string): Branch {
  let branch = root;
  for (const part of path.split(".")) {
    const next: Branch = branch.below.get(part) ?? { below: new Map() };
    branch.below.set(part, next);
    branch = next;
  }
  return branch;
}

function walk(node: Node, branch: Branch, path: readonly string[], findings: Findings): void {
  if (node.kind === "sequence") {
    const items = branch.below.get("[]");
    if (items !== undefined) node.items.forEach((item) => walk(item, items, path, findings));
  }
  if (node.kind !== "mapping") return;
  for (const entry of node.entries.slice()) {
    const here = [...path, entry.key.text];
    const next = branch.below.get(entry.key.text) ?? branch.below.get("*");
    if (next === undefined) {
      if (branch.taken?.includes(entry.key.text) === false)
        leaveOutUnknown(node, entry, here, branch, findings);
    } else if (next.key === undefined) walk(entry.value, next, here, findings);
    else meet(next.key, node, entry, here, findings);
  }
}

function leaveOutUnknown(
  parent: Mapping,
  { key }: Entry,
  path: readonly string[],
  { taken = [] }: Branch,
  { warnings }: Findings,
): void {
  remove(parent, key.text);
  const meant = nearest(key.text, taken);
  const hint = meant === undefined ? "Docker ignores it." : `Did you mean ${meant}?`;
  warnings.push(dropped(path.join("."), hint, key.place));
}

function meet(
  key: ComposeKey,
  parent: Mapping,
  entry: Entry,
  path: readonly string[],
  findings: Findings,
): void {
  const place = entry.key.place;
  if (key.fate === "refused") {
    findings.problems.push({
      message: `${path.join(".")} can't be deployed to a swarm.`,
      hint: key.why,
      place,
    });
    return;
  }
  remove(parent, entry.key.text);
  if (key.translate !== undefined) key.translate(parent, entry, path[1] ?? "", findings);
  else findings.warnings.push(dropped(path.join("."), key.why, place));
}

/** Docker reads no more of what exists already than its name; it says so for volumes only, and refuses what only Compose knows. */
function tellUnread(root: Mapping, warnings: Problem[]): void {
  for (const [section, unread] of Object.entries(UNREAD)) {
    for (const { key, value } of entriesOf(get(root, section))) {
      if (value.kind !== "mapping" || !isExternal(value)) continue;
      for (const { key: option } of value.entries.slice()) {
        if (!unread.includes(option.text)) continue;
        if (SOURCES.some((source) => source === option.text)) remove(value, option.text);
        const what = `${section}.${key.text}.${option.text}`;
        warnings.push({ message: `${what} is not read, since it is external.`, place: option.place });
      }
    }
  }
}

/** Services of which no profile is active, by all files together, and their profiles. */
export function idleServices(
  files: readonly Mapping[],
  scope: Scope,
): ReadonlyMap<string, readonly string[]> {
  const active = new Set((scope.lookup("COMPOSE_PROFILES") ?? "").split(",").map((each) => each.trim()));
  const profiles = new Map<string, string[]>();
  for (const { key, value } of files.flatMap((file) => entriesOf(get(file, "services"))))
    for (const item of itemsOf(get(value, "profiles"))) {
      const name = textOf(item) ?? "";
      profiles.set(key.text, [...(profiles.get(key.text) ?? []), name]);
      if (isAssumed(item)) active.add(name); // A service that may be active is looked at.
    }
  return new Map(
    [...profiles].filter(([, names]) => !active.has("*") && !names.some((name) => active.has(name))),
  );
}

/** A service that only some occasions need, such as a debugger, is not started by Compose unless it is asked for. */
function leaveOutProfiles(root: Mapping, scope: Scope, { warnings }: Findings): void {
  const services = get(root, "services");
  if (services?.kind !== "mapping") return;
  const idle = idleServices([root], scope);
  for (const { key, value } of services.entries.slice()) {
    const profiles = get(value, "profiles");
    if (profiles === undefined || value.kind !== "mapping") continue;
    remove(value, "profiles");
    const names = idle.get(key.text);
    if (names === undefined) continue;
    remove(services, key.text);
    const message = `Service ${key.text} is left out: it belongs to the profile ${names.join(", ")}.`;
    const hint = "To deploy it, name the profile in the variable COMPOSE_PROFILES, or take profiles away.";
    warnings.push({ message, hint, place: profiles.place });
  }
}

/** Often the check of one file is switched off in another one. Docker refuses to have both. */
function leaveOutTest(name: string, healthcheck: Node | undefined, warnings: Problem[]): void {
  const test = get(healthcheck, "test");
  if (
    healthcheck?.kind !== "mapping" ||
    test === undefined ||
    !/^true$/i.test(textOf(get(healthcheck, "disable")) ?? "")
  )
    return;
  remove(healthcheck, "test");
  warnings.push(dropped(`services.${name}.healthcheck.test`, "healthcheck.disable decides.", test.place));
}

/** Which 3.x there are is docker's to say, which grows. */
function checkVersion(root: Mapping, problems: Problem[]): void {
  const version = get(root, "version");
  if (version?.kind !== "scalar" || (version.text === "" && !version.plain)) return;
  if (/^3(\.\d+)?$/.test(version.text)) {
    version.plain = false; // Docker wants it as text.
    return;
  }
  const message = `The format version "${version.text}" is none that docker stack deploy takes.`;
  const hint = 'Write version: "3.9" once the keys that changed since are gone, or leave it out.';
  problems.push({ message, hint, place: version.place });
}
