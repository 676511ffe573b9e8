import { DeployError, PreflightError } from "./errors.ts";
import { type JsonObject } from "./json.ts";
import { type Plan, changed } from "./plan.ts";
import { type Deployment } from "./begin.ts";
import { type PreparedDeployment } from "./prepare.ts";
import { type RenderedStack, printed } from "./stack/render.ts";
import { together } from "./together.ts";
import { type NewObject, type Survey, type Swarm } from "./swarm.ts";
import {
  type Created,
  type Docker,
  type DockerAnswer,
  type Session,
  type Stage,
  type Voice,
} from "./world.ts";

export const NOTHING_CREATED: Created = { networks: new Map(), configs: new Map(), secrets: new Map() };

/** Creates what is missing, then lets docker deploy what changes. */
export async function sendByDocker(
  { plan, stack, survey, objects, images }: PreparedDeployment,
  { sources, world, dockerMajor }: Deployment,
  session: Session,
  onSent: (serviceName: string) => void,
): Promise<Created> {
  const { voice } = world;
  const created = await createNeeds(plan, objects, session.swarm, voice);
  const stage = { survey, images: images.answers, ...created };
  const { folder } = sources;
  const made = await sendServices(plan, stack, folder, dockerMajor, stage, session, voice, onSent);
  return {
    networks: new Map([...created.networks, ...made.networks]),
    configs: new Map([...created.configs, ...made.configs]),
    secrets: new Map([...created.secrets, ...made.secrets]),
  };
}

/** Creates what the services need and the swarm does not have. */
export async function createNeeds(
  { needs }: Plan,
  objects: readonly NewObject[],
  swarm: Swarm,
  voice: Voice,
): Promise<Created> {
  const networks = await createNetworks(needs.networks, swarm, voice);
  const created = { networks, configs: new Map<string, string>(), secrets: new Map<string, string>() };
  const create = async (object: NewObject): Promise<void> => {
    const kinds = object.kind === "config" ? "configs" : "secrets";
    if (!needs[kinds].includes(object.name)) return;
    created[kinds].set(object.name, await swarm.createObject(object));
    voice.say(`Created the ${object.kind} ${object.name} (${object.bytes.byteLength} bytes).`);
  };
  await together(objects.map(create));
  return created;
}

/** One by one, since two made at once may get one subnet (Docker 28). Those without a definition are attachable overlay networks. */
export async function createNetworks(
  names: readonly string[],
  swarm: Swarm,
  voice: Voice,
  definitions: ReadonlyMap<string, JsonObject> = new Map(),
): Promise<ReadonlyMap<string, string>> {
  const created = new Map<string, string>();
  for (const name of names) {
    created.set(name, await swarm.createNetwork(name, definitions.get(name)));
    voice.say(`Created the network ${name}.`);
  }
  return created;
}

/** What to do where a refusal tells that the stack is not as it was planned for. */
export const WHEN_THEY_ARE_DONE =
  "Somebody else changes this stack at the same time: run this job again when they are done.";

/** Of a part, so that docker's own start is worth it. */
const FEWEST_SERVICES = 4;
/** More at once gain nothing: each docker takes the runner a moment to start, and a swarm takes in one write after another. */
const MOST_PARTS = 8;

/**
 * Docker sends one service after the other, each a whole round trip. So the services are sent in several parts at once, of nearly one
 * size: as many as there can be requests on their way (`most`).
 */
export function partsOf(names: readonly string[], most: number): ReadonlySet<string>[] {
  const count = Math.min(Math.ceil(names.length / FEWEST_SERVICES), MOST_PARTS, most);
  return Array.from(
    { length: count },
    (_, part) => new Set(names.filter((_name, at) => at % count === part)),
  );
}

/** What docker hears of a write that was kept from the manager, because another one of the same deployment has failed. */
export const HELD_BACK = "it was not sent, because another part of this deployment has failed";

/**
 * Hands docker the services that change, and no other: an update with the same spec disarms Swarm's own rollback (SWARM 2.5). Returns
 * what docker created for them: networks, and secrets that a driver has.
 */
