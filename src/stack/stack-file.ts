import {
  Document,
  LineCounter,
  Pair,
  Scalar as YamlScalar,
  YAMLMap,
  YAMLSeq,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  parseDocument,
} from "yaml";
import { type Place, type Problem, StackFileError } from "../errors.ts";
import { type Entry, type Mapping, type Node, type Scalar, emptyScalar } from "./tree.ts";

/** A file that unfolds its aliases into more nodes than this means harm (a "billion laughs"). */
const MOST_NODES = 500_000;

/** Parses one stack file; throws a `StackFileError` with every mistake at its place. */
export function parseStackFile(text: string, file: string): Mapping {
  const lines = new LineCounter();
  // The failsafe schema knows text only, so nothing is read as a number and printed back as another one.
  const document = parseDocument(text, {
    schema: "failsafe",
    lineCounter: lines,
    uniqueKeys: false,
    prettyErrors: false,
  });
  const place = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { file, line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  if (document.errors.length > 0) {
    const [first] = document.errors; // What follows a syntax error is mostly its echo.
    throw new StackFileError([
      {
        message:
          first?.code === "MULTIPLE_DOCS"
            ? "A stack file is one YAML document, and here a second one starts."
            : (first?.message ?? ""),
        place: place(first?.pos[0] ?? 0),
        hint: "The YAML can't be read.",
      },
    ]);
  }
  const problems: Problem[] = [];
  const root =
    document.contents === null
      ? undefined
      : new TreeBuilder(document, text, place, problems).build(document.contents);
  if (problems.length > 0) throw new StackFileError(problems);
  if (root?.kind !== "mapping") {
    throw new StackFileError([{ message: "A stack file is a mapping with services.", place: place(0) }]);
  }
  return root;
}

class TreeBuilder {
  readonly #document: Document.Parsed;
  readonly #text: string;
  readonly #place: (offset: number) => Place;
  readonly #problems: Problem[];
  readonly #openAliases = new Set<unknown>();
  /** To resolve an alias, `yaml` walks the whole document. */
  readonly #targets = new Map<unknown, unknown>();
  #nodes = 0;

  constructor(
    document: Document.Parsed,
    text: string,
    place: (offset: number) => Place,
    problems: Problem[],
  ) {
    this.#document = document;
    this.#text = text;
    this.#place = place;
    this.#problems = problems;
  }

  build(node: unknown): Node {
    this.#nodes += 1;
    if (isAlias(node)) return this.#alias(node);
    if (isScalar(node)) return this.#scalar(node);
    const place = this.#place(rangeOf(node)?.[0] ?? 0);
    if (this.#nodes > MOST_NODES) {
      if (this.#nodes === MOST_NODES + 1)
        this.#problems.push({ message: `The aliases unfold into more than ${MOST_NODES} nodes.`, place });
      return emptyScalar(place);
    }
    if (isSeq(node)) return { kind: "sequence", items: node.items.map((item) => this.build(item)), place };
    if (isMap(node)) return this.#mapping(node, place);
    return emptyScalar(place);
  }

  #alias(alias: { source: string; range?: readonly number[] | null }): Node {
    const place = this.#place(alias.range?.[0] ?? 0);
    if (isAlias(alias) && !this.#targets.has(alias)) this.#targets.set(alias, alias.resolve(this.#document));
    const target = this.#targets.get(alias);
    if (target === undefined || this.#openAliases.has(target)) {
      const what = target === undefined ? "names no anchor" : "contains itself";
      this.#problems.push({ message: `The alias *${alias.source} ${what}.`, place });
      return emptyScalar(place);
    }
    this.#openAliases.add(target);
    const built = this.build(target);
    this.#openAliases.delete(target);
    return built;
  }

  #scalar(node: YamlScalar): Scalar {
    const [start = 0, end = 0] = node.range ?? [];
    const text = typeof node.value === "string" ? node.value : "";
    const plain = node.type === "PLAIN" || node.type === undefined;
    const dollars = text.includes("$") ? this.#dollars(text, start, end) : [];
    return { kind: "scalar", text, plain, tag: node.tag, place: this.#place(start), dollars };
  }

  /** The n-th `$` of the value is the n-th of the source, unless the source spells some of them with escapes. */
  #dollars(text: string, start: number, end: number): Place[] {
    const places: Place[] = [];
    for (
      let index = this.#text.indexOf("$", start);
      index !== -1 && index < end;
      index = this.#text.indexOf("$", index + 1)
    ) {
      places.push(this.#place(index));
    }
    return places.length === text.split("$").length - 1 ? places : [];
  }

  #mapping(map: YAMLMap, place: Place): Mapping {
    const own = new Map<string, Entry>();
    const merged = new Map<string, Entry>();
    for (const pair of map.items) {
      const key = this.build(pair.key);
      if (key.kind !== "scalar") {
        this.#problems.push({ message: "A key is text, not a list or mapping.", place: key.place });
      } else if (key.text === "<<" && key.plain) {
        this.#merge(this.build(pair.value), merged);
      } else if (own.has(key.text)) {
        this.#problems.push({
          message: `The key "${key.text}" is given twice in this mapping.`,
          place: key.place,
        });
      } else {
        own.set(key.text, {
          key,
          value: pair.value === null ? emptyScalar(key.place) : this.build(pair.value),
        });
      }
    }
    const inherited = [...merged.values()].filter((entry) => !own.has(entry.key.text));
    return { kind: "mapping", entries: [...inherited, ...own.values()], place };
  }

  /** The first of several merged mappings wins, as in YAML's merge key. */
  #merge(source: Node, into: Map<string, Entry>): void {
    const sources = source.kind === "sequence" ? source.items : [source];
    for (const each of sources) {
      if (each.kind !== "mapping") {
        this.#problems.push({
          message: "A merge key (<<) takes a mapping or a list of mappings.",
          place: each.place,
        });
        continue;
      }
      for (const entry of each.entries) if (!into.has(entry.key.text)) into.set(entry.key.text, entry);
    }
  }
}

