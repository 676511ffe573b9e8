import { BuildError, InputError, type Reason, StopError } from "../errors.ts";
import { type Inputs, type RunContext } from "../inputs/inputs.ts";
import {
  type Docker,
  type DockerAnswer,
  type Files,
  type RegistryLogin,
  type Session,
  type Voice,
  type World,
} from "../world.ts";
import {
  type BuildPlan,
  buildxPlan,
  digestOfMetadata,
  digestOfPush,
  imageLabels,
  plainBuildPlan,
  referencesOf,
} from "./build.ts";

/** Refuses a build that has no Dockerfile, before anything is contacted. A context elsewhere (a URL) is docker's to check. */
export function checkBuildFiles(image: Inputs["image"], files: Files): void {
  const { build } = image;
  if (build === undefined || /^[a-z]+:\/\/|^git@/.test(build.context)) return;
  if (!files.exists(build.context)) {
    throw new InputError([
      {
        message: `"context" is "${build.context}", which does not exist.`,
        hint: "Is actions/checkout missing before this step?",
      },
    ]);
  }
  const file = build.file ?? `${build.context}/Dockerfile`;
  if (!files.exists(file)) {
    const near = files
      .list(file.includes("/") ? file.slice(0, file.lastIndexOf("/")) : ".")
      .filter((name) => /dockerfile/i.test(name));
    const hint =
      near.length > 0
        ? `There is ${near.join(", ")}.`
        : 'Set "file", or "build: false" to deploy an image that exists.';
    throw new InputError([{ message: `There is no Dockerfile at "${file}".`, hint }]);
  }
}

/** Logs in, builds and pushes; the digest of what was pushed. */
export async function publish(image: Inputs["image"], world: World): Promise<string> {
  const { docker, voice, files } = world;
  const plan = await planBuild(image, world.run, world); // Refuses what docker here can't build, before anybody is contacted.
  const { registryHost, login: credential } = image;
  if (credential !== undefined) await login(docker, { registryHost, credential }, voice);
  voice.group(`Build ${plan.references[0] ?? ""}`);
  await mustSucceed(
    docker,
    plan.argv,
    voice,
    "The build failed",
    "The lines above say why.",
    Object.fromEntries(plan.environment),
  );
  const digest = plan.pushes ? digestFrom(files) : await push(docker, plan.references, voice);
  voice.endGroup();
  if (digest === undefined)
    throw new BuildError(
      "Docker pushed the image and did not tell its digest.",
      "Please report this with docker's version.",
    );
  voice.say(`Pushed ${plan.references.join(", ")} (${digest}).`);
  return digest;
}

/** What the swarm keeps for later pulls: the pull credential, or, where this step built nothing, the one that a build would have used. */
export function swarmLogin(image: Inputs["image"]): RegistryLogin | undefined {
  const credential = image.pullLogin ?? (image.build === undefined ? image.login : undefined);
  return credential === undefined ? undefined : { registryHost: image.registryHost, credential };
}

/** The manager asks the registry, as it will when it pulls. */
export async function loginSwarm(image: Inputs["image"], session: Session, voice: Voice): Promise<void> {
  const kept = swarmLogin(image);
  if (kept === undefined) return;
  const refusal = await session.logIn(kept);
  if (refusal !== undefined) throw refusedLogin("preflight", kept, refusal);
  sayLogin(kept, voice);
}

/** The password goes through standard input, into a configuration that is gone when the step ends. */
async function login(docker: Docker, wanted: RegistryLogin, voice: Voice): Promise<void> {
  const { registryHost, credential } = wanted;
  const server = registryHost === "docker.io" ? [] : [registryHost];
  const argv = ["login", "--username", credential.username, "--password-stdin", ...server];
  const answer = await docker.run(argv, { input: credential.password });
  if (answer.code !== 0) throw refusedLogin("build", wanted, lastLine(answer));
  sayLogin(wanted, voice);
}

function refusedLogin(reason: Reason, { registryHost, credential }: RegistryLogin, why: string): StopError {
  const message = `${registryHost} refused the login of ${credential.username}: ${why}`;
  return new StopError(reason, [{ message, hint: 'Check "registry", "username" and "password".' }]);
}

function sayLogin({ registryHost, credential }: RegistryLogin, voice: Voice): void {
  voice.say(`Logged in to ${registryHost} as ${credential.username}.`);
}

const METADATA = "build.json";

async function planBuild(image: Inputs["image"], run: RunContext, world: World): Promise<BuildPlan> {
  const { build } = image;
  if (build === undefined) throw new Error("publish is only called with something to build");
  const references = referencesOf(image);
  const labels = imageLabels(image, build.labels, run, new Date(world.clock.now()));
  const buildx = await world.docker.run(["buildx", "version"]);
  if (buildx.code === 0) return buildxPlan(build, references, labels, world.files.scratch(METADATA));
  world.voice.say("docker buildx is not installed here; using docker's own build.");
  return plainBuildPlan(build, references, labels);
}

function digestFrom(files: Files): string | undefined {
  const bytes = files.read(files.scratch(METADATA));
  return bytes === undefined ? undefined : digestOfMetadata(Buffer.from(bytes).toString("utf8"));
}

async function push(
  docker: Docker,
  references: readonly string[],
  voice: Voice,
): Promise<string | undefined> {
  const digests: (string | undefined)[] = [];
  for (const reference of references) {
    const hint = 'Check "registry", "username" and "password", and that the account may push there.';
    const answer = await mustSucceed(
      docker,
      ["push", reference],
      voice,
      `Pushing ${reference} failed`,
      hint,
      {},
    );
    digests.push(digestOfPush(answer.stdout));
  }
  return digests[0];
}

async function mustSucceed(
  docker: Docker,
  argv: readonly string[],
  voice: Voice,
  what: string,
  hint: string,
  environment: Readonly<Record<string, string>>,
): Promise<DockerAnswer> {
  const answer = await docker.run(argv, { environment, onLine: (line) => voice.quote(line) });
  if (answer.code !== 0)
    throw new BuildError(
      `${what} (docker ${argv[0] ?? ""}, exit code ${answer.code}): ${lastLine(answer)}`,
      hint,
    );
  return answer;
}

/** Docker's last words are its reason. */
function lastLine(answer: DockerAnswer): string {
  const lines = `${answer.stdout}\n${answer.stderr}`
    .split(/[\r\n]+/)
    .filter((line) => line.trim() !== "" && !/^WARNING|^Run 'docker/i.test(line));
  return lines.at(-1)?.trim() ?? "no output";
}
