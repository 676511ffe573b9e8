import { InputError, type Problem, StackFileError } from "../errors.ts";
import { parseImageReference, sameTag } from "../image/reference.ts";
import {
  type EnvFile,
  type Kind,
  type VersionedObject,
  envConfigKey,
  versionObjects,
  versionedName,
} from "./configs.ts";
import { refusedByEngine } from "./engine-rules.ts";
import { undefinedReferences } from "./references.ts";
import { type Defaults, addDefaults, setFormatVersion } from "./defaults.ts";
import { printStackFile } from "./stack-file.ts";
import { type Mapping, clone, entriesOf, get, set, textOf } from "./tree.ts";
import { resolveFiles, resolveStack } from "./resolve.ts";
import { type Findings, type Scope, addFindings, imagesOf, once, scopeOf } from "./template.ts";
import { type Withheld } from "./withheld.ts";

export interface RenderRequest {
  /** The stack files, in the order in which they are merged. */
  readonly templates: readonly Mapping[];
  /** Why a file that was asked for could not be read, or is no YAML; the rest is looked at all the same. */
  readonly unread?: { readonly missing: readonly Problem[]; readonly malformed: readonly Problem[] };
  readonly stack: string;
  readonly variables: ReadonlyMap<string, string>;
  readonly secrets: ReadonlyMap<string, string>;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Nothing, unless given. */
  readonly withheld?: Withheld;
  readonly strict: boolean;
  readonly defaults: Defaults;
  readonly envFile: EnvFile | undefined;
  readonly envConfig: string | undefined;
  /** Makes the digests in the names of secrets; any will do where the names don't matter yet. */
  readonly namingKey: Uint8Array;
  /** Whether another stack has a config or secret of this name. */
  readonly taken: (kind: Kind, name: string) => boolean;
  /** Reads a file relative to the first stack file; undefined where there is none. */
  readonly read: (path: string) => Uint8Array | undefined;
  readonly image: {
    readonly registry: string;
    readonly project: string;
    readonly repository: string;
    readonly version: string;
    readonly tags: readonly string[];
    /** `sha256:…` of what was pushed or resolved. */
    readonly digest: string;
  };
  readonly commit: string;
  /** The major version of the docker CLI that will read the file. */
  readonly dockerMajor: number;
}

/** In place of the name that it would have got, so that $ENV_CONFIG is no second mistake. */
const UNREAD_ENV_FILE = "unread";
const NOTHING_UNREAD = { missing: [], malformed: [] };

/** A stack file without a variable left, and what has to exist on the swarm before docker can take it. */
export interface RenderedStack {
  readonly name: string;
  readonly root: Mapping;
  readonly services: readonly RenderedService[];
  readonly objects: readonly VersionedObject[];
  /** The swarm's name of the config (or secret) made from the env file; empty without one. */
  readonly envConfigName: string;
  /** Values in it that may be secrets, though nobody has called them so: they are from the step's environment or an env file. */
  readonly borrowed: readonly string[];
  readonly warnings: readonly Problem[];
  readonly standIns: StoodInFor;
}

/** What something stands in for, since it is withheld. */
interface StoodInFor {
  /** Variables, each with the one that its author may have meant. */
  readonly names: readonly { readonly name: string; readonly meant: string | undefined }[];
  readonly files: readonly string[];
}

interface RenderedService {
  readonly name: string;
  /** As docker gets it; with a digest where it is the image just pushed. */
  readonly image: string;
}

/**
 * Resolves the templates, versions their configs, adds defaults and pins the pushed image. Throws all that is wrong, in all files, at
 * once: an `InputError` where a file is missing, a `StackFileError` otherwise.
 */
export function render(request: RenderRequest): RenderedStack {
  const { templates, unread = NOTHING_UNREAD, stack, strict, namingKey, taken, read } = request;
  const findings: Findings = { problems: [...unread.missing, ...unread.malformed], warnings: [] };
  const env = findEnvConfig(request, findings.problems);
  const noName = unread.missing.length > 0 ? UNREAD_ENV_FILE : "";
  const envConfigName = env === undefined ? noName : nameOf(env, request);
  const scope = scopeOf(
    [request.secrets, request.variables, ownVariables(request, envConfigName)],
    request.environment,
    request.withheld,
  );
  if (unread.missing.length > 0 || unread.malformed.length > 0) {
    resolveFiles(templates, scope, strict, read, findings); // Without the rest of them no more can be said.
    throw refusal(findings, unread.missing.length > 0);
  }
  const root = resolveStack(templates, scope, strict, read, findings);
  const objects = versionObjects(root, { stack, namingKey, taken, env, scope, read }, findings);
  addFindings(findings, { problems: [...undefinedReferences(root), ...refusedByEngine(root, stack)] });
  const services = pinImages(root, request, findings.problems);
  if (findings.problems.length > 0) throw refusal(findings, false);

  const warnings = once([...findings.warnings, ...addDefaults(root, request.defaults)]);
  setFormatVersion(root, request.dockerMajor);
  const borrowed = [...scope.borrowed].filter((value) => !SAYS_NOTHING.test(value));
  const standIns = stoodInFor(scope);
  return { name: stack, root, services, objects, envConfigName, borrowed, warnings, standIns };
}

