import { type BuildInputs, type Inputs, type RunContext } from "../inputs/inputs.ts";
import { BuildError } from "../errors.ts";

/** One docker command; its arguments never hold a secret. */
export interface BuildPlan {
  readonly argv: readonly string[];
  /** Variables for the command: the values of build arguments and secrets, which argv only names. */
  readonly environment: ReadonlyMap<string, string>;
  /** Every reference that has to be pushed, `repository:version` first. */
  readonly references: readonly string[];
  /** buildx pushes by itself; the docker CLI's own build leaves that to `docker push`. */
  readonly pushes: boolean;
}

export function referencesOf(image: Inputs["image"]): string[] {
  return [image.version, ...image.tags].map((tag) => `${image.repository}:${tag}`);
}

/** The labels of the OCI image specification that a registry's pages show. Those of the workflow come last, so that they win. */
export function imageLabels(
  image: Inputs["image"],
  own: readonly string[],
  run: RunContext,
  created: Date,
): string[] {
  const oci = {
    source: run.repositoryUrl,
    revision: run.sha,
    version: image.version,
    created: created.toISOString(),
  };
  const known = Object.entries(oci).filter(([, value]) => value !== "");
  return [...known.map(([key, value]) => `org.opencontainers.image.${key}=${value}`), ...own];
}

/** With buildx: build and push in one go; its metadata file tells the digest. */
export function buildxPlan(
  build: BuildInputs,
  references: readonly string[],
  labels: readonly string[],
  metadataFile: string,
): BuildPlan {
  const secrets = secretVariables(build.secrets);
  const shared = common(build, references, labels);
  const argv = [
    "buildx",
    "build",
    "--push",
    "--metadata-file",
    metadataFile,
    ...shared.argv,
    ...(build.platforms.length > 0 ? ["--platform", build.platforms.join(",")] : []),
    ...each("--cache-to", build.cacheTo),
    ...secrets.flatMap(({ id, variable }) => ["--secret", `id=${id},env=${variable}`]),
    build.context,
  ];
  const environment = new Map([
    ...shared.environment,
    ...secrets.map(({ variable, value }) => [variable, value] as const),
  ]);
  return { argv, references, environment, pushes: true };
}

/** Without buildx: the docker CLI's own builder, which knows less; what it can't do is refused rather than left out. */
export function plainBuildPlan(
  build: BuildInputs,
  references: readonly string[],
  labels: readonly string[],
): BuildPlan {
  const beyond = [
    build.cacheTo.length > 0 && "cache-to",
    build.secrets.length > 0 && "build-secrets",
    build.platforms.length > 1 && "several platforms",
    build.cacheFrom.some((entry) => entry.includes("=")) && "cache-from with type=…",
  ].filter((name) => name !== false);
  if (beyond.length > 0) {
    throw new BuildError(
      `docker buildx is not installed on this runner, and without it there is no ${beyond.join(", no ")}.`,
      "Add docker/setup-buildx-action before this step, or leave those inputs out.",
    );
  }
  const platform = build.platforms.length > 0 ? ["--platform", build.platforms.join(",")] : [];
  const { argv, environment } = common(build, references, labels);
  return { argv: ["build", ...argv, ...platform, build.context], references, environment, pushes: false };
}

function common(
  build: BuildInputs,
  references: readonly string[],
  labels: readonly string[],
): { argv: string[]; environment: Map<string, string> } {
  const args = build.buildArgs.map(buildArgument);
  const argv = [
    ...each("--tag", references),
    ...each("--label", labels),
    ...each(
      "--build-arg",
      args.map((argument) => argument.flag),
    ),
    ...each("--cache-from", build.cacheFrom),
    ...(build.file === undefined ? [] : ["--file", build.file]),
    ...(build.target === undefined ? [] : ["--target", build.target]),
    ...(build.noCache ? ["--no-cache"] : []),
    ...(build.pull ? ["--pull"] : []),
  ];
  const environment = new Map(
    args.flatMap(({ name, value }) => (value === undefined ? [] : [[name, value] as const])),
  );
  return { argv, environment };
}

/** Variables that docker itself, or the loader under it, would obey. */
const OBEYED = /^(PATH|HOME|TMPDIR|LD_.*|DOCKER_.*|BUILDX_.*|BUILDKIT_.*|SSH_AUTH_SOCK|.*_proxy)$/i;

/** `--build-arg NAME` takes its value from the environment, so that it is in no process list; not so for names that mean something there. */
function buildArgument(line: string): { flag: string; name: string; value: string | undefined } {
  const equals = line.indexOf("=");
  const name = equals === -1 ? line : line.slice(0, equals);
  const value = line.slice(equals + 1);
  // An empty value hides nothing, and docker calls leave empty variables out of their environment.
  if (equals === -1 || value === "" || OBEYED.test(name) || !/^\w+$/.test(name))
    return { flag: line, name, value: undefined };
  return { flag: name, name, value };
}

function each(flag: string, values: readonly string[]): string[] {
  return values.flatMap((value) => [flag, value]);
}

/** `id=value` → an environment variable of the build command, so that the value is in no argv and no file. */
function secretVariables(lines: readonly string[]): { id: string; variable: string; value: string }[] {
  return lines.map((line, index) => {
    const [id = "", ...rest] = line.split("=");
    return { id, variable: `SWARM_STACK_DEPLOY_BUILD_SECRET_${index}`, value: rest.join("=") };
  });
}

/** The digest in buildx's metadata file. */
export function digestOfMetadata(text: string): string | undefined {
  const metadata = JSON.parse(text) as Record<string, unknown>;
  const digest = metadata["containerimage.digest"];
  return typeof digest === "string" ? digest : undefined;
}

/** The digest in the last words of `docker push`: `v1: digest: sha256:… size: 528`. */
export function digestOfPush(output: string): string | undefined {
  return /^\S+: digest: (sha256:[0-9a-f]{64}) size: \d+\s*$/m.exec(output)?.[1];
}
