import { type Json, type JsonObject, at, isObject, listAt, numberAt, objectAt, textAt } from "../json.ts";
import { fixedName } from "../stack/configs.ts";
import { LABEL_PREFIX, MANAGED_LABEL, STACK_LABEL } from "../stack/defaults.ts";
import { type NewObject } from "../swarm.ts";
import { type Release, ownLabel } from "./release.ts";

/** Where a release is kept: in one docker config, or in several parts. */
export interface StoredRecord {
  readonly number: number;
  readonly parts: readonly RecordPart[];
}

interface RecordPart {
  readonly id: string;
  readonly name: string;
  /** From 1. */
  readonly index: number;
  readonly count: number;
  readonly bytes: Uint8Array;
}

/** Of the JSON inside; a reader leaves alone what it does not know. */
const FORMAT = 1;
/** Half of what a config may hold since 2022, and little less than what it could hold before. */
const PART_BYTES = 500_000;

/** The records of a stack by their labels, the newest first. */
export function recordsOf(rawConfigs: readonly JsonObject[], stack: string): readonly StoredRecord[] {
  const found = new Map<number, RecordPart[]>();
  for (const raw of rawConfigs) {
    const number = Number(ownLabel(raw, "release"));
    const isRecord = textAt(raw, "Spec", "Labels", MANAGED_LABEL) === "true" && number > 0;
    if (!isRecord || ownLabel(raw, "stack") !== stack) continue;
    const [index = 1, count = 1] = ownLabel(raw, "part").split("/").map(Number);
    const bytes = Buffer.from(textAt(raw, "Spec", "Data"), "base64");
    const part = { id: textAt(raw, "ID"), name: textAt(raw, "Spec", "Name"), index, count, bytes };
    found.set(number, [...(found.get(number) ?? []), part]);
  }
  return [...found]
    .map(([number, parts]) => ({ number, parts: parts.toSorted((a, b) => a.index - b.index) }))
    .toSorted((a, b) => b.number - a.number);
}

/** What was stored, out of its parts; undefined where one is missing. */
export function joined({ parts }: StoredRecord): Uint8Array | undefined {
  const whole = parts.every(({ index, count }, before) => index === before + 1 && count === parts.length);
  return whole ? Buffer.concat(parts.map(({ bytes }) => bytes)) : undefined;
}

/**
 * The docker configs that keep a release. They carry docker's own label for what belongs to a stack: `docker stack rm` takes the stack's
 * configs and secrets, without which nothing could be rolled back to, so it takes the history, too.
 */
export function recordObjects(stack: string, release: Release, bytes: Uint8Array): NewObject[] {
  const count = Math.ceil(bytes.byteLength / PART_BYTES);
  const { number, version, commit, run, actor } = release;
  return Array.from({ length: count }, (_, before) => {
    const own = {
      release: String(number),
      stack,
      version,
      commit,
      run,
      actor,
      part: `${before + 1}/${count}`,
    };
    const labels = Object.entries(own).map(([key, value]): [string, string] => [LABEL_PREFIX + key, value]);
    const name = `swarm-stack-deploy_release_${stack}_${number}${before === 0 ? "" : `_part${before + 1}`}`;
    return {
      kind: "config",
      name: fixedName(name),
      bytes: bytes.subarray(before * PART_BYTES, (before + 1) * PART_BYTES),
      labels: new Map([[MANAGED_LABEL, "true"], [STACK_LABEL, stack], ...labels]),
      templateDriver: undefined,
    };
  });
}

export function encoded(release: Release): string {
  return JSON.stringify({ format: FORMAT, ...release });
}

/** The release in a record's text, or why there is none. */
export function decoded(text: string): Release | string {
  const raw = parsed(text);
  if (raw === undefined) return "it is no JSON";
  const format = at(raw, "format");
  if (format !== FORMAT)
    return `it has the format ${JSON.stringify(format)}, and this version of the action knows ${FORMAT}`;
  const services = listAt(raw, "services").filter((spec): spec is JsonObject => textAt(spec, "Name") !== "");
  const number = numberAt(raw, "number");
  if (number === 0 || services.length !== listAt(raw, "services").length) return "it is incomplete";
  return {
    number,
    origin: numberAt(raw, "origin") || number,
    version: textAt(raw, "version"),
    image: textAt(raw, "image"),
    digest: textAt(raw, "digest"),
    configName: textAt(raw, "configName"),
    commit: textAt(raw, "commit"),
    run: textAt(raw, "run"),
    actor: textAt(raw, "actor"),
    at: textAt(raw, "at"),
    by: textAt(raw, "by"),
    file: textAt(raw, "file"),
    services,
    networks: listAt(raw, "networks").map((network) => ({
      name: textAt(network, "name"),
      id: textAt(network, "id"),
      definition: isObject(at(network, "definition")) ? objectAt(network, "definition") : undefined,
    })),
    configs: texts(raw, "configs"),
    secrets: texts(raw, "secrets"),
    hidden: isObject(at(raw, "hidden")) ? textLists(objectAt(raw, "hidden")) : undefined,
  };
}

function parsed(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}

function texts(raw: Json, key: string): string[] {
  return listAt(raw, key).filter((each) => typeof each === "string");
}

function textLists(raw: JsonObject): Record<string, string[]> {
  return Object.fromEntries(Object.keys(raw).map((key) => [key, texts(raw, key)]));
}
