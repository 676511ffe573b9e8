import { type Json, listAt, objectAt, textAt } from "../json.ts";
import { type Plan, changed } from "../plan.ts";
import { isJob } from "../rollout.ts";
import { isSubstituted } from "../stack/references.ts";
import { type Mapping, entriesOf, get } from "../stack/tree.ts";
import { type ServiceSpec } from "../swarm.ts";
import { type RunnersImages } from "../world.ts";
import { type Finding, warning } from "./finding.ts";
import { type FindingId } from "./findings.ts";
import { startsFirst } from "./subject.ts";
import { imageOf } from "../spec.ts";

/** Something that a healthcheck runs. */
interface Program {
  readonly name: string;
  /** Where in the container it may be: any of them will do. */
  readonly paths: readonly string[];
}

interface Check {
  /** As the stack file calls it. */
  readonly service: string;
  readonly programs: readonly Program[];
}

/** What is to be told of healthchecks with the help of the images that the runner has; what is to be passed over is not looked for. */
export async function lookedInto(
  root: Mapping,
  plan: Plan,
  images: RunnersImages,
  ignored: ReadonlySet<FindingId>,
): Promise<Finding[]> {
  const found = await Promise.all([
    ignored.has("healthcheck-program") ? [] : unrunnable(root, plan, images),
    ignored.has("start-first-no-healthcheck") ? [] : unchecked(root, plan, images),
  ]);
  return found.flat();
}

/** Services that start first with no healthcheck at all, of an image that the runner has; of any other image nothing is told. */
async function unchecked(root: Mapping, plan: Plan, images: RunnersImages): Promise<Finding[]> {
  const silent = changed(plan).flatMap(({ name, wanted }) =>
    wanted === undefined || !startsFirst(wanted) || isJob(wanted) || testOf(wanted).length > 0
      ? []
      : [{ name, image: imageOf(wanted) }],
  );
  const asked = [...new Set(silent.map(({ image }) => image))];
  const configs = new Map(
    await Promise.all(asked.map(async (image) => [image, await images.configOf(image)] as const)),
  );
  return silent.flatMap(({ name, image }) => {
    const config = configs.get(image);
    if (config === undefined || checksItself(config)) return [];
    const place = entriesOf(get(root, "services")).find(({ key }) => key.text === name)?.key.place;
    const message = `Service ${name} has no healthcheck, and its image has none: with start-first the old task goes as soon as the new one's process has started, ready or not.`;
    const fix = "Give it a healthcheck, in the stack file or in the image (HEALTHCHECK).";
    return [warning("start-first-no-healthcheck", message, place, fix)];
  });
}

/** Whether an image, by its configuration, brings a health check of its own. */
export function checksItself(config: Json | undefined): boolean {
  const [kind = "NONE"] = texts(config, "Healthcheck", "Test");
  return kind !== "NONE";
}

/**
 * Healthchecks whose program their image does not have. Only an image that the runner has can be looked into, as it has one that this step
 * has built; of any other nothing is told. A program may also be made, or installed, when a container starts: so it is no error.
 */
async function unrunnable(root: Mapping, plan: Plan, images: RunnersImages): Promise<Finding[]> {
  const withTest = changed(plan).flatMap(({ name, wanted }) =>
    wanted === undefined || testOf(wanted).length === 0 ? [] : [{ name, wanted, image: imageOf(wanted) }],
  );
  const found = [...new Set(withTest.map(({ image }) => image))].map(async (image) => {
    const config = await images.configOf(image);
    if (config === undefined) return [];
    const checks = withTest
      .filter((each) => each.image === image)
      .map(({ name, wanted }): Check => ({ service: name, programs: programsOf(wanted, config) }));
    const paths = new Set(checks.flatMap(({ programs }) => programs.flatMap((program) => program.paths)));
    const present = await images.having(image, [...paths]);
    return present === undefined ? [] : checks.flatMap((check) => missing(check, present, root));
  });
  return (await Promise.all(found)).flat();
}

function missing({ service, programs }: Check, present: ReadonlySet<string>, root: Mapping): Finding[] {
  const lost = programs.find(({ paths }) => !paths.some((path) => present.has(path)));
  if (lost === undefined) return [];
  const test = get(root, "services", service, "healthcheck", "test");
  const place = (test ?? get(root, "services", service) ?? root).place;
  const program = test !== undefined && isSubstituted(test) ? "a program" : lost.name;
  const message = `The healthcheck of service ${service} runs ${program}, which its image does not have: unless something puts it there, no task will ever be healthy.`;
  const fix = "Put it into the image, or check with something that is there.";
  return [warning("healthcheck-program", message, place, fix)];
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
  const names = kind === "CMD" ? [first] : kind === "CMD-SHELL" ? [shell, firstWord(first)] : [];
  return names
    .filter((name): name is string => name !== undefined && name !== "")
    .map((name) => ({ name, paths: pathsOf(name, spec, config) }))
    .filter(({ paths }) => !paths.some((path) => mayBeBrought(path, spec)));
}

/** Where neither the service nor the image says (moby: pkg/system, DefaultPathEnvUnix). */
const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

function pathsOf(name: string, spec: ServiceSpec, config: Json): string[] {
  const container = objectAt(spec, "TaskTemplate", "ContainerSpec");
  const home = textAt(container, "Dir") || textAt(config, "WorkingDir");
  if (name.includes("/")) return [absolute(name, home)];
  const variables = [...texts(config, "Env"), ...texts(container, "Env")];
  const path = variables.findLast((variable) => variable.startsWith("PATH="))?.slice("PATH=".length);
  return (path ?? DEFAULT_PATH).split(":").map((folder) => absolute(`${folder}/${name}`, home));
}

/** From the root on, without `.`, `..` and double slashes. */
function absolute(path: string, folder: string): string {
  const parts: string[] = [];
  for (const part of (path.startsWith("/") ? path : `${folder}/${path}`).split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return `/${parts.join("/")}`;
}

/** Whether something from outside of the image may be there. */
function mayBeBrought(path: string, spec: ServiceSpec): boolean {
  const container = objectAt(spec, "TaskTemplate", "ContainerSpec");
  const targets = [
    ...listAt(container, "Mounts").map((mount) => absolute(textAt(mount, "Target"), "/")),
    ...listAt(container, "Configs").map((config) => absolute(textAt(config, "File", "Name"), "/")),
    ...listAt(container, "Secrets").map((secret) => absolute(textAt(secret, "File", "Name"), "/run/secrets")),
    ...(container.Init === true ? ["/sbin/docker-init"] : []),
  ];
  return targets.some((target) => `${path}/`.startsWith(`${target === "/" ? "" : target}/`));
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
