import {
  Document,
  LineCounter,
  Pair,
  Scalar as YamlScalar,
  type YAMLError,
  YAMLMap,
  YAMLSeq,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  parseAllDocuments,
  visit,
} from "yaml";
import { type Place, type Problem, StackFileError } from "../errors.ts";
import { type Entry, type Mapping, type Node, type Scalar, emptyScalar } from "./tree.ts";

/** A file that unfolds its aliases into more nodes than this means harm (a "billion laughs"). */
const MOST_NODES = 500_000;
/** Deeper than any stack, and far from what the call stack can bear. */
const MOST_LEVELS = 200;

/**
 * Parses one stack file; throws a `StackFileError` with every mistake at its place. Docker reads the first document of a file and no
 * other; a further one is named in `warnings`.
 */
export function parseStackFile(source: string | Uint8Array, file: string, warnings: Problem[] = []): Mapping {
  // A carriage return alone ends a line to docker; of the same length, the places stay right.
  const given = (typeof source === "string" ? source : decode(source, file)).replace(/\r(?!\n)/g, "\n");
  refuseControlCharacters(given, file);
  const { text, lines, margins, all } = readable(given);
  const place = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { file, line: Math.max(line, 1), column: Math.max(col - (margins.get(line) ?? 0), 1) };
  };
  const [document, further] = all;
  if (further !== undefined && further.contents !== null) {
    warnings.push({
      message:
        "A second YAML document starts here. Docker reads the first one only, and so does this action.",
      place: place(rangeOf(further.contents)?.[0] ?? further.range[0]),
    });
  }
  const error = firstError(document);
  if (document !== undefined && error !== undefined) {
    const { message, offset } = explained(document, error);
    throw new StackFileError([{ message, place: place(offset), hint: "The YAML can't be read." }]);
  }
  const problems: Problem[] = [];
  const root =
    document === undefined || document.contents === null
      ? undefined
      : new TreeBuilder(text, place, problems, warnings).build(document.contents);
  if (problems.length > 0) throw new StackFileError(problems);
  if (root?.kind !== "mapping") {
    throw new StackFileError([{ message: "A stack file is a mapping with services.", place: place(0) }]);
  }
  return root;
}

interface Readable {
  readonly text: string;
  readonly lines: LineCounter;
  /** Blanks that we have put in front of a line, by its number. */
  readonly margins: ReadonlyMap<number, number>;
  readonly all: readonly Document.Parsed[];
}

/** Who quotes so many texts over several lines in this way may indent them. */
const MOST_MARGINS = 50;

/**
 * To docker a quoted text may go on at the margin; to this parser each of its lines is indented further than its key. Blanks there mean
 * nothing, so they are added where they lack, if that makes the file readable.
 */
function readable(given: string): Readable {
  const asGiven = read(given, new Map());
  let now: Readable | undefined = asGiven;
  for (let tries = 0; now !== undefined && firstError(now.all[0]) !== undefined; tries += 1)
    now = tries < MOST_MARGINS ? withMargin(now) : undefined;
  return now ?? asGiven;
}

function read(text: string, margins: ReadonlyMap<number, number>): Readable {
  const lines = new LineCounter();
  return { text, lines, margins, all: documents(text, lines) };
}

/** With the first quote indented that has no end for this parser, and has one for docker; undefined where that is not what is wrong. */
function withMargin({ text, lines, margins, all: [document] }: Readable): Readable | undefined {
  const error = firstError(document);
  if (document === undefined || error === undefined || !NOT_CLOSED.test(error.message)) return undefined;
  const opened = lastQuote(document, error.pos[0]);
  const closed = opened === undefined ? undefined : closing(text, opened);
  if (opened === undefined || closed === undefined) return undefined;
  const { line, col } = lines.linePos(opened);
  if (margins.has(line + 1)) return undefined; // It has not helped.
  const [first = "", ...rest] = text.slice(opened, closed).split("\n");
  const added = rest.map((_, index): [number, number] => [line + 1 + index, col]);
  const indented = [first, ...rest.map((each) => " ".repeat(col) + each)].join("\n");
  return read(text.slice(0, opened) + indented + text.slice(closed), new Map([...margins, ...added]));
}

