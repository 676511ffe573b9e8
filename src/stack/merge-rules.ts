import { type Problem } from "../errors.ts";
import { compareTexts } from "../text-order.ts";
import { portsOf } from "./ports.ts";
import { sourceOf } from "./references.ts";
import {
  type Entry,
  type Mapping,
  type Node,
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

/** How a service's key is merged, where it is not by the general rule. */
type Rule = (base: Node, over: Node, path: string, warn: (problem: Problem) => void) => Node;

/** The keys of both, in the order of the file that has them first; `both` decides what stands at a key that both have. */
export function merged(
  base: Mapping,
  over: Mapping,
  both: (mine: Node, theirs: Node, key: string) => Node,
): Mapping {
  const others = byKey(over);
  const entries = base.entries.map((entry): Entry => {
    const other = others.get(entry.key.text);
    return other === undefined ? entry : { ...entry, value: both(entry.value, other, entry.key.text) };
  });
  const known = new Set(entries.map(({ key }) => key.text));
  return mapping(base.place, [...entries, ...over.entries.filter(({ key }) => !known.has(key.text))]);
}

/** A large mapping is searched once. */
function byKey({ entries }: Mapping): ReadonlyMap<string, Node> {
  return new Map(entries.map(({ key, value }) => [key.text, value]));
}

/** Lists in which docker's schema allows nothing twice, although its merging puts it there. */
const CONSTRAINED = "deploy.placement.constraints";

export function appended(base: Node, over: Node, path: string): Node {
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

const replaced: Rule = (base, over) => (isEmpty(over) ? base : over);

export function isEmpty(node: Node): boolean {
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
const pairs: Rule = (base, over) => mergePairs(base, over, (_mine, theirs) => theirs);

/** In an environment an empty value does not replace one. */
const environment: Rule = (base, over) =>
  mergePairs(base, over, (mine, theirs) =>
    (textOf(theirs) ?? "") === "" && (textOf(mine) ?? "") !== "" ? mine : theirs,
  );

function mergePairs(base: Node, over: Node, both: (mine: Node, theirs: Node) => Node): Node {
  const [left, right] = [paired(base), paired(over)];
  return left === undefined || right === undefined ? over : merged(left, right, both);
}

/** One limit replaces the other as a whole. */
const limits: Rule = (base, over) =>
  base.kind === "mapping" && over.kind === "mapping" ? merged(base, over, (_mine, theirs) => theirs) : over;

function paired(node: Node): Mapping | undefined {
  if (node.kind === "mapping") return node;
  if (node.kind !== "sequence") return undefined;
  const found = new Map<string, Entry>();
  for (const item of node.items) {
    if (item.kind !== "scalar") return undefined;
    const [name = "", ...rest] = item.text.split("=");
    const value =
      rest.length === 0 ? scalar("", item.place, "plain") : { ...item, text: rest.join("="), plain: false };
    found.delete(name); // Of a name given twice, the last one counts.
    found.set(name, { key: scalar(name, item.place), value });
  }
  return mapping(node.place, [...found.values()]);
}

/** `host:address` lines; docker keeps one host's several addresses. */
const extraHosts: Rule = (base, over, path) => appended(hosts(base), hosts(over), path);

function hosts(node: Node): Node {
  if (node.kind !== "mapping") return node;
  const lines = node.entries.flatMap(({ key, value }) =>
    isNull(value) ? [] : [scalar(`${key.text}:${textOf(value) ?? ""}`, value.place)],
  );
  return sequence(
    node.place,
    lines.toSorted((a, b) => compareTexts(a.text, b.text)),
  );
}

const networks: Rule = (base, over) => {
  const [left, right] = [named(base), named(over)];
  return left === undefined || right === undefined ? over : merged(left, right, mergeNetwork);
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

/** Its entries can be set and removed, and their values are shared. */
function copy(node: Mapping): Mapping {
  return mapping(
    node.place,
    node.entries.map((entry) => ({ ...entry })),
  );
}

/** Of a network's options docker takes the later aliases, and an address where there is one. */
function mergeNetwork(base: Node, over: Node): Node {
  if (isNull(over)) return base;
  if (base.kind !== "mapping" || over.kind !== "mapping") return over;
  const network = copy(base);
  const aliases = get(over, "aliases");
  if (aliases === undefined) remove(network, "aliases");
  else set(network, "aliases", aliases);
  for (const key of ["ipv4_address", "ipv6_address"]) {
    const address = get(over, key);
    if (address !== undefined && !isEmpty(address)) set(network, key, address);
  }
  return network;
}

const healthTest: Rule = (base, over, path, warn) => {
  const message = "docker appends this test to the one of an earlier file.";
  warn({ message, hint: "Write the test into one of the files only.", place: over.place });
  return appended(command(base), command(over), path);
};

function command(test: Node): Node {
  if (test.kind !== "scalar") return test;
  return sequence(test.place, [scalar("CMD-SHELL", test.place), test]);
}

const logging: Rule = (base, over, path, warn) => {
  const [ours, theirs] = [textOf(get(base, "driver")) ?? "", textOf(get(over, "driver")) ?? ""];
  if (ours !== theirs && ours !== "" && theirs !== "") return over;
  if (base.kind !== "mapping") return over;
  const made = copy(base);
  const driver = get(over, "driver");
  if (ours === "" && driver !== undefined) set(made, "driver", driver);
  const [options, added] = [get(base, "options"), get(over, "options")];
  if (added === undefined) return made;
  if (options === undefined || isNull(options)) {
    const message = "docker loses these logging options, since an earlier file has logging without options.";
    warn({ message, hint: "Write them into the earlier file.", place: added.place });
  } else set(made, "options", pairs(options, added, path, warn));
  return made;
};

export const RULES: ReadonlyMap<string, Rule> = new Map([
  ...["labels", "sysctls", "deploy.labels", "build.args", "build.labels"].map(
    (path) => [path, pairs] as const,
  ),
  ...["dns", "dns_search", "tmpfs", "env_file"].map((path) => [path, appended] as const),
  ["environment", environment],
  ["command", replaced],
  ["entrypoint", replaced],
  ["extra_hosts", extraHosts],
  ["healthcheck.test", healthTest],
  ["logging", logging],
  ["networks", networks],
  ["ulimits", limits],
]);

type Collapse = (base: Node, added: readonly Node[], warn: (problem: Problem) => void) => Node;

/** Lists that docker files under a key: the last item of a key is the one that stays. */
export const KEYED: readonly (readonly [string, Collapse])[] = [
  ["ports", collapsePorts],
  ["volumes", collapseBy((item) => volumeTarget(item), "the same target")],
  ["configs", collapseBy(sourceOf, "the same source")],
  ["secrets", collapseBy(sourceOf, "the same source")],
];

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
    const sorted = [...kept].toSorted(([a], [b]) => compareTexts(a, b));
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
