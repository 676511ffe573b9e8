import { type Problem } from "../errors.ts";
import { portsOf } from "./ports.ts";
import { type Findings } from "./template.ts";
import {
  type Entry,
  type Mapping,
  type Node,
  entriesOf,
  get,
  isNull,
  mapping,
  remove,
  scalar,
  sequence,
  set,
  textOf,
} from "./tree.ts";
import { volumeTarget } from "./volumes.ts";

/**
 * Several stack files become one as `docker stack deploy -c a -c b` makes it (docker/cli, compose/loader/merge.go): a later file's
 * definition of a network, volume, config or secret replaces the earlier one; its services are merged key by key. Where docker loses
 * something on the way, so do we, and say so.
 */
export function mergeFiles(files: readonly Mapping[], { problems, warnings }: Findings): Mapping {
  const [first, ...others] = files;
  if (first === undefined) throw new RangeError("there is no stack file to merge");
  for (const other of others) {
    problems.push(...otherVersion(first, other));
    mergeFile(first, other, warnings);
  }
  return first;
}

/** The newest format, which a file without a version has, and one with "3" (docker/cli, compose/schema). */
const NEWEST = "3.13";

function formatOf(root: Mapping): string {
  const version = get(root, "version");
  if (version !== undefined && isNull(version)) return "nothing";
  const given = textOf(version) ?? "";
  return given === "" || given === "3" ? NEWEST : given;
}

function otherVersion(first: Mapping, other: Mapping): Problem[] {
  if (formatOf(first) === formatOf(other)) return [];
  const [mine, theirs] = [first, other].map((root) => textOf(get(root, "version")) ?? "none");
  const message = `The files differ in their version: ${mine} in the first one, ${theirs} here.`;
  const hint = "Docker merges files of one version only.";
  return [{ message, hint, place: (get(other, "version") ?? other).place }];
}

const SECTIONS = new Set(["networks", "volumes", "configs", "secrets"]);

function mergeFile(into: Mapping, from: Mapping, warnings: Problem[]): void {
  for (const { key, value } of from.entries) {
    const existing = get(into, key.text);
    if (key.text === "services") mergeServices(sectionOf(into, "services", value), value, warnings);
    else if (SECTIONS.has(key.text))
      for (const each of entriesOf(value)) set(sectionOf(into, key.text, value), each.key.text, each.value);
    // An extension means something to its own file only.
    else if (existing === undefined && !key.text.startsWith("x-")) into.entries.push({ key, value });
  }
}

function sectionOf(root: Mapping, name: string, from: Node): Mapping {
  const existing = get(root, name);
  if (existing?.kind === "mapping") return existing;
  const made = mapping(from.place);
  set(root, name, made);
  return made;
}

function mergeServices(into: Mapping, from: Node, warnings: Problem[]): void {
  for (const { key, value } of entriesOf(from)) {
    const existing = get(into, key.text);
    const service = existing === undefined ? value : mergeService(key.text, existing, value, warnings);
    set(into, key.text, service);
  }
}

/** How a service's key is merged, where it is not by the general rule. */
interface Rule {
  readonly merge: (base: Node, over: Node, path: string, warn: (problem: Problem) => void) => Node;
}

function mergeService(name: string, base: Node, over: Node, warnings: Problem[]): Node {
  const warn = ({ message, ...rest }: Problem): void => {
    warnings.push({ message: `Service ${name}: ${message}`, ...rest });
  };
  const service = mergeNodes(base, over, "", warn);
  for (const [key, collapse] of KEYED) {
    // Docker files these under a key of their own as soon as two files speak of the service, and what shares a key is lost.
    const value = get(base, key);
    const added = get(over, key);
    // Nothing added to nothing leaves nothing, for a third file.
    if (service.kind === "mapping" && value === undefined && added !== undefined && isEmpty(added))
      remove(service, key);
    if (service.kind !== "mapping" || value?.kind !== "sequence") continue;
    set(service, key, collapse(value, added?.kind === "sequence" ? added.items : [], warn));
  }
  return service;
}

