import { type Random } from "./random.ts";

/** A YAML document that is still to be spelled. A text can be written in any style that keeps it; `raw` is written as it stands. */
export type Tree = string | number | boolean | null | Raw | Anchored | readonly Tree[] | TreeMap;

export interface TreeMap {
  readonly [key: string]: Tree | undefined;
}

class Raw {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

class Anchored {
  readonly name: string;
  readonly tree: Tree;
  constructor(name: string, tree: Tree) {
    this.name = name;
    this.tree = tree;
  }
}

/** Spelled exactly so: `0440`, `yes`, `!!str 12`. */
export function raw(text: string): Tree {
  return new Raw(text);
}

export function alias(name: string): Tree {
  return new Raw(`*${name}`);
}

export function anchored(name: string, tree: Tree): Tree {
  return new Anchored(name, tree);
}

function isMap(tree: Tree): tree is TreeMap {
  return (
    typeof tree === "object" &&
    tree !== null &&
    !Array.isArray(tree) &&
    !(tree instanceof Raw) &&
    !(tree instanceof Anchored)
  );
}

function isList(tree: Tree): tree is readonly Tree[] {
  return Array.isArray(tree);
}

/** How one file is laid out. */
interface Layout {
  readonly random: Random;
  readonly step: number;
  /** Whether the items of a list stand deeper than its key. */
  readonly deepLists: boolean;
  readonly comments: boolean;
  readonly flow: number;
}

/** Spells the whole document, in styles of the random choice. */
export function spell(tree: TreeMap, random: Random): string {
  const layout: Layout = {
    random,
    step: random.pick([2, 2, 2, 4]),
    deepLists: random.chance(0.7),
    comments: random.chance(0.3),
    flow: random.pick([0.05, 0.2, 0.5]),
  };
  const head = random.pick(["", "", "", "", "---\n", "# A stack.\n", "%YAML 1.1\n---\n"]);
  const text = `${head}${blockMap(tree, 0, layout).join("\n")}\n`;
  const tail = random.pick(["", "", "", "\n\n", "...\n", "# The end."]);
  // A "\r" of a text is always escaped, so these are line ends only.
  return random.chance(0.04) ? `${text}${tail}`.replaceAll("\n", "\r\n") : `${text}${tail}`;
}

function blockMap(map: TreeMap, indent: number, layout: Layout): string[] {
  const pad = " ".repeat(indent);
  return Object.entries(map).flatMap(([key, value]) => {
    if (value === undefined) return [];
    const [first = "", ...rest] = behind(value, indent, layout, true);
    const spelledKey = spellKey(key, layout.random);
    return [...comment(pad, layout), `${pad}${spelledKey}:${first === "" ? "" : ` ${first}`}`, ...rest];
  });
}

function blockList(list: readonly Tree[], indent: number, layout: Layout): string[] {
  const pad = " ".repeat(indent);
  return list.flatMap((item) => {
    if (isMap(item) && !isEmpty(item) && !goesInFlow(item, layout)) {
      // The first key stands behind the dash.
      const [first = "", ...rest] = blockMap(item, indent + 2, { ...layout, comments: false });
      return [`${pad}- ${first.trimStart()}`, ...rest];
    }
    const [first = "", ...rest] = behind(item, indent, layout, false);
    return [...comment(pad, layout), `${pad}-${first === "" ? "" : ` ${first}`}`, ...rest];
  });
}

/** What stands behind a key or a dash, and the lines below it. */
function behind(tree: Tree, indent: number, layout: Layout, behindKey: boolean): string[] {
  if (tree instanceof Anchored) {
    const [first = "", ...rest] = behind(tree.tree, indent, layout, behindKey);
    return [`&${tree.name}${first === "" ? "" : ` ${first}`}`, ...rest];
  }
  if (isMap(tree)) {
    if (isEmpty(tree)) return ["{}"];
    if (goesInFlow(tree, layout)) return [flow(tree, layout.random)];
    return ["", ...blockMap(tree, indent + layout.step, layout)];
  }
  if (isList(tree)) {
    if (tree.length === 0) return ["[]"];
    if (goesInFlow(tree, layout)) return [flow(tree, layout.random)];
    return ["", ...blockList(tree, behindKey && !layout.deepLists ? indent : indent + layout.step, layout)];
  }
  const spelled =
    typeof tree === "string" ? spellText(tree, indent, layout.random) : [bare(tree, layout.random)];
  const trailing = layout.comments && spelled.length === 1 && spelled[0] !== "" && layout.random.chance(0.05);
  return trailing ? [`${spelled[0] ?? ""} # ${layout.random.pick(COMMENTS)}`] : spelled;
}

const COMMENTS = ["why: $NOT_A_VARIABLE", "${", "see the wiki", "- old: value", "🐳 'quotes\"", "*a &b"];

function comment(pad: string, { comments, random }: Layout): string[] {
  return comments && random.chance(0.06) ? [`${pad}# ${random.pick(COMMENTS)}`] : [];
}

function isEmpty(map: TreeMap): boolean {
  return Object.values(map).every((value) => value === undefined);
}

function goesInFlow(tree: Tree, layout: Layout): boolean {
  return layout.random.chance(layout.flow) && weight(tree) < 16;
}

const TOO_HEAVY = 100;

/** Raw spellings that mean the same between brackets. */
const FLOWS = /^(\*\w+|!!\w+ [\w"-]+|[\w+.~][\w+.#=~-]*(:[\w]+)*)$/;

function weight(tree: Tree): number {
  if (tree instanceof Anchored) return weight(tree.tree);
  if (isList(tree)) return tree.reduce<number>((sum, item) => sum + weight(item), 1);
  if (isMap(tree))
    return Object.values(tree).reduce<number>(
      (sum, each) => sum + (each === undefined ? 0 : weight(each)),
      1,
    );
  if (tree instanceof Raw) return FLOWS.test(tree.text) ? 1 : TOO_HEAVY;
  return typeof tree === "string" && tree.length > 200 ? TOO_HEAVY : 1;
}

function flow(tree: Tree, random: Random): string {
  if (tree instanceof Anchored) return `&${tree.name} ${flow(tree.tree, random)}`;
  if (isList(tree)) return `[${tree.map((item) => flow(item, random)).join(", ")}]`;
  if (isMap(tree)) {
    const entries = Object.entries(tree).flatMap(([key, value]) =>
      value === undefined ? [] : [`${spellKey(key, random)}: ${flow(value, random)}`],
    );
    return random.chance(0.5) ? `{${entries.join(", ")}}` : `{ ${entries.join(", ")} }`;
  }
  if (typeof tree !== "string") return tree === null ? "null" : bare(tree, random);
  const fits = PLAIN.test(tree) && !/[{}[\],?]/.test(tree) && !WORDS.test(tree);
  return random.pick([...(fits ? [tree] : []), ...quoted(tree, random)]);
}

function bare(tree: Raw | number | boolean | null, random: Random): string {
  if (tree instanceof Raw) return tree.text;
  return tree === null ? random.pick(["", "~", "null"]) : String(tree);
}

/** A text that every YAML reads as that text when it stands without quotes. Narrow on purpose: odd spellings come as `raw`. */
const PLAIN = /^(?!.*(: | #|:$| $))[A-Za-z_/$](?:[\w ./$@+=%(){}[\],:?!;*&^|~<>"'\\#-]*)$/;
const WORDS = /^(true|false|null|y|n|yes|no|on|off)$/i;

function spellKey(key: string, random: Random): string {
  if (key === "<<") return key;
  const plain = /^[A-Za-z_/][\w./-]*$/.test(key) && !WORDS.test(key);
  const styles = plain ? [key, key, key, key, JSON.stringify(key)] : [JSON.stringify(key)];
  if (!/[^ -~]/.test(key)) styles.push(`'${key.replaceAll("'", "''")}'`);
  return plain && random.chance(0.9) ? key : random.pick(styles);
}

/** What a text's lines may hold where they are not escaped. */
const PRINTABLE = /^[\t\n -~\u00a0-\u1fff\u2030-\ud7ff\ue000-\ufefe\u{10000}-\u{10ffff}]*$/u;

function quoted(text: string, random: Random): string[] {
  const styles = [doubleQuoted(text, random)];
  if (PRINTABLE.test(text) && !text.includes("\n")) styles.push(`'${text.replaceAll("'", "''")}'`);
  return styles;
}

function spellText(text: string, indent: number, random: Random): string[] {
  const styles: string[][] = quoted(text, random).map((style) => [style]);
  if (PLAIN.test(text) && !WORDS.test(text)) {
    styles.push([text], [text], [text]);
    if (/\S \S/.test(text)) styles.push(foldedPlain(text, indent));
  }
  const pad = " ".repeat(indent + random.pick([1, 2, 2, 2, 4]));
  if (PRINTABLE.test(text) && /[^\s]/.test(text) && !/^\s/.test(text)) {
    const literal = [
      `|${chomping(text, random)}`,
      ...lines(text).map((line) => (line === "" ? "" : pad + line)),
    ];
    styles.push(literal);
    if (text.includes("\n")) styles.push(literal, literal);
    const foldable = !/\n[ \t]|[ \t]\n|[ \t]$/.test(text);
    if (foldable)
      styles.push([
        `>${chomping(text, random)}`,
        ...folded(text, random).map((line) => (line === "" ? "" : pad + line)),
      ]);
  }
  return random.pick(styles);
}

function doubleQuoted(text: string, random: Random): string {
  const everyChar = random.chance(0.03);
  const escaped = Array.from(text, (char) => {
    const code = char.codePointAt(0) ?? 0;
    const short = SHORT[char];
    if (short !== undefined) return short;
    const must = !PRINTABLE.test(char);
    if (!must && !(everyChar && random.chance(0.2))) return char;
    if (code <= 0xff) return `\\x${code.toString(16).padStart(2, "0")}`;
    if (code <= 0xffff) return `\\u${code.toString(16).padStart(4, "0")}`;
    return `\\U${code.toString(16).padStart(8, "0")}`;
  });
  return `"${escaped.join("")}"`;
}

const SHORT: Readonly<Record<string, string>> = {
  '"': '\\"',
  "\\": "\\\\",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\u0085": "\\N",
  "\u2028": "\\L",
};

function chomping(text: string, random: Random): string {
  if (!text.endsWith("\n")) return "-";
  return text.endsWith("\n\n") ? "+" : random.pick(["", "", "+"]);
}

/** Without the text's last line end, which the chomping says. */
function lines(text: string): string[] {
  return (text.endsWith("\n") ? text.slice(0, -1) : text).split("\n");
}

/** One more line end for each that is meant, and some blanks that become one. */
function folded(text: string, random: Random): string[] {
  const body = text.replace(/\n+$/, "");
  const end = text.length - body.length;
  const broken = body
    .replaceAll(/\n+/g, (run) => `${run}\n`)
    .replaceAll(/(?<=\S) (?=\S)/g, () => (random.chance(0.3) ? "\n" : " "));
  return [...broken.split("\n"), ...Array.from({ length: Math.max(end - 1, 0) }, () => "")];
}

function foldedPlain(text: string, indent: number): string[] {
  const at = text.search(/(?<=\S) (?=[\w/])/);
  return at === -1 ? [text] : [text.slice(0, at), " ".repeat(indent + 3) + text.slice(at + 1)];
}
