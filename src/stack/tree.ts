import { type Place } from "../errors.ts";

/**
 * A stack file as a tree of our own: aliases and merge keys are resolved, the order of the file is kept, and a scalar keeps its
 * spelling and whether it was quoted. What `0123` or `yes` mean is docker's decision; we never make it.
 */
export type Node = Scalar | Sequence | Mapping;

export interface Scalar {
  readonly kind: "scalar";
  text: string;
  /** Without quotes, hence open to docker's reading as number, boolean or null. */
  plain: boolean;
  /** An explicit tag such as `!!str`, as written. */
  readonly tag: string | undefined;
  readonly place: Place;
  /** Where each `$` of the text as written stands. */
  readonly dollars: readonly Place[];
  /** Made from a template: it may hold a secret, and is not to be repeated. */
  substituted?: true;
  /** A variable of it is missing, which is told: whatever is wrong with its text is no mistake of its own. */
  unresolved?: true;
  /** Something stands in for a variable of it that is withheld; it is `unresolved` then, too. */
  assumed?: true;
  /** Printed behind the value; marks what we wrote into the user's file. */
  comment?: string;
}

export interface Sequence {
  readonly kind: "sequence";
  readonly items: Node[];
  readonly place: Place;
}

export interface Entry {
  readonly key: Scalar;
  value: Node;
}

export interface Mapping {
  readonly kind: "mapping";
  readonly entries: Entry[];
  readonly place: Place;
}

export function emptyScalar(place: Place): Scalar {
  return { kind: "scalar", text: "", plain: true, tag: undefined, place, dollars: [] };
}

export function get(node: Node | undefined, ...path: readonly string[]): Node | undefined {
  let current = node;
  for (const key of path) {
    if (current?.kind !== "mapping") return undefined;
    current = current.entries.find((entry) => entry.key.text === key)?.value;
  }
  return current;
}

export function entriesOf(node: Node | undefined): readonly Entry[] {
  return node?.kind === "mapping" ? node.entries : [];
}

/** The text of a scalar; undefined for lists, mappings and an empty value. */
export function textOf(node: Node | undefined): string | undefined {
  return node?.kind === "scalar" && !isNull(node) ? node.text : undefined;
}

export function isNull(node: Node): boolean {
  return (
    node.kind === "scalar" && node.plain && node.tag === undefined && /^(|~|null|Null|NULL)$/.test(node.text)
  );
}

export function scalar(text: string, place: Place, style: "plain" | "quoted" = "quoted"): Scalar {
  return { kind: "scalar", text, plain: style === "plain", tag: undefined, place, dollars: [] };
}

/** A scalar that we write into the user's file, with a comment that says so. */
export function ours(
  text: string,
  place: Place,
  comment: string,
  style: "plain" | "quoted" = "quoted",
): Scalar {
  return { ...scalar(text, place, style), comment };
}

export function mapping(place: Place, entries: Entry[] = []): Mapping {
  return { kind: "mapping", entries, place };
}

export function sequence(place: Place, items: Node[]): Sequence {
  return { kind: "sequence", items, place };
}

/** Replaces the value of `key`, or appends the entry. */
export function set(target: Mapping, key: string, value: Node): void {
  const existing = target.entries.find((entry) => entry.key.text === key);
  if (existing === undefined) target.entries.push({ key: scalar(key, value.place, "plain"), value });
  else existing.value = value;
}

/** Takes the entry out; whoever held it before goes on holding it. */
export function remove(target: Mapping, key: string): void {
  const index = target.entries.findIndex((entry) => entry.key.text === key);
  if (index !== -1) target.entries.splice(index, 1);
}

/** The mapping at `key`, made where the file has none; undefined where the file has something else there. */
export function ensureMapping(target: Mapping, key: string): Mapping | undefined {
  const existing = get(target, key);
  if (existing !== undefined && !isNull(existing)) return existing.kind === "mapping" ? existing : undefined;
  const made = mapping(existing?.place ?? target.place);
  set(target, key, made);
  return made;
}

/** A copy that can be changed without changing the original: aliases and merge keys share nodes. */
export function clone<T extends Node>(node: T): T;
export function clone(node: Node): Node {
  switch (node.kind) {
    case "scalar":
      return { ...node };
    case "sequence":
      return { ...node, items: node.items.map((item) => clone(item)) };
    case "mapping":
      return { ...node, entries: node.entries.map((entry) => ({ ...entry, value: clone(entry.value) })) };
  }
}

/** All values at any depth, in the order of the file. */
export function scalarsOf(node: Node): Scalar[] {
  if (node.kind === "scalar") return [node];
  return (node.kind === "sequence" ? node.items : node.entries.map(({ value }) => value)).flatMap(scalarsOf);
}