function mergeNodes(base: Node, over: Node, path: string, warn: (problem: Problem) => void): Node {
  if (isNull(over)) return base;
  if (isNull(base)) return over;
  const rule = RULES.get(path);
  if (rule !== undefined) return rule.merge(base, over, path, warn);
  if (base.kind === "mapping" && over.kind === "mapping") return mergeMappings(base, over, path, warn);
  if (base.kind === "sequence" && over.kind === "sequence") return appended(base, over, path);
  return over.kind === "scalar" && saysNothing(over.text, over.plain, path) ? base : over;
}

function mergeMappings(
  base: Mapping,
  over: Mapping,
  path: string,
  warn: (problem: Problem) => void,
): Mapping {
  return merged(base, over, (mine, theirs, key) => mergeNodes(mine, theirs, below(path, key), warn));
}

/** The keys of both, in the order of the file that has them first; `both` decides what stands at a key that both have. */
function merged(
  base: Mapping,
  over: Mapping,
  both: (mine: Node, theirs: Node, key: string) => Node,
): Mapping {
  const entries = base.entries.map((entry): Entry => {
    const other = get(over, entry.key.text);
    return other === undefined ? entry : { ...entry, value: both(entry.value, other, entry.key.text) };
  });
  const known = new Set(entries.map(({ key }) => key.text));
  return mapping(base.place, [...entries, ...over.entries.filter(({ key }) => !known.has(key.text))]);
}

function below(path: string, key: string): string {
  return path === "" ? key : `${path}.${key}`;
}

/** Numbers that docker can tell from nothing; every other nought in a later file leaves the earlier one as it is. */
const COUNTED = new Set([
  "deploy.replicas",
  "deploy.update_config.parallelism",
  "deploy.rollback_config.parallelism",
  "deploy.restart_policy.max_attempts",
  "healthcheck.retries",
]);
/** Text to YAML, but a length of time or a size to docker. */
const MEASURED =
  /(^|\.)(stop_grace_period|delay|monitor|window|interval|timeout|start_period|start_interval|memory)$/;

/** To docker, a value that is empty for its type is as good as none. */
function saysNothing(text: string, plain: boolean, path: string): boolean {
  if (path.startsWith("x-")) return false;
  if (text === "") return true;
  if (COUNTED.has(path)) return false;
  if (MEASURED.test(path)) return /^[-+]?[0.][0.a-zµμ]*$/i.test(text);
  return plain && (/^(false|False|FALSE)$/.test(text) || /^[+-]?(0x|0o|0b)?0*(\.0*)?(e\d+)?$/i.test(text));
}

/** Lists in which docker's schema allows nothing twice, although its merging puts it there. */
const CONSTRAINED = "deploy.placement.constraints";

function appended(base: Node, over: Node, path: string): Node {
  const items = [...listed(base), ...listed(over)];
  if (path === CONSTRAINED || path === "healthcheck.test") return sequence(base.place, items);
  const seen = new Set<string>();
  const once = items.filter((item) => {
    if (item.kind !== "scalar" || seen.has(item.text)) return item.kind !== "scalar";
    seen.add(item.text);
    return true;
  });
  return sequence(base.place, once);
}

/** `dns: 1.1.1.1` is a list of one. */
function listed(node: Node): readonly Node[] {
  return node.kind === "sequence" ? node.items : [node];
}

const APPENDED: Rule = { merge: appended };

const REPLACED: Rule = {
  merge: (base, over) => (isEmpty(over) ? base : over),
};

function isEmpty(node: Node): boolean {
  switch (node.kind) {
    case "scalar":
      return node.text.trim() === "";
    case "sequence":
      return node.items.length === 0;
    case "mapping":
      return node.entries.length === 0;
  }
}

/** `KEY=value` lines and mappings are the same to docker. */
const PAIRS: Rule = { merge: (base, over) => mergePairs(base, over, (_mine, theirs) => theirs) };

