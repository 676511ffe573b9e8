import { type Place } from "../errors.ts";
import {
  type Entry,
  type Mapping,
  type Node,
  type Scalar,
  type Sequence,
  entriesOf,
  get,
  mapping,
  scalar,
  scalarsOf,
} from "./tree.ts";

/** What a run is not told, for no fault of the author: GitHub keeps secrets and variables from a pull request of a fork. */
export interface Withheld {
  /** Whether a variable without a value here may have one where the stack is deployed. */
  readonly hasName: (name: string) => boolean;
  /** Whether a file that is missing or empty here may be written from a secret there. */
  readonly hasFiles: boolean;
}

/** A name that nobody defines is a mistake, and so is a file that is not there. */
export const NOTHING_WITHHELD: Withheld = { hasName: () => false, hasFiles: false };

/** Fits as text, as a number, as a size, as a port, as a tag and as a part of a name or path. */
const STAND_IN = "12345";

/** Gives a value to what is withheld, and remembers to what. */
export class StandIns {
  readonly #withheld: Withheld;
  readonly #names = new Set<string>();
  readonly #files = new Set<string>();

  constructor(withheld: Withheld) {
    this.#withheld = withheld;
  }

  /** Variables that the stack needs, in the order in which they were met. */
  get names(): readonly string[] {
    return [...this.#names];
  }

  /** Paths as the stack file or the workflow has them. */
  get files(): readonly string[] {
    return [...this.#files];
  }

  /** Undefined where the name is not withheld: that it has no value is a mistake. */
  forName(name: string): string | undefined {
    if (!this.#withheld.hasName(name)) return undefined;
    this.#names.add(name);
    return STAND_IN;
  }

  /** The bytes of the file, or what stands in for it where it is withheld; undefined where that it is missing is a mistake. */
  forFile(path: string, bytes: Uint8Array | undefined): Uint8Array | undefined {
    if (!this.#withheld.hasFiles || (bytes !== undefined && bytes.byteLength > 0)) return bytes;
    this.#files.add(path);
    return Buffer.from(STAND_IN);
  }
}

/** What another spelling of a value takes over from it. */
export function assumptionOf(node: Node): Pick<Scalar, "assumed" | "unresolved"> {
  return isAssumed(node) ? { assumed: true, unresolved: true } : {};
}

/** Whether a part of a stack depends on a value that is withheld. */
export function isAssumed(node: Node | undefined): boolean {
  return node !== undefined && scalarsOf(node).some(({ assumed }) => assumed === true);
}

/**
 * The stack without the values that something stands in for. What docker has against such a value says nothing of the file; what it has
 * against the stack without them does. What docker would ask for stays, and is one that it takes.
 */
export function withoutAssumed(root: Mapping): Mapping {
  const entries = root.entries.flatMap((entry) => cutEntry(entry, root));
  const sections = entries.map((entry) => entry.key.text);
  const added = Object.keys(DEFINED).filter(
    (key) => !sections.includes(key) && sourcesIn(root, key).length > 0,
  );
  const all = [
    ...entries,
    ...added.map((key) => ({ key: scalar(key, root.place), value: mapping(root.place) })),
  ];
  return { ...root, entries: all.map((entry) => ({ ...entry, value: defined(entry, root) })) };
}

function cutEntry(entry: Entry, parent: Mapping): Entry[] {
  const { key, value } = entry;
  if (!isAssumed(value) || KEPT.has(key.text)) return [entry];
  if (key.text === "type") return [{ ...entry, value: scalar(kindOf(parent), value.place) }];
  const rest = value.kind === "sequence" ? cutList(value, key.text) : cutNode(value, undefined);
  return rest === undefined ? [] : [{ ...entry, value: rest }];
}

/** Of a volume: a kind that goes with what else the item says, and asks for no definition. */
function kindOf(item: Mapping): string {
  if (get(item, "tmpfs") !== undefined) return "tmpfs";
  return get(item, "source") === undefined || get(item, "volume") !== undefined ? "volume" : "bind";
}

/** Without these docker refuses a service, an item or a definition; it takes any text. */
const KEPT: ReadonlySet<string> = new Set(["image", "source", "driver"]);

/** What docker takes in place of an item, so that it counts the others as they stand in the file. */
const EXAMPLES: Readonly<Record<string, (index: number) => string>> = {
  ports: (index) => String(60_000 + index),
  volumes: (index) => `/assumed/${index}`,
};

function cutList(list: Sequence, key: string): Sequence {
  return { ...list, items: list.items.flatMap((item, index) => cutNode(item, EXAMPLES[key], index) ?? []) };
}

/** Numbers and booleans stay: they are of the right kind. */
function cutNode(node: Node, example: ((index: number) => string) | undefined, index = 0): Node | undefined {
  switch (node.kind) {
    case "scalar":
      if (node.assumed !== true || node.plain) return node;
      return example === undefined ? undefined : scalar(example(index), node.place);
    case "sequence":
      return cutList(node, "");
    case "mapping":
      return { ...node, entries: node.entries.flatMap((entry) => cutEntry(entry, node)) };
  }
}

/** Sections whose definitions an item names as its source, and a definition that docker takes. */
const DEFINED: Readonly<Record<string, (place: Place) => Mapping>> = {
  configs: (place) =>
    mapping(place, [{ key: scalar("external", place), value: scalar("true", place, "plain") }]),
  secrets: (place) =>
    mapping(place, [{ key: scalar("external", place), value: scalar("true", place, "plain") }]),
  volumes: (place) => mapping(place),
};

/** The section, with a definition for each source that nobody here knows. */
function defined({ key, value }: Entry, root: Mapping): Node {
  const definition = DEFINED[key.text];
  if (definition === undefined || value.kind !== "mapping") return value;
  const missing = sourcesIn(root, key.text).filter(({ text }) => get(value, text) === undefined);
  const made = missing.map((source) => ({
    key: scalar(source.text, source.place),
    value: definition(source.place),
  }));
  return { ...value, entries: [...value.entries, ...made] };
}

function sourcesIn(root: Mapping, section: string): Scalar[] {
  const lists = entriesOf(get(root, "services")).map(({ value }) => get(value, section));
  const sources = lists
    .flatMap((list) => (list?.kind === "sequence" ? list.items : []))
    .map((item) => get(item, "source"))
    .filter((source) => source?.kind === "scalar")
    .filter(({ assumed, text }) => assumed === true && /^[\w.-]+$/.test(text));
  return [...new Map(sources.map((source) => [source.text, source])).values()];
}
