import { createHash, createHmac } from "node:crypto";
import { type Place, type Problem } from "../errors.ts";
import { type Lookup } from "./interpolate.ts";
import { type Mapping, type Node, entriesOf, get, isNull, mapping, scalar, set, textOf } from "./tree.ts";

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
 * `<stack>_<key>_<first 12 of the digest>`. A name that would be too long keeps its start and gains a digest of what was cut.
 * With a naming key the digest is keyed (HMAC): the name of a secret must not help to guess its value.
 */
export function versionedName(stack: string, key: string, bytes: Uint8Array, namingKey?: Uint8Array): string {
  const whole =
    namingKey === undefined ? sha256(bytes) : createHmac("sha256", namingKey).update(bytes).digest("hex");
  const digest = whole.slice(0, 12);
  const head = `${stack}_${key}`;
  const room = NAME_LIMIT - digest.length - 1;
  const fitting =
    head.length <= room ? head : `${head.slice(0, room - 9)}_${sha256(Buffer.from(head)).slice(0, 8)}`;
  return `${fitting}_${digest}`;
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** What the env file fills: the key asked for, under configs or secrets, else the config mounted at a path that ends in its name. */
export function envConfigKey(
  root: Mapping,
  envFile: string,
  asked: string | undefined,
): { kind: Kind; key: string } | { problem: Problem } {
  const keys = entriesOf(get(root, "configs")).map((entry) => entry.key.text);
  const secrets = entriesOf(get(root, "secrets")).map((entry) => entry.key.text);
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
    mounts(root)
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
      const source = textOf(item) ?? textOf(get(item, "source"));
      return source === undefined ? [] : [{ source, target: textOf(get(item, "target")) ?? `/${source}` }];
    });
  });
}

export interface ObjectSources {
  readonly stack: string;
  /** Makes the digests in the names of secrets. */
  readonly namingKey: Uint8Array;
  readonly env: { readonly kind: Kind; readonly key: string; readonly file: EnvFile } | undefined;
  readonly lookup: Lookup;
  /** Reads a file relative to the stack file; undefined where there is none. */
  readonly read: (path: string) => Uint8Array | undefined;
}

/** Gives every config and secret with content of ours its versioned name, and points the file's key at it. External ones stay untouched. */
export function versionObjects(
  root: Mapping,
  sources: ObjectSources,
): { objects: VersionedObject[]; problems: Problem[] } {
  const objects: VersionedObject[] = [];
  const problems: Problem[] = [];
  for (const kind of ["config", "secret"] as const) {
    for (const entry of entriesOf(get(root, `${kind}s`))) {
      const key = entry.key.text;
      const content = contentOf(kind, key, entry.value, sources);
      if (content === undefined) continue;
      const problem = "problem" in content ? content.problem : refusal(kind, content, entry.key.place);
      if ("problem" in content || problem !== undefined) {
        if (problem !== undefined) problems.push(problem);
        continue;
      }
      const name = versionedName(
        sources.stack,
        key,
        content.bytes,
        kind === "secret" ? sources.namingKey : undefined,
      );
      const templateDriver = textOf(get(entry.value, "template_driver"));
      objects.push({ kind, key, name, bytes: content.bytes, labels: labelsOf(entry.value), templateDriver });
      entry.value = external(name, entry.key.place);
    }
  }
  return { objects, problems };
}

function refusal(
  kind: Kind,
  { bytes, what }: { bytes: Uint8Array; what: string },
  place: Place,
): Problem | undefined {
  const why = refusedBySwarm(bytes.byteLength, kind);
  return why === undefined ? undefined : { message: `${what} ${why}.`, place };
}

type Content = { bytes: Uint8Array; what: string } | { problem: Problem } | undefined;

function contentOf(kind: Kind, key: string, definition: Node, sources: ObjectSources): Content {
  const whose = `of ${kind} ${key}`;
  if (sources.env?.key === key && sources.env.kind === kind)
    return { bytes: sources.env.file.bytes, what: `The env file ${sources.env.file.path}` };
  const file = get(definition, "file");
  const path = textOf(file);
  if (file !== undefined && path !== undefined) {
    const bytes = sources.read(path);
    const problem = { message: `The file "${path}" ${whose} can't be read.`, place: file.place };
    return bytes === undefined ? { problem } : { bytes, what: `The file "${path}" ${whose}` };
  }
  const content = get(definition, "content");
  if (content?.kind === "scalar" && !isNull(content))
    return { bytes: Buffer.from(content.text), what: `The content ${whose}` };
  const environment = get(definition, "environment");
  const variable = textOf(environment);
  if (environment === undefined || variable === undefined) return undefined;
  const value = sources.lookup(variable);
  const problem = {
    message: `The variable ${variable} ${whose} is not defined.`,
    place: environment.place,
  };
  return value === undefined
    ? { problem }
    : { bytes: Buffer.from(value), what: `The variable ${variable} ${whose}` };
}

function labelsOf(definition: Node): Map<string, string> {
  const labels = get(definition, "labels");
  const pairs = entriesOf(labels).map((entry): [string, string] => [
    entry.key.text,
    textOf(entry.value) ?? "",
  ]);
  const lines = labels?.kind === "sequence" ? labels.items.map((item) => textOf(item) ?? "") : [];
  return new Map([
    ...pairs,
    ...lines.map((line): [string, string] => [line.split("=")[0] ?? "", line.split("=").slice(1).join("=")]),
  ]);
}

function external(name: string, place: Place): Mapping {
  const made = mapping(place);
  set(made, "external", scalar("true", place, "plain"));
  set(made, "name", scalar(name, place), "versioned by content");
  return made;
}
