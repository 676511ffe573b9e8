import { createHash, createHmac } from "node:crypto";
import { type Place, type Problem } from "../errors.ts";
import { asText } from "./readings.ts";
import { sourceOf } from "./references.ts";
import { type Findings, type Scope, undefinedVariable } from "./template.ts";
import { isAssumed } from "./withheld.ts";
import {
  type Entry,
  type Mapping,
  type Node,
  entriesOf,
  get,
  isNull,
  mapping,
  ours,
  set,
  textOf,
} from "./tree.ts";

export type Kind = "config" | "secret";

/** A docker config or secret named after its content, because Swarm's can't change: new content must mean a new name. */
export interface VersionedObject {
  readonly kind: Kind;
  /** Its key under `configs:` or `secrets:`. */
  readonly key: string;
  /** Its name on the swarm. */
  readonly name: string;
  readonly bytes: Uint8Array;
  /** The labels that the stack file itself gives it. */
  readonly labels: ReadonlyMap<string, string>;
  /** `template_driver`, where the file has one. */
  readonly templateDriver: string | undefined;
}

export interface EnvFile {
  /** As the workflow wrote it. */
  readonly path: string;
  readonly bytes: Uint8Array;
}

/** Swarm's own limits: "config data must be larger than 0 and less than 1024000 bytes", and half of that for a secret. */
const LIMIT: Readonly<Record<Kind, number>> = { config: 1_024_000, secret: 512_000 };
/** Swarm's own limit for the name of either. */
const NAME_LIMIT = 64;

/** Why Swarm would refuse these bytes, or undefined. */
export function refusedBySwarm(size: number, kind: Kind = "config"): string | undefined {
  if (size === 0) return `is empty, and Swarm keeps no empty ${kind}`;
  return size < LIMIT[kind]
    ? undefined
    : `has ${size} bytes, and Swarm's ${kind}s must be smaller than ${LIMIT[kind]}`;
}

/**
 * `<stack>_<key>_<first 12 of the digest>`. A name that would be too long keeps its start and gains a digest of what was cut; so does
 * one that another stack has (`a_b` with key `c`, `a` with key `b_c`). With a naming key the digest is keyed (HMAC): the name of a
 * secret must not help to guess its value.
 */
export function versionedName(
  stack: string,
  key: string,
  bytes: Uint8Array,
  namingKey?: Uint8Array,
  taken: (name: string) => boolean = () => false,
): string {
  const whole =
    namingKey === undefined ? sha256(bytes) : createHmac("sha256", namingKey).update(bytes).digest("hex");
  const digest = whole.slice(0, 12);
  const head = `${stack}_${key}`;
  const room = NAME_LIMIT - digest.length - 1;
  const name = `${head}_${digest}`;
  if (head.length <= room && !taken(name)) return name;
  return `${cut(head, room, `${stack}\0${key}`)}_${digest}`;
}

/** The name of an object of ours that is not named after its content: one that would be too long is cut. */
export function fixedName(name: string): string {
  return name.length <= NAME_LIMIT ? name : cut(name, NAME_LIMIT, name);
}

