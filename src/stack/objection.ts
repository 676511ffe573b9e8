import { type Place, type Problem } from "../errors.ts";
import { nearest } from "./interpolate.ts";
import { type Entry, type Mapping, type Node, type Scalar, entriesOf, get, scalarsOf } from "./tree.ts";

const UNKNOWN = /^(\S+) Additional property (.+) is not allowed$/;

/** Docker's own objection to a stack file, at the place in the user's file that it speaks of. */
export function objection(reason: string, root: Mapping): Problem {
  const key = /unsupported type: map\[interface|[Nn]on-string key/.test(reason) ? otherKey(root) : undefined;
  if (key !== undefined)
    return {
      message: `YAML does not read the key ${key.text} as text.`,
      hint: "Quote it.",
      place: key.place,
    };
  const unknown = UNKNOWN.exec(reason);
  const [, , property = ""] = unknown ?? [];
  const meant = unknown === null ? undefined : nearest(property, KNOWN_KEYS);
  return {
    message: `Docker refuses the stack file: ${repeatable(reason, root).replace(/\.$/, "")}.`,
    place: placeOf(reason, root),
    ...(meant === undefined || meant === property ? {} : { hint: `Did you mean ${meant}?` }),
  };
}

/** Docker quotes parts of values, in spellings of its own. Of a value that came from a variable they may be parts of a secret. */
function repeatable(reason: string, root: Mapping): string {
  const scalars = scalarsOf(root);
  const written = new Set(scalars.filter((each) => each.substituted !== true).map(({ text }) => text));
  const inserted = scalars.filter((each) => each.substituted === true).map(({ text }) => text.toLowerCase());
  return reason.replace(/(["'])((?:\\.|(?!\1).)+)\1/g, (whole, _quote, inner: string) => {
    if (written.has(inner)) return whole;
    const part = inner.length > 2 && inserted.some((text) => text.includes(inner.toLowerCase()));
    return part || (inner.includes("\\") && inserted.length > 0) ? "…" : whole;
  });
}

function placeOf(reason: string, root: Mapping): Place {
  const unknown = UNKNOWN.exec(reason);
  if (unknown !== null) {
    const [, path = "", property = ""] = unknown;
    const parent = path === "(root)" ? root : follow(root, path);
    return entryOf(parent, property)?.key.place ?? (parent ?? root).place;
  }
  if (/Compose file version/.test(reason)) return (get(root, "version") ?? root).place;
  if (/unsupported value: ([-+]Inf|NaN)/.test(reason))
    return (scalarsOf(root).find(({ plain, text }) => plain && /^([-+]?\.inf|\.nan)$/i.test(text)) ?? root)
      .place;
  const [, path] = /^((?:services|networks|volumes|configs|secrets)(?:\.\S+)?) /.exec(reason) ?? [];
  if (path !== undefined) return (follow(root, path) ?? root).place;
  return (decoded(reason, root) ?? named(reason, root) ?? quoted(reason, root))?.place ?? root.place;
}

/** What docker's YAML takes for null, a boolean, a number or a date. */
const OTHER_THAN_TEXT =
  /^(~|null|Null|NULL|true|True|TRUE|false|False|FALSE|[-+]?(\d[\d_]*(\.[\d_]*)?|\.\d+)(e[-+]?\d+)?|0[xob][\da-f_]+|[-+]?\.(inf|nan)|\d{4}-\d\d?-\d\d?.*|)$/i;

/** The first key that is no text to docker, which it refuses without saying which. */
function otherKey(root: Mapping): Scalar | undefined {
  return keysOf(root).find(
    ({ plain, tag, text }) => plain && tag === undefined && OTHER_THAN_TEXT.test(text),
  );
}

/** In the order of the file. */
function keysOf(node: Node): Scalar[] {
  if (node.kind === "scalar") return [];
  if (node.kind === "sequence") return node.items.flatMap(keysOf);
  return node.entries.flatMap(({ key, value }) => [key, ...keysOf(value)]);
}

/** As deep into the tree as a dotted path leads; a key may have dots of its own. */
function follow(root: Mapping, path: string): Node | undefined {
  let node: Node = root;
  let rest = path;
  while (rest !== "") {
    const step: { node: Node; length: number } | undefined =
      node.kind === "sequence" ? itemAt(node.items, rest) : valueAt(entriesOf(node), rest);
    if (step === undefined) return node;
    node = step.node;
    rest = rest.slice(step.length + 1);
  }
  return node;
}

function itemAt(items: readonly Node[], path: string): { node: Node; length: number } | undefined {
  const index = /^\d+/.exec(path)?.[0] ?? "";
  const node = items[Number(index)];
  return index === "" || node === undefined ? undefined : { node, length: index.length };
}

function valueAt(entries: readonly Entry[], path: string): { node: Node; length: number } | undefined {
  const [entry] = entries
    .filter(({ key }) => path === key.text || path.startsWith(`${key.text}.`))
    .toSorted((a, b) => b.key.text.length - a.key.text.length);
  return entry === undefined ? undefined : { node: entry.value, length: entry.key.text.length };
}

function entryOf(node: Node | undefined, key: string): Entry | undefined {
  return entriesOf(node).find((entry) => entry.key.text === key);
}

/** `error decoding 'Deploy.Resources.Limits.memory'` names Go's fields, and no service. */
function decoded(reason: string, root: Mapping): Node | undefined {
  const fields =
    /(?:decoding|parse) '([\w.[\]]+)'/
      .exec(reason)?.[1]
      ?.split(/[.[\]]+/)
      .filter(Boolean) ?? [];
  if (fields.length === 0) return undefined;
  const found = entriesOf(get(root, "services")).flatMap(({ value }) => {
    let node: Node | undefined = value;
    for (const field of fields) {
      node =
        node?.kind === "sequence"
          ? node.items[Number(field)]
          : entriesOf(node).find(({ key }) => goName(key.text) === goName(field))?.value;
    }
    return node === undefined ? [] : [node];
  });
  const [only, another] = found;
  return another === undefined ? only : culprit(reason, found);
}

/** Of several values of one field: the one that docker repeats, or that has the fault which it speaks of. */
function culprit(reason: string, nodes: readonly Node[]): Node | undefined {
  const suffix = /invalid suffix: '([^']+)'/.exec(reason)?.[1];
  const hasFault = ({ text }: Scalar): boolean =>
    suffix === undefined
      ? /closing quote/.test(reason) && hasOpenQuote(text)
      : text.toLowerCase().endsWith(suffix.toLowerCase());
  const scalars = nodes.filter((node) => node.kind === "scalar");
  return scalars.find(hasFault) ?? scalars.find(({ text }) => text !== "" && saysWhole(reason, text));
}