export async function sendServices(
  plan: Plan,
  stack: RenderedStack,
  folder: string,
  dockerMajor: number,
  stage: Stage,
  session: Session,
  voice: Voice,
  onSent: (serviceName: string) => void,
): Promise<Created> {
  const parts = partsOf(
    changed(plan).map(({ name }) => name),
    session.most,
  );
  if (parts.length === 0) return NOTHING_CREATED;
  const run = async (docker: Docker): Promise<void> => {
    const answers = await together(
      parts.map(async (part) => {
        const call = {
          stack: stack.name,
          file: printed(stack, part),
          folder,
          dockerMajor,
          flags: IN_EARNEST,
        };
        return await stackDeploy(docker, call, (line) => voice.quote(line));
      }),
    );
    const failed = answers.filter(({ code }) => code !== 0);
    if (failed.length > 0) throw sendingFailed(failed, session.lost());
  };
  return await session.perform(stage, run, onSent);
}

/** Each reason once; that the other parts were held back is no reason of its own. */
function sendingFailed(failed: readonly DockerAnswer[], lost: string | undefined): DeployError {
  const own = failed.filter(({ stderr }) => !stderr.includes(HELD_BACK));
  const [first] = own;
  const reason = lost ?? [...new Set(own.map(dockersReason))].join("; ");
  const hint =
    /out of sequence|already exists|name conflicts|(network|service|config|secret) \S+ not found/.test(reason)
      ? WHEN_THEY_ARE_DONE
      : "Docker's own words are in the log above.";
  return new DeployError(`docker stack deploy failed (exit code ${first?.code ?? 1}): ${reason}.`, hint);
}

/** One run of `docker stack deploy`. */
export interface StackDeploy {
  readonly stack: string;
  /** The stack file's text, as `DockerCall` takes it. */
  readonly file: string | (() => Promise<string>);
  /** Where relative paths in the file start. */
  readonly folder: string;
  /** Of the docker CLI; undefined where nobody has asked yet. */
  readonly dockerMajor: number | undefined;
  readonly flags: readonly string[];
}

/** For the rehearsal, too: what is sent is what was planned. */
export const IN_EARNEST: readonly string[] = ["--with-registry-auth", "--resolve-image", "always"];

/**
 * The same command for the rehearsal and in earnest. The file comes through standard input, since it may hold secrets, and docker
 * runs in the stack file's folder, so that relative paths keep their meaning.
 */
export async function stackDeploy(
  docker: Docker,
  { stack, file, folder, dockerMajor, flags }: StackDeploy,
  onLine: (line: string) => void = () => undefined,
): Promise<DockerAnswer> {
  const deploy = async (detach: readonly string[]): Promise<DockerAnswer> => {
    const argv = ["stack", "deploy", ...flags, ...detach, "--compose-file", "-", stack];
    return await docker.run(argv, { input: file, cwd: folder, onLine });
  };
  // Docker before 26 has no --detach, and later ones may wait unless told not to; waiting is our work, since docker's own says 0 after a rollback.
  if (dockerMajor !== undefined) return await deploy(dockerMajor >= 26 ? DETACHED : []);
  const answer = await deploy(DETACHED);
  return UNKNOWN_DETACH.test(answer.stderr) ? await deploy([]) : answer;
}

const DETACHED: readonly string[] = ["--detach=true"];
const UNKNOWN_DETACH = /^unknown flag: --detach/m;

/** What docker says on its way out, without the lines it says anyway. */
export function dockersReason(answer: DockerAnswer): string {
  const lines = answer.stderr
    .split(/[\r\n]+/)
    .filter(
      (line) => line.trim() !== "" && !/^(Ignoring |Since --detach|In a future release|time=)/.test(line),
    );
  return lines.join(" ").trim() || "docker gave no reason";
}

/** A config of the same name with other bytes: nobody but us makes such names, so this is worth a stop. */
export function refuseForeignConfigs(objects: readonly NewObject[], survey: Survey): void {
  const problems = objects.flatMap(({ kind, name, bytes }) => {
    if (kind === "secret") return []; // Nobody can read one back.
    const existing = survey.configs.find((stored) => stored.name === name);
    if (existing === undefined || Buffer.from(existing.bytes).equals(bytes)) return [];
    return [
      {
        message: `The swarm has a config ${name} with another content.`,
        hint: `Look at it with: docker config inspect ${name}`,
      },
    ];
  });
  if (problems.length > 0) throw new PreflightError(problems);
}