/** The start of a name and a digest of what it stands for, `room` characters in all. */
function cut(head: string, room: number, identity: string): string {
  const own = sha256(Buffer.from(identity)).slice(0, 8);
  return `${head.slice(0, room - own.length - 1)}_${own}`;
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** What the env file fills: the key asked for, under configs or secrets, else the config mounted at a path that ends in its name. */
export function envConfigKey(
  roots: readonly Mapping[],
  envFile: string,
  asked: string | undefined,
): { kind: Kind; key: string } | { problem: Problem } {
  const keysOf = (section: string): string[] => [
    ...new Set(roots.flatMap((root) => entriesOf(get(root, section)).map((entry) => entry.key.text))),
  ];
  const keys = keysOf("configs");
  const secrets = keysOf("secrets");
  const known = [listing("configs", keys), secrets.length > 0 ? listing("secrets", secrets) : ""]
    .join(" ")
    .trim();
  if (asked !== undefined) {
    if (keys.includes(asked)) return { kind: "config", key: asked };
    if (secrets.includes(asked)) return { kind: "secret", key: asked };
    return {
      problem: { message: `"env-config" is "${asked}", which is no key under configs or secrets. ${known}` },
    };
  }
  const name = envFile.split("/").pop() ?? envFile;
  const mounted = new Set(
    roots
      .flatMap(mounts)
      .filter((mount) => mount.target.split("/").pop() === name)
      .map((mount) => mount.source),
  );
  const [key] = mounted;
  if (mounted.size === 1 && key !== undefined && keys.includes(key)) return { kind: "config", key };
  const what = mounted.size > 1 ? `Several configs (${[...mounted].join(", ")}) are` : "No config is";
  return {
    problem: {
      message: `${what} mounted at a path that ends in "${name}". ${known}`,
      hint: 'Say with "env-config" which key the env file fills.',
    },
  };
}

function listing(kind: string, keys: readonly string[]): string {
  return keys.length === 0
    ? `The stack file has no ${kind}.`
    : `The stack file has the ${kind} ${keys.join(", ")}.`;
}

function mounts(root: Mapping): { source: string; target: string }[] {
  return entriesOf(get(root, "services")).flatMap((service) => {
    const configs = get(service.value, "configs");
    if (configs?.kind !== "sequence") return [];
    return configs.items.flatMap((item) => {
      const source = sourceOf(item);
      return source === undefined ? [] : [{ source, target: textOf(get(item, "target")) ?? `/${source}` }];
    });
  });
}

export interface ObjectSources {
  readonly stack: string;
  /** Makes the digests in the names of secrets. */
  readonly namingKey: Uint8Array;
  /** Whether another stack has an object of this name. */
  readonly taken: (kind: Kind, name: string) => boolean;
  readonly env: { readonly kind: Kind; readonly key: string; readonly file: EnvFile } | undefined;
  readonly scope: Scope;
  /** Reads a file relative to the stack file; undefined where there is none. */
  readonly read: (path: string) => Uint8Array | undefined;
}

/** Gives every config and secret with content of ours its versioned name, and points the file's key at it. External ones stay untouched. */
export function versionObjects(root: Mapping, sources: ObjectSources, findings: Findings): VersionedObject[] {
  const { problems, warnings } = findings;
  const objects: VersionedObject[] = [];
  for (const kind of ["config", "secret"] as const) {
    for (const entry of entriesOf(get(root, `${kind}s`))) {
      const found = contentOf(kind, entry, sources);
      if (found.kind === "problem") problems.push(found.problem);
      if (found.kind !== "content") continue;
      const why = refusedBySwarm(found.bytes.byteLength, kind);
      if (why !== undefined) {
        problems.push({ message: `${found.what} ${why}.`, place: entry.key.place });
        continue;
      }
      warnings.push(...unheeded(kind, entry));
      objects.push(versioned(kind, entry, found.bytes, sources));
    }
  }
  return objects;
}

function versioned(kind: Kind, entry: Entry, bytes: Uint8Array, sources: ObjectSources): VersionedObject {
  const key = entry.key.text;
  const namingKey = kind === "secret" ? sources.namingKey : undefined;
  const name = versionedName(sources.stack, key, bytes, namingKey, (each) => sources.taken(kind, each));
  const templateDriver = textOf(get(entry.value, "template_driver"));
  const labels = labelsOf(entry.value);
  entry.value = external(name, entry);
  return { kind, key, name, bytes, labels, templateDriver };
}

/** Where content may come from, by Compose and docker. */
export const SOURCES = ["file", "content", "environment"] as const;

type Found =
  | { readonly kind: "content"; readonly bytes: Uint8Array; readonly what: string }
  | { readonly kind: "problem"; readonly problem: Problem }
  /** Nothing for us to do: it exists already, or docker makes it, or refuses it. */
  | { readonly kind: "none" };

function contentOf(kind: Kind, { key, value }: Entry, sources: ObjectSources): Found {
  const whose = `of ${kind} ${key.text}`;
  const { env } = sources;
  if (env?.key === key.text && env.kind === kind)
    return { kind: "content", bytes: env.file.bytes, what: `The env file ${env.file.path}` };
  if (isExternal(value) || value.kind !== "mapping" || get(value, "driver") !== undefined)
    return { kind: "none" };
  const given = value.entries.filter((each) => SOURCES.some((source) => source === each.key.text));
  const [source, second] = given;
  if (source === undefined) {
    const message = `The ${kind} ${key.text} has no content: neither ${SOURCES.join(", ")} nor external: true.`;
    return { kind: "problem", problem: { message, place: key.place } };
  }
  if (second !== undefined) {
    const message = `The ${kind} ${key.text} has both ${source.key.text} and ${second.key.text}.`;
    return { kind: "problem", problem: { message, place: second.key.place } };
  }
  const { place } = source.value;
  const whole = isAssumed(source.value);
  if (source.value.kind === "scalar" && source.value.unresolved === true && !whole) return { kind: "none" };
  const text = source.value.kind === "scalar" && !isNull(source.value) ? source.value.text : undefined;
  if (text === undefined) {
    const message = `${source.key.text} ${whose} must be text.`;
    return { kind: "problem", problem: { message, place } };
  }
  // Where not even its name is known, something stands in for the content.
  const reader = whole ? "content" : (source.key.text as (typeof SOURCES)[number]);
  return READERS[reader](text, whose, place, { ...sources, read: (path) => fileOf(kind, path, sources) });
}

/** A secret's file is one that the workflow writes; a config's belongs to the repository, though its content may be written there. */
function fileOf(kind: Kind, path: string, { read, scope }: ObjectSources): Uint8Array | undefined {
  const bytes = read(path);
  return bytes === undefined && kind === "config" ? undefined : scope.standIns.forFile(path, bytes);
}

type Reader = (text: string, whose: string, place: Place, sources: ObjectSources) => Found;

/** The content, or why there is none. */
const READERS: Readonly<Record<(typeof SOURCES)[number], Reader>> = {
  file: (path, whose, place, { read }) => {
    const bytes = read(path);
    if (bytes !== undefined) return { kind: "content", bytes, what: `The file "${path}" ${whose}` };
    const message = `The file "${path}" ${whose} can't be read.`;
    const hint = "It must be a file; its path starts at the folder of the first stack file.";
    return { kind: "problem", problem: { message, place, hint } };
  },
  content: (text, whose) => ({ kind: "content", bytes: Buffer.from(text), what: `The content ${whose}` }),
  environment: (name, whose, place, { scope }) => {
    const value = scope.lookup(name) ?? scope.standIns.forName(name);
    if (value !== undefined)
      return { kind: "content", bytes: Buffer.from(value), what: `The variable ${name} ${whose}` };
    const otherwise = `The content ${whose} comes from it: give it in "variables" or "secrets".`;
    return { kind: "problem", problem: undefinedVariable(name, place, scope, otherwise) };
  },
};

/** Whether a definition names something that exists already, on the swarm or a node. */
export function isExternal(definition: Node | undefined): boolean {
  const says = get(definition, "external");
  return says !== undefined && !isNull(says) && !/^false$/i.test(textOf(says) ?? "");
}

/** What the swarm or a node calls an external definition. */
export function externalName(key: string, definition: Node | undefined): string {
  return textOf(get(definition, "name")) ?? textOf(get(definition, "external", "name")) ?? key;
}

/** What has no meaning beside content that is versioned: a name, and options for a driver that is not there. */
function unheeded(kind: Kind, { key, value }: Entry): Problem[] {
  const warnings: Problem[] = [];
  const name = get(value, "name");
  if (name !== undefined && !isNull(name) && !isExternal(value)) {
    const message = `The ${kind} ${key.text} is named after its content, so the name given here is left out.`;
    warnings.push({ message, place: name.place });
  }
  const options = kind === "secret" ? get(value, "driver_opts") : undefined;
  if (options !== undefined) {
    const message = `The secret ${key.text} has no driver, so its driver_opts are left out.`;
    warnings.push({ message, place: options.place });
  }
  return warnings;
}

function labelsOf(definition: Node): Map<string, string> {
  const labels = get(definition, "labels");
  if (labels?.kind !== "sequence")
    return new Map(entriesOf(labels).map(({ key, value }) => [key.text, asText(value) ?? ""]));
  const lines = labels.items.map((item) => (textOf(item) ?? "").split("="));
  return new Map(lines.map(([name = "", ...value]) => [name, value.join("=")]));
}

/** What of a definition is ours to see to, once its content is read. */
const SEEN_TO: ReadonlySet<string> = new Set([...SOURCES, "name", "external", "driver_opts"]);

/** Beside `external` docker heeds nothing else, but goes on checking it: a misspelt key, a label that can't be one. */
function external(name: string, { key, value }: Entry): Mapping {
  const comment = "versioned by content";
  const made = mapping(key.place);
  set(made, "external", ours("true", key.place, comment, "plain"));
  set(made, "name", ours(name, key.place, comment));
  return mapping(key.place, [
    ...made.entries,
    ...entriesOf(value).filter((entry) => !SEEN_TO.has(entry.key.text)),
  ]);
}