/** In an environment an empty value does not replace one. */
const ENVIRONMENT: Rule = {
  merge: (base, over) =>
    mergePairs(base, over, (mine, theirs) =>
      (textOf(theirs) ?? "") === "" && (textOf(mine) ?? "") !== "" ? mine : theirs,
    ),
};

function mergePairs(base: Node, over: Node, both: (mine: Node, theirs: Node) => Node): Node {
  const [left, right] = [paired(base), paired(over)];
  return left === undefined || right === undefined ? over : merged(left, right, both);
}

/** One limit replaces the other as a whole. */
const LIMITS: Rule = {
  merge: (base, over) =>
    base.kind === "mapping" && over.kind === "mapping" ? merged(base, over, (_mine, theirs) => theirs) : over,
};

function paired(node: Node): Mapping | undefined {
  if (node.kind === "mapping") return node;
  if (node.kind !== "sequence") return undefined;
  const made = mapping(node.place);
  for (const item of node.items) {
    if (item.kind !== "scalar") return undefined;
    const [name = "", ...rest] = item.text.split("=");
    const value =
      rest.length === 0 ? scalar("", item.place, "plain") : { ...item, text: rest.join("="), plain: false };
    remove(made, name); // Of a name given twice, the last one counts.
    made.entries.push({ key: scalar(name, item.place), value });
  }
  return made;
}

/** `host:address` lines; docker keeps one host's several addresses. */
const HOSTS: Rule = {
  merge: (base, over, path) => appended(hosts(base), hosts(over), path),
};

function hosts(node: Node): Node {
  if (node.kind !== "mapping") return node;
  const lines = node.entries.flatMap(({ key, value }) =>
    isNull(value) ? [] : [scalar(`${key.text}:${textOf(value) ?? ""}`, value.place)],
  );
  return sequence(
    node.place,
    lines.toSorted((a, b) => Number(a.text > b.text) - Number(a.text < b.text)),
  );
}

const NETWORKS: Rule = {
  merge: (base, over) => {
    const [left, right] = [named(base), named(over)];
    return left === undefined || right === undefined ? over : merged(left, right, mergeNetwork);
  },
};

function named(node: Node): Mapping | undefined {
  if (node.kind === "mapping") return node;
  if (node.kind !== "sequence") return undefined;
  const made = mapping(node.place);
  for (const item of node.items)
    made.entries.push({
      key: scalar(textOf(item) ?? "", item.place),
      value: scalar("", item.place, "plain"),
    });
  return made;
}

/** Of a network's options docker takes the later aliases, and an address where there is one. */
function mergeNetwork(base: Node, over: Node): Node {
  if (isNull(over)) return base;
  if (base.kind !== "mapping" || over.kind !== "mapping") return over;
  const network = mapping(
    base.place,
    base.entries.map((entry) => ({ ...entry })),
  );
  const aliases = get(over, "aliases");
  if (aliases === undefined) remove(network, "aliases");
  else set(network, "aliases", aliases);
  for (const key of ["ipv4_address", "ipv6_address"]) {
    const address = get(over, key);
    if (address !== undefined && !isEmpty(address)) set(network, key, address);
  }
  return network;
}

const HEALTH_TEST: Rule = {
  merge: (base, over, path, warn) => {
    const message = "docker appends this test to the one of an earlier file.";
    warn({ message, hint: "Write the test into one of the files only.", place: over.place });
    return appended(command(base), command(over), path);
  },
};

function command(test: Node): Node {
  if (test.kind !== "scalar") return test;
  return sequence(test.place, [scalar("CMD-SHELL", test.place), test]);
}

