import { type Json, listAt, objectAt, textAt } from "../json.ts";
import { type Plan, changed } from "../plan.ts";
import { isSubstituted } from "../stack/references.ts";
import { type Mapping, get } from "../stack/tree.ts";
import { type ServiceSpec } from "../swarm.ts";
import { type RunnersImages } from "../world.ts";
import { type Finding, error, warning } from "./finding.ts";

/** Something that a healthcheck runs. */
interface Program {
  readonly name: string;
  /** Where in the container it may be: any of them will do. */
  readonly paths: readonly string[];
  /** Whether nothing else can run under this name; a shell may know more by itself. */
  readonly isCertain: boolean;
}

/**
 * Healthchecks whose program their image does not have: no task would ever be healthy. Only an image that the runner has can be looked
 * into, as it has one that this step has built; of any other nothing is told.
 */
export async function unrunnable(root: Mapping, plan: Plan, images: RunnersImages): Promise<Finding[]> {
  const found = changed(plan).map(async ({ name, wanted = {} }): Promise<Finding[]> => {
    const image = textAt(wanted, "TaskTemplate", "ContainerSpec", "Image");
    if (testOf(wanted).length === 0) return [];
    const config = await images.configOf(image);
    const programs = config === undefined ? [] : programsOf(wanted, config);
    const present = await images.having(
      image,
      programs.flatMap(({ paths }) => paths),
    );
    const lost = programs.find(
      ({ paths }) => present !== undefined && !paths.some((path) => present.has(path)),
    );
    if (lost === undefined) return [];
    const test = get(root, "services", name, "healthcheck", "test");
    const place = (test ?? get(root, "services", name) ?? root).place;
    const program = test !== undefined && isSubstituted(test) ? "a program" : lost.name;
    const message = `The healthcheck of service ${name} runs ${program}, which its image does not have: no task would ever be healthy.`;
    const fix = "Put it into the image, or check with something that is there.";
    return [(lost.isCertain ? error : warning)("healthcheck-program", message, place, fix)];
  });
  return (await Promise.all(found)).flat();
}

function testOf(spec: ServiceSpec): string[] {
  return texts(spec, "TaskTemplate", "ContainerSpec", "Healthcheck", "Test");
}

function texts(value: Json | undefined, ...path: readonly string[]): string[] {
  return listAt(value, ...path).filter((each) => typeof each === "string");
}

/** As the engine runs a healthcheck (moby: daemon/health.go): by itself, or by the image's shell. */
function programsOf(spec: ServiceSpec, config: Json): Program[] {
  const [kind, first = ""] = testOf(spec);
  const [shell = "/bin/sh"] = texts(config, "Shell");
  const word = kind === "CMD-SHELL" ? firstWord(first) : undefined;
  const named: readonly (readonly [string, boolean])[] =
    kind === "CMD" && first !== ""
      ? [[first, true]]
      : kind === "CMD-SHELL"
        ? [[shell, true], ...(word === undefined ? [] : [[word, false] as const])]
        : [];
  return named
    .map(([name, isCertain]) => ({ name, isCertain, paths: pathsOf(name, spec, config) }))
    .filter(({ paths }) => !paths.some((path) => isCovered(path, spec)));
}

/** Where neither the service nor the image says (moby: pkg/system, DefaultPathEnvUnix). */
const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

function pathsOf(name: string, spec: ServiceSpec, config: Json): string[] {
  const container = objectAt(spec, "TaskTemplate", "ContainerSpec");
  if (name.startsWith("/")) return [name];
  if (name.includes("/"))
    return [`${textAt(container, "Dir") || textAt(config, "WorkingDir") || ""}/${name}`];
  const variables = [...texts(config, "Env"), ...texts(container, "Env")];
  const path = variables.findLast((variable) => variable.startsWith("PATH="))?.slice("PATH=".length);
  return (path ?? DEFAULT_PATH)
    .split(":")
    .filter((folder) => folder.startsWith("/"))
    .map((folder) => `${folder}/${name}`);
}

/** Whether something from outside of the image may be there. */
function isCovered(path: string, spec: ServiceSpec): boolean {
  const container = objectAt(spec, "TaskTemplate", "ContainerSpec");
  const targets = [
    ...listAt(container, "Mounts").map((mount) => textAt(mount, "Target")),
    ...listAt(container, "Configs").map((config) => textAt(config, "File", "Name")),
    ...listAt(container, "Secrets").map((secret) => textAt(secret, "File", "Name")),
  ];
  return targets.some((target) => target !== "" && `${path}/`.startsWith(`${target.replace(/\/+$/, "")}/`));
}

/** Words that a shell knows by itself, at the beginning of a command. */
const SHELLS_OWN = new Set(
  ". : break case cd command continue do done echo eval exec exit export false for function if kill let local printf pwd read return set shift source test time trap true type ulimit umask unset until wait while".split(
    " ",
  ),
);

/** The program that a shell command begins with, where that is plain to see. */
function firstWord(command: string): string | undefined {
  const [, word] = /^\s*(?:\w+=[\w./:-]*\s+)*([\w./+-]+)(?=[\s;|&]|$)/.exec(command) ?? [];
  return word === undefined || SHELLS_OWN.has(word) ? undefined : word;
}
