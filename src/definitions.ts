import { createHmac } from "node:crypto";
import { NO_DIGEST_YET } from "./image/reference.ts";
import { type Json, isObject } from "./json.ts";
import { type Plan } from "./plan.ts";
import { type Path, canonicalSpec, networkIdsOf } from "./spec.ts";
import { type Survey } from "./swarm.ts";
import { compareTexts } from "./text-order.ts";

/** Of each service that a plan wants, by its name in the stack file: 64 digits that stand for all of its definition. */
export type Definitions = ReadonlyMap<string, string>;

/** Of the swarm's config with the key for the names of secrets. It lies beside the stacks, since it serves them all. */
export const NAMING_KEY = "swarm-stack-deploy_naming-key";

/**
 * What the services of a plan are to be, with every value that is not shown. Where the workflow gives secrets, one of them may be a secret:
 * only who has the swarm's naming key can try values against the digits, which everybody may read; and where the swarm has no key yet it is
 * empty, since a digest without one would help to guess a weak secret. Where it gives none, all values stand in the repository. `built`: the digest of an image that the deployment itself builds.
 */
export function definitionsOf(
  { stack, services }: Pick<Plan, "stack" | "services">,
  { configs, networks }: Pick<Survey, "configs" | "networks">,
  built: string,
  mayBeSecret: boolean,
): Definitions {
  const key = mayBeSecret ? configs.find(({ name }) => name === NAMING_KEY)?.bytes : NO_KEY;
  if (key === undefined) return new Map();
  const networkIds = networkIdsOf(networks);
  const networkNames = new Map([...networkIds].map(([name, id]) => [id, name]));
  return new Map(
    services.flatMap(({ name, wanted }): [string, string][] => {
      if (wanted === undefined) return [];
      const definition = defined(canonicalSpec(wanted, networkIds), [], networkNames);
      const text = withoutDigests(JSON.stringify([stack, name, definition]), built);
      // The key makes names of secrets, too: what it is used for here can't be the content of one.
      return [[name, createHmac("sha256", key).update(`definition\0${text}`).digest("hex")]];
    }),
  );
}

const NO_KEY = new Uint8Array();

/** A canonical spec without what may be another one, from a plan to its deployment, of the same definition. */
function defined(value: Json, path: Path, networkNames: ReadonlyMap<string, string>): Json {
  if (Array.isArray(value)) {
    const items = value.map((item: Json) => defined(item, [...path, "[]"], networkNames));
    // By their names they may stand in another order than by their ids.
    return BY_ID.has(path.at(-1) ?? "")
      ? items.toSorted((a, b) => compareTexts(JSON.stringify(a), JSON.stringify(b)))
      : items;
  }
  if (isObject(value)) {
    const entries = Object.entries(value).flatMap(([name, child]): [string, Json][] => {
      const at = [...path, name];
      if (FLEETING.has(at.join("."))) return [];
      const left = defined(child, at, networkNames);
      return isEmpty(left) && !isEmpty(child) ? [] : [[name, left]];
    });
    return Object.fromEntries(entries);
  }
  const isNetwork = path.join(".") === "TaskTemplate.Networks.[].Target";
  return isNetwork && typeof value === "string" ? (networkNames.get(value) ?? value) : value;
}

function isEmpty(value: Json): boolean {
  return isObject(value) && Object.keys(value).length === 0;
}

const BY_ID = new Set(["Networks", "Configs", "Secrets"]);

const FLEETING = new Set([
  // The plan shows the image with its digest; the platforms are those of the digest.
  "TaskTemplate.ContainerSpec.Image",
  "Labels.com.docker.stack.image",
  "TaskTemplate.Placement.Platforms",
  // Docker takes it over from what runs.
  "TaskTemplate.ForceUpdate",
  // Ids of what the names beside them say.
  "TaskTemplate.ContainerSpec.Configs.[].ConfigID",
  "TaskTemplate.ContainerSpec.Secrets.[].SecretID",
  "TaskTemplate.ContainerSpec.Privileges.CredentialSpec.Config",
]);

/** A stack file may have the image's digest in any value, by `IMAGE_DIGEST` or within `IMAGE`. */
function withoutDigests(text: string, built: string): string {
  return [NO_DIGEST_YET, built]
    .filter((digest) => digest !== "")
    .reduce((rest, digest) => rest.replaceAll(`@${digest}`, "").replaceAll(digest, ""), text);
}