/** "-1" does not say 1. */
function saysWhole(reason: string, text: string): boolean {
  for (let at = reason.indexOf(text); at !== -1; at = reason.indexOf(text, at + 1))
    if (!/[\w.+-]$/.test(reason.slice(0, at)) && !/^[\w+-]/.test(reason.slice(at + text.length))) return true;
  return false;
}

/** As a shell would find it. */
function hasOpenQuote(command: string): boolean {
  return /["']/.test(command.replace(/\\.|'[^']*'|"(?:[^"\\]|\\.)*"/gs, ""));
}

function goName(key: string): string {
  return key.replaceAll("_", "").toLowerCase();
}

/** `service web: …`, `volume "data" …`: the key, and within it the value that is quoted. */
function named(reason: string, root: Mapping): Node | undefined {
  const [, kind = "", name = ""] =
    /\b(service|network|volume|config|secret) "?([\w.-]+?)"?(?::|$| is )/.exec(reason) ?? [];
  const entry = entryOf(get(root, `${kind}s`), name);
  return entry === undefined ? undefined : (quoted(reason, entry.value) ?? entry.key);
}

/** The longest value that the objection repeats. */
function quoted(reason: string, node: Node): Node | undefined {
  const words = new Set(reason.split(/[\s"':;,]+/));
  const found = scalarsOf(node)
    .filter(({ text }) => text.length > 1 && (words.has(text) || (text.length > 5 && reason.includes(text))))
    .toSorted((a, b) => b.text.length - a.text.length);
  return found[0];
}

/** The keys of docker's schema (3.13), for suggestions only: docker itself decides what it takes. */
const KNOWN_KEYS = `version services networks volumes secrets configs
  cap_add cap_drop command configs credential_spec deploy dns dns_search entrypoint env_file environment extra_hosts healthcheck hostname
  image init isolation labels logging networks oom_score_adj ports read_only restart secrets stdin_open stop_grace_period stop_signal
  sysctls tty ulimits user volumes working_dir
  mode endpoint_mode replicas rollback_config update_config resources restart_policy placement parallelism delay failure_action monitor
  max_failure_ratio order limits reservations cpus memory pids generic_resources condition max_attempts window constraints preferences
  max_replicas_per_node disable interval retries test timeout start_period start_interval driver options target published protocol source
  type bind volume tmpfs consistency propagation nocopy aliases external name file attachable internal driver_opts ipam template_driver`.split(
  /\s+/,
);