function rangeOf(node: unknown): readonly number[] | undefined {
  return (node as { range?: readonly number[] | null } | null)?.range ?? undefined;
}

/** YAML that docker reads with the meaning of this tree. Every `$` of a value is doubled: docker substitutes once more, and must find nothing. */
export function printStackFile(root: Mapping): string {
  const document = new Document(null, { schema: "failsafe" });
  document.contents = toYaml(root) as typeof document.contents;
  const text = document.toString({ lineWidth: 0, doubleQuotedMinMultiLineLength: Number.MAX_SAFE_INTEGER });
  return text.replaceAll(
    new RegExp(FOREIGN, "g"),
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** Characters that docker's YAML takes for a line end, or refuses, where they are not escaped. */
const FOREIGN = /[\u007f-\u009f\u2028\u2029\ufeff]/;

function toYaml(node: Node): YamlScalar | YAMLSeq | YAMLMap {
  if (node.kind === "scalar") return yamlScalar(node, node.text.replaceAll("$", "$$$$"));
  if (node.kind === "sequence") {
    const sequence = new YAMLSeq();
    sequence.items = node.items.map(toYaml);
    return sequence;
  }
  const map = new YAMLMap();
  map.items = node.entries.map((entry) => {
    const value = toYaml(entry.value);
    if (entry.comment !== undefined && isScalar(value)) value.comment = ` ${entry.comment}`;
    // Docker substitutes in values only: a key keeps its `$`.
    return new Pair(yamlScalar(entry.key, entry.key.text), value);
  });
  return map;
}

function yamlScalar(node: Scalar, text: string): YamlScalar {
  const made = new YamlScalar(text);
  made.type = node.plain && !FOREIGN.test(text) ? "PLAIN" : "QUOTE_DOUBLE"; // Only double quotes know escapes.
  if (node.tag !== undefined) made.tag = node.tag;
  return made;
}