/** Behind the quote that closes the one at `opened`; undefined where there is none, or all is on one line. */
function closing(text: string, opened: number): number | undefined {
  const quoted = text[opened] === "'" ? /'[^']*(?:''[^']*)*'/y : /"[^"\\]*(?:\\[^][^"\\]*)*"/y;
  quoted.lastIndex = opened;
  const [found] = quoted.exec(text) ?? [];
  return found?.includes("\n") === true ? opened + found.length : undefined;
}

/** What follows a syntax error is mostly its echo. */
function firstError(document: Document.Parsed | undefined): YAMLError | undefined {
  return document?.errors.find(({ message }) => !COMMENT_TOO_NEAR.test(message));
}

function documents(text: string, lines: LineCounter): Document.Parsed[] {
  // The failsafe schema knows text only, so nothing is read as a number and printed back as another one.
  const options = {
    schema: "failsafe",
    resolveKnownTags: false,
    lineCounter: lines,
    uniqueKeys: false,
    prettyErrors: false,
  } as const;
  const parsed = parseAllDocuments(text, options);
  return "empty" in parsed ? [] : parsed;
}

/** `"x"#c`: the value is whole, and docker reads it too. */
const COMMENT_TOO_NEAR = /^Comments must be separated/;

const NOT_CLOSED = /^Missing closing ["']quote/;

/** The parser's objection in a sentence, at the place where the author has to look. */
function explained(
  document: Document.Parsed,
  { message, pos }: YAMLError,
): { message: string; offset: number } {
  const [offset] = pos;
  if (/call stack/.test(message)) return { message: "The nesting is too deep.", offset }; // It calls itself for each level.
  if (NOT_CLOSED.test(message)) {
    const opened = lastQuote(document, offset);
    if (opened !== undefined) return { message: "The quote that opens here does not close.", offset: opened };
  }
  const sentence = message.replace(/\s*\n\s*/g, " ");
  return { message: /[.!?]$/.test(sentence) ? sentence : `${sentence}.`, offset };
}

/** The quote that has not closed by `end`. */
function lastQuote(document: Document.Parsed, end: number): number | undefined {
  let start: number | undefined;
  visit(document, {
    Scalar(_key, { type, range }) {
      if (type?.startsWith("QUOTE") === true && (range?.[0] ?? 0) <= end) start = range?.[0];
    },
  });
  return start;
}

/** Docker reads UTF-8, and UTF-16 behind a byte order mark. Anything else is refused at its first wrong byte. */
function decode(bytes: Uint8Array, file: string): string {
  const encoding =
    bytes[0] === 0xff && bytes[1] === 0xfe
      ? "utf-16le"
      : bytes[0] === 0xfe && bytes[1] === 0xff
        ? "utf-16be"
        : "utf-8";
  const text = new TextDecoder(encoding).decode(bytes); // Takes the mark away.
  if (encoding !== "utf-8" || !text.includes("\ufffd")) return text;
  const marked = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes;
  const again = Buffer.from(text);
  const wrong = again.findIndex((byte, index) => byte !== marked[index]);
  if (wrong === -1 && again.byteLength === marked.byteLength) return text; // The character U+FFFD itself.
  const before = Buffer.from(marked.subarray(0, wrong)).toString("utf8");
  throw new StackFileError([{ message: "This is no UTF-8 text.", place: placeBehind(before, file) }]);
}

/** What no YAML may hold, not even in a comment; and the line ends of YAML 1.1, which docker knows, and hardly any editor shows. */
// oxlint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u2028\u2029\ufffe\uffff]/;

function refuseControlCharacters(text: string, file: string): void {
  const found = CONTROL.exec(text);
  if (found === null) return;
  const [character] = found;
  const code = character.charCodeAt(0).toString(16).padStart(4, "0");
  const message = /[\u0085\u2028\u2029]/.test(character)
    ? `The character U+${code.toUpperCase()} ends a line to docker, and to nobody else.`
    : `The control character U+${code.toUpperCase()} is not allowed in YAML.`;
  const hint = `Between double quotes it can be written as \\u${code}.`;
  throw new StackFileError([{ message, place: placeBehind(text.slice(0, found.index), file), hint }]);
}

function placeBehind(before: string, file: string): Place {
  const lines = before.split("\n");
  return { file, line: lines.length, column: (lines.at(-1) ?? "").length + 1 };
}

function lastLine(text: string): string {
  return text.slice(text.lastIndexOf("\n") + 1);
}

class TreeBuilder {
  readonly #text: string;
  readonly #place: (offset: number) => Place;
  readonly #problems: Problem[];
  readonly #warnings: Problem[];
  /** What each anchor stands for at this point of the file; a later one of the same name replaces it. */
  readonly #anchors = new Map<string, unknown>();
  /** From the root down to the node being built. */
  readonly #open: unknown[] = [];
  /** How many aliases are being unfolded: the anchors within them were met before. */
  #unfolding = 0;
  #nodes = 0;

  constructor(text: string, place: (offset: number) => Place, problems: Problem[], warnings: Problem[]) {
    this.#text = text;
    this.#place = place;
    this.#problems = problems;
    this.#warnings = warnings;
  }

  build(node: unknown): Node {
    this.#nodes += 1;
    const place = this.#place(rangeOf(node)?.[0] ?? 0);
    if (isAlias(node)) return this.#alias(node.source, place);
    if (isNode(node) && this.#unfolding === 0) {
      if (node.anchor !== undefined) this.#anchors.set(node.anchor, node);
      if (node.tag !== undefined && /^!\w/.test(node.tag)) this.#warnings.push(ignoredTag(node.tag, place));
    }
    if (isScalar(node)) return this.#scalar(node, place);
    if (this.#nodes > MOST_NODES) {
      if (this.#nodes === MOST_NODES + 1)
        this.#problems.push({ message: `The aliases unfold into more than ${MOST_NODES} nodes.`, place });
      return emptyScalar(place);
    }
    if (this.#open.length >= MOST_LEVELS) {
      this.#problems.push({ message: `The YAML is nested deeper than ${MOST_LEVELS} levels.`, place });
      return emptyScalar(place);
    }
    this.#open.push(node);
    const built = this.#collection(node, place);
    this.#open.pop();
    return built;
  }

  #collection(node: unknown, place: Place): Node {
    if (isSeq(node)) return { kind: "sequence", items: node.items.map((item) => this.build(item)), place };
    if (isMap(node)) return this.#mapping(node, place);
    return emptyScalar(place);
  }

  #alias(name: string, place: Place): Node {
    const target = this.#anchors.get(name);
    if (target === undefined || this.#open.includes(target)) {
      const what = target === undefined ? "names no anchor" : "contains itself";
      this.#problems.push({ message: `The alias *${name} ${what}.`, place });
      return emptyScalar(place);
    }
    this.#unfolding += 1;
    const built = this.build(target);
    this.#unfolding -= 1;
    return built;
  }

  #scalar(node: YamlScalar, place: Place): Scalar {
    const [start = 0, end = 0] = node.range ?? [];
    const { text, tag } = this.#content(node);
    if (/[\ud800-\udfff]/.test(text) && /\p{Surrogate}/u.test(text))
      this.#problems.push({
        message: "This text has one half of a surrogate pair, which is no character.",
        place,
      });
    const plain = node.type === "PLAIN" || node.type === undefined;
    const dollars = text.includes("$") ? this.#dollars(text, node.type, start, end) : [];
    return { kind: "scalar", text, plain: plain && tag === node.tag, tag, place, dollars };
  }

  #content({ value, tag, type, range }: YamlScalar): { text: string; tag: string | undefined } {
    const text = typeof value === "string" ? value : "";
    if (tag === BINARY) {
      const bytes = Buffer.from(text, "base64");
      const decoded = bytes.toString("utf8");
      const exact =
        Buffer.from(decoded).equals(bytes) && bytes.toString("base64") === text.replace(/\s/g, "");
      return exact ? { text: decoded, tag: undefined } : { text, tag }; // Docker refuses the rest, or takes it as it is.
    }
    const isBlock = type === "BLOCK_LITERAL" || type === "BLOCK_FOLDED";
    // The file ends in the middle of the block's last line: there is no line end that could belong to the value.
    const brokenOff = isBlock && range?.[1] === this.#text.length && /\S/.test(lastLine(this.#text));
    return { text: brokenOff ? text.replace(/\n$/, "") : text, tag };
  }

  /** Where the source has the value's dollar signs, in their order. */
  #dollars(text: string, type: YamlScalar["type"], start: number, end: number): Place[] {
    const source = this.#text.slice(start, end);
    const header = type?.startsWith("BLOCK") === true ? source.indexOf("\n") + 1 : 0; // It may have a comment.
    const pattern = type === "QUOTE_DOUBLE" ? /\\(x24|u0024|U00000024)|\\.|\$/gs : /\$/g;
    const places: Place[] = [];
    for (const { 0: found, 1: escaped, index } of source.slice(header).matchAll(pattern))
      if (found === "$" || escaped !== undefined) places.push(this.#place(start + header + index));
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

const BINARY = "tag:yaml.org,2002:binary";

/** Compose knows some, which say how files are merged. */
function ignoredTag(tag: string, place: Place): Problem {
  const hint = /^!(reset|override)$/.test(tag)
    ? "Files are merged as docker stack deploy merges them, which takes nothing away: change the earlier file."
    : undefined;
  return { message: `Docker ignores the tag ${tag}.`, place, hint };
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
const FOREIGN = /[\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]/;

function toYaml(node: Node): YamlScalar | YAMLSeq | YAMLMap {
  if (node.kind === "scalar") return yamlScalar(node, node.text.replaceAll("$", "$$$$"));
  if (node.kind === "sequence") {
    const sequence = new YAMLSeq();
    sequence.items = node.items.map(toYaml);
    return sequence;
  }
  const map = new YAMLMap();
  map.items = node.entries.map((entry) => {
    // Docker substitutes in values only: a key keeps its `$`.
    return new Pair(yamlScalar(entry.key, entry.key.text), toYaml(entry.value));
  });
  return map;
}

function yamlScalar(node: Scalar, text: string): YamlScalar {
  const made = new YamlScalar(text);
  made.type = node.plain && !FOREIGN.test(text) ? "PLAIN" : "QUOTE_DOUBLE"; // Only double quotes know escapes.
  if (node.tag !== undefined) made.tag = node.tag;
  if (node.comment !== undefined) made.comment = ` ${node.comment}`;
  return made;
}