function stoodInFor({ standIns, suggest }: Scope): StoodInFor {
  return { names: standIns.names.map((name) => ({ name, meant: suggest(name) })), files: standIns.files };
}

/** What is no secret wherever it comes from. */
const SAYS_NOTHING = /^(?:true|false|yes|no|on|off|\d{0,2})$/i;

function refusal({ problems, warnings }: Findings, missing: boolean): InputError | StackFileError {
  const [all, told] = [once(problems), once(warnings)];
  return missing ? new InputError(all, told) : new StackFileError(all, told);
}

interface EnvTarget {
  readonly kind: Kind;
  readonly key: string;
  readonly file: EnvFile;
}

function findEnvConfig(
  { templates, envFile, envConfig }: RenderRequest,
  problems: Problem[],
): EnvTarget | undefined {
  if (envFile === undefined) return undefined;
  const found = envConfigKey(templates, envFile.path, envConfig);
  if ("problem" in found) {
    problems.push(found.problem);
    return undefined;
  }
  return { ...found, file: envFile };
}

function nameOf({ kind, key, file }: EnvTarget, { stack, namingKey, taken }: RenderRequest): string {
  const keyed = kind === "secret" ? namingKey : undefined;
  return versionedName(stack, key, file.bytes, keyed, (name) => taken(kind, name));
}

function ownVariables(request: RenderRequest, envConfigName: string): Map<string, string> {
  const { registry, project, repository, version, digest } = request.image;
  const own = new Map([
    ["REGISTRY_URL", registry],
    ["PROJECT_NAME", project],
    ["VERSION", version],
    ["STACK_NAME", request.stack],
    ["IMAGE", `${repository}:${version}@${digest}`],
    ["IMAGE_DIGEST", digest],
    ["GIT_SHA", request.commit],
  ]);
  if (envConfigName !== "") own.set("ENV_CONFIG", envConfigName);
  return own;
}

/** Behind an image whose digest is ours. */
const PINNED = "pinned by Swarm Stack Deploy";

function pinImages(root: Mapping, request: RenderRequest, problems: Problem[]): RenderedService[] {
  const { repository, version, tags, digest } = request.image;
  const pushed = [version, ...tags].map((tag) => parseImageReference(`${repository}:${tag}`));
  const services: RenderedService[] = [];
  for (const { service, image, place, node } of imagesOf(root)) {
    const reference = image === undefined ? undefined : parseImageReference(image);
    if (node?.kind === "scalar" && node.unresolved === true) continue;
    if (node !== undefined && node.kind !== "scalar") continue; // Told as being of the wrong kind.
    if (image === undefined || node === undefined) {
      problems.push({
        message: `Service ${service} has no image.`,
        place,
        hint: "Swarm builds nothing: write image: $IMAGE for the one this step builds.",
      });
    } else if (reference === undefined) {
      problems.push({
        message: `"${image}", the image of service ${service}, is no image reference.`,
        place,
      });
    } else {
      const pin =
        reference.digest === undefined &&
        pushed.some((each) => each !== undefined && sameTag(each, reference));
      if (pin) Object.assign(node, { text: `${image}@${digest}`, plain: false, comment: PINNED });
      services.push({ name: service, image: node.text });
    }
  }
  return services;
}

/** Replaces images by their digest-pinned references. */
export function pinned(stack: RenderedStack, pins: ReadonlyMap<string, string>): RenderedStack {
  const root = clone(stack.root);
  for (const { node } of imagesOf(root)) {
    const pin = node?.kind === "scalar" ? pins.get(node.text) : undefined;
    if (pin !== undefined && node?.kind === "scalar")
      Object.assign(node, { text: pin, plain: false, comment: PINNED });
  }
  const services = stack.services.map(({ name, image }) => ({ name, image: pins.get(image) ?? image }));
  return { ...stack, root, services };
}

/** Full names of the networks whose addresses the file chooses. */
export function addressedNetworks({ name: stack, root }: RenderedStack): ReadonlySet<string> {
  const chosen = entriesOf(get(root, "networks")).filter(({ value }) => get(value, "ipam") !== undefined);
  return new Set(chosen.map(({ key, value }) => textOf(get(value, "name")) ?? `${stack}_${key.text}`));
}

/** The file as docker gets it: all services, or only those named. */
export function printed(stack: RenderedStack, services?: ReadonlySet<string>): string {
  if (services === undefined) return printStackFile(stack.root);
  const root: Mapping = { ...stack.root, entries: stack.root.entries.map((entry) => ({ ...entry })) };
  const chosen = entriesOf(get(root, "services")).filter((entry) => services.has(entry.key.text));
  set(root, "services", { kind: "mapping", entries: chosen, place: root.place });
  return printStackFile(root);
}