const LOGGING: Rule = {
  merge: (base, over, _path, warn) => {
    const [ours, theirs] = [textOf(get(base, "driver")) ?? "", textOf(get(over, "driver")) ?? ""];
    if (ours !== theirs && ours !== "" && theirs !== "") return over;
    if (base.kind !== "mapping") return over;
    const logging = mapping(
      base.place,
      base.entries.map((entry) => ({ ...entry })),
    );
    const driver = get(over, "driver");
    if (ours === "" && driver !== undefined) set(logging, "driver", driver);
    const [options, added] = [get(base, "options"), get(over, "options")];
    if (added === undefined) return logging;
    if (options === undefined || isNull(options)) {
      const message =
        "docker loses these logging options, since an earlier file has logging without options.";
      warn({ message, hint: "Write them into the earlier file.", place: added.place });
    } else set(logging, "options", PAIRS.merge(options, added, "logging.options", warn));
    return logging;
  },
};

const RULES: ReadonlyMap<string, Rule> = rulesByPath();

function rulesByPath(): Map<string, Rule> {
  const pairs = ["labels", "sysctls", "deploy.labels", "build.args", "build.labels"];
  const lists = ["dns", "dns_search", "tmpfs", "env_file"];
  return new Map<string, Rule>([
    ...pairs.map((path) => [path, PAIRS] as const),
    ...lists.map((path) => [path, APPENDED] as const),
    ["environment", ENVIRONMENT],
    ["command", REPLACED],
    ["entrypoint", REPLACED],
    ["extra_hosts", HOSTS],
    ["healthcheck.test", HEALTH_TEST],
    ["logging", LOGGING],
    ["networks", NETWORKS],
    ["ulimits", LIMITS],
  ]);
}

type Collapse = (base: Node, added: readonly Node[], warn: (problem: Problem) => void) => Node;

/** Lists that docker files under a key: the last item of a key is the one that stays. */
const KEYED: readonly (readonly [string, Collapse])[] = [
  ["ports", collapsePorts],
  ["volumes", collapseBy((item) => volumeTarget(item), "the same target")],
  ["configs", collapseBy(sourceOf, "the same source")],
  ["secrets", collapseBy(sourceOf, "the same source")],
];

function sourceOf(item: Node): string | undefined {
  return textOf(item) ?? textOf(get(item, "source"));
}

function collapseBy(keyOf: (item: Node) => string | undefined, shared: string): Collapse {
  return (base, added, warn) => {
    const own = listed(base);
    const kept = new Map<string, { item: Node; file: number }>();
    [...own, ...added].forEach((item, index) => {
      const file = index < own.length ? 0 : 1;
      const lost = kept.get(keyOf(item) ?? "");
      // That a later file replaces an item is what it is for; within one file docker loses one.
      if (lost?.file === file)
        warn({ message: `docker loses this item, since a later one has ${shared}.`, place: lost.item.place });
      kept.set(keyOf(item) ?? "", { item, file });
    });
    const sorted = [...kept].toSorted(([a], [b]) => Number(a > b) - Number(a < b));
    return sequence(
      base.place,
      sorted.map(([, { item }]) => item),
    );
  };
}

function collapsePorts(base: Node, added: readonly Node[], warn: (problem: Problem) => void): Node {
  const own = listed(base);
  const all = [...own, ...added];
  const kept = new Map<number, { node: Node; from: Node; file: number }>();
  for (const [index, entry] of all.entries()) {
    const file = index < own.length ? 0 : 1;
    const ports = portsOf(entry);
    if (ports === undefined) return sequence(base.place, all); // Docker refuses it by itself.
    for (const { published, node } of ports) {
      const lost = kept.get(published);
      if (lost?.file === file) {
        const which = published === 0 ? "without a published port" : `published as ${published}`;
        const message = `docker loses this port: of several files it keeps one port ${which}.`;
        warn({ message, hint: "Write all of the service's ports into one file.", place: lost.from.place });
      }
      kept.set(published, { node, from: entry, file });
    }
  }
  const sorted = [...kept].toSorted(([a], [b]) => a - b);
  return sequence(
    base.place,
    sorted.map(([, { node }]) => node),
  );
}
