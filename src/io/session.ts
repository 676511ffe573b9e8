import { join } from "node:path";
import { ConnectError, messageOf } from "../errors.ts";
import { type SshHost } from "../inputs/inputs.ts";
import { type Json, at, textAt } from "../json.ts";
import { writesService } from "../plan.ts";
import { isHidden } from "../stack/template.ts";
import { type Session } from "../world.ts";
import { type DockerCli } from "./docker.ts";
import { registryAuth } from "./docker-config.ts";
import { EngineApi, json } from "./engine.ts";
import { EngineLocks } from "./engine-locks.ts";
import { EngineSwarm } from "./engine-swarm.ts";
import { openProxy } from "./proxy.ts";
import { type SshLogin } from "./ssh-login.ts";
import { type OnWrite, facing, rehearse, standIn } from "./stand-in.ts";
import { type Reached, SteadyEngine, pause } from "./steady-engine.ts";
import { type Tunnel, openTunnel } from "./tunnel.ts";
import { sendWrite } from "./write.ts";

/** What speaks to a manager: through a tunnel, or at an address the runner reaches by itself. */
export type Route =
  | { readonly kind: "ssh"; readonly login: SshLogin }
  | { readonly kind: "socket"; readonly dockerHost: string };

export interface SessionRequest {
  readonly route: Route;
  readonly docker: DockerCli;
  /** The docker configuration with the credentials that the swarm is to keep. */
  readonly configFolder: string;
  readonly privateFolder: string;
  readonly signal: AbortSignal;
  /** How long a lost connection is tried to be opened again. */
  readonly patienceMs: number;
  readonly say: (line: string) => void;
}

/**
 * What docker must not see when it deploys; an empty variable is not passed on. A context would send it elsewhere than DOCKER_HOST
 * says, and a bare name in an `env_file:` would take the runner's own credentials into a container.
 */
export function withheld(environment: NodeJS.ProcessEnv): Record<string, string> {
  const hidden = Object.keys(environment).filter(isHidden);
  return Object.fromEntries([...hidden, "DOCKER_CONTEXT"].map((name) => [name, ""]));
}

/** Connects to the first manager with a working swarm, and goes on to another one where the connection is lost. */
export async function openSession(request: SessionRequest): Promise<Session> {
  const { privateFolder, configFolder, signal, say } = request;
  const managers = new Managers(request);
  const engine = new SteadyEngine(
    await managers.reachPatiently(),
    async () => await managers.reachAnother(),
    request.patienceMs,
    signal,
    say,
  );
  try {
    const proxy = await openProxy(engine, join(privateFolder, "docker.sock"));
    const docker = request.docker.with({ DOCKER_CONFIG: configFolder, ...withheld(process.env) });
    return {
      swarm: new EngineSwarm(engine, () => engine.address),
      locks: new EngineLocks(engine),
      docker: facing(docker, proxy.dockerHost),
      registryAuth: remembered((domain) => registryAuth(configFolder, domain)),
      rehearse: async (stage, deploy) =>
        await rehearse(stage, engine.apiVersion, join(privateFolder, "plan.sock"), docker, deploy),
      perform: async (stage, deploy, onSent) => {
        const pass = forward(engine, onSent);
        await standIn(stage, engine.apiVersion, join(privateFolder, "send.sock"), pass, async (host) => {
          await deploy(facing(docker, host));
        });
      },
      guard: (lock) => engine.guard(lock),
      lost: () => engine.current.lost(),
      [Symbol.asyncDispose]: async () => {
        await proxy[Symbol.asyncDispose]();
        await engine[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    await engine[Symbol.asyncDispose]();
    throw error;
  }
}

/** Passes a write on to the manager, and notes which services it took. One that got no answer may have been taken. */
function forward(engine: SteadyEngine, onSent: (serviceName: string) => void): OnWrite {
  return async (write, query) => {
    const note = (): void => {
      if (writesService(write.path)) onSent(textAt(write.body, "Name"));
    };
    try {
      const answer = await sendWrite(engine, write, query);
      if (answer.status < 300) note();
      return answer;
    } catch (error) {
      note();
      throw error;
    }
  };
}

const MOST_ROUNDS = 3;

/** The managers that the workflow names, and the way to each. */
class Managers {
  readonly #request: SessionRequest;
  /** The one to try first. */
  #next = 0;
  #opened = 0;

  constructor(request: SessionRequest) {
    this.#request = request;
  }

  /** A network has its moments; a wrong key stays wrong. */
  async reachPatiently(): Promise<Reached> {
    for (let round = 1; ; round += 1) {
      try {
        return await this.reach();
      } catch (error) {
        if (!(error instanceof ConnectError && error.transient) || round === MOST_ROUNDS) throw error;
        this.#request.say(`${error.message} Trying again.`);
        await pause(round, this.#request.signal);
      }
    }
  }

  /** The first that answers as a manager with a working swarm; a `ConnectError` with a reason for each where none does. */
  async reach(): Promise<Reached> {
    const { route, say, signal } = this.#request;
    if (route.kind === "socket") return await this.#reachSocket(route.dockerHost);
    const { managers } = route.login.target;
    const failed: { readonly manager: SshHost; readonly error: ConnectError }[] = [];
    for (let tried = 0; tried < managers.length; tried += 1) {
      const index = (this.#next + tried) % managers.length;
      const manager = managers[index];
      if (manager === undefined) continue;
      try {
        const reached = await this.#reachBySsh(route.login, manager);
        this.#next = index;
        return reached;
      } catch (error) {
        if (!(error instanceof ConnectError) || signal.aborted) throw error;
        failed.push({ manager, error });
        if (managers.length > 1) say(`${manager.host}: ${error.message}`);
      }
    }
    const [only, another] = failed;
    if (only !== undefined && another === undefined) throw only.error;
    throw new ConnectError(
      `None of the ${managers.length} managers can be used: ${failed.map(({ manager, error }) => `${manager.host} (${error.message})`).join(", ")}`,
      "The log above has a line for each.",
      failed.map(({ error }) => error),
      failed.some(({ error }) => error.transient),
    );
  }

  /** After a loss: the one that was lost comes last. */
  async reachAnother(): Promise<Reached> {
    this.#next += 1;
    return await this.reach();
  }

  async #reachSocket(dockerHost: string): Promise<Reached> {
    const api = await EngineApi.open(dockerHost, this.#request.signal).catch((error: unknown) => {
      if (error instanceof ConnectError || this.#request.signal.aborted) throw error;
      const { code } = error as { code?: string };
      const why =
        code === "ENOENT"
          ? "there is no such socket"
          : code === "EACCES"
            ? "this user may not open it"
            : messageOf(error);
      throw new ConnectError(
        `No Docker engine can be reached at ${dockerHost}: ${why}.`,
        'Check "docker-host" and that the engine runs.',
        error,
        code !== "EACCES",
      );
    });
    return await asManager(api, dockerHost, { lost: () => undefined, close: async () => undefined });
  }

  async #reachBySsh(login: SshLogin, manager: SshHost): Promise<Reached> {
    const { privateFolder, signal } = this.#request;
    this.#opened += 1;
    const path = { folder: privateFolder, name: `manager-${this.#opened}.sock` };
    const tunnel = await openTunnel(login, manager, path, signal);
    const close = async (): Promise<void> => await tunnel[Symbol.asyncDispose]();
    try {
      const api = await EngineApi.open(tunnel.dockerHost, signal, () => tunnel.way.most);
      return await asManager(api, manager.host, { lost: tunnel.lost, close });
    } catch (error) {
      const explained =
        error instanceof ConnectError || signal.aborted ? error : noDocker(manager, login, tunnel, error);
      await close();
      throw explained;
    }
  }
}

function noDocker(manager: SshHost, { target }: SshLogin, tunnel: Tunnel, cause: unknown): ConnectError {
  const lost = tunnel.lost();
  if (lost !== undefined) {
    const message = `The SSH session with ${manager.host} was lost (${lost}).`;
    return new ConnectError(message, "Check its sshd.", cause, true);
  }
  const { failure, name } = tunnel.way;
  const said =
    failure === ""
      ? ""
      : ` sshd refuses to forward to ${target.socket}, or nothing listens there; ${name} says: ${failure}.`;
  const sudo = target.sudo
    ? `that ${manager.user} may run docker by sudo without a password`
    : `that ${manager.user} may open ${target.socket} (group docker)`;
  return new ConnectError(
    `The SSH login at ${manager.host} works, but Docker's socket there can't be reached.${said}`,
    `Check that Docker runs, ${sudo}, and that sshd and the key allow stream-local forwarding (AllowStreamLocalForwarding; in authorized_keys port-forwarding and no permitopen) or the command docker system dial-stdio.`,
    cause,
  );
}

async function asManager(
  api: EngineApi,
  address: string,
  connection: { readonly lost: () => string | undefined; readonly close: () => Promise<void> },
): Promise<Reached> {
  const close = async (): Promise<void> => {
    api.close();
    await connection.close();
  };
  try {
    requireManager(await json(api, "/info"), address);
  } catch (error) {
    await close();
    throw error;
  }
  return { api, address, lost: connection.lost, [Symbol.asyncDispose]: close };
}

/** A credential helper may take seconds: each registry is asked for once. */
function remembered<T>(ask: (domain: string) => T): (domain: string) => T {
  const answers = new Map<string, T>();
  return (domain) => {
    if (!answers.has(domain)) answers.set(domain, ask(domain));
    return answers.get(domain) as T;
  };
}

/** Refuses an engine that can't deploy a stack, in words that say what to do. */
function requireManager(info: Json, address: string): void {
  const state = textAt(info, "Swarm", "LocalNodeState");
  const error = textAt(info, "Swarm", "Error");
  if (state === "locked") {
    throw new ConnectError(`The swarm on ${address} is locked.`, "Unlock it there: docker swarm unlock.");
  }
  if (state !== "active") {
    throw new ConnectError(
      `The engine on ${address} is in no swarm (its state is "${state}").`,
      "Make it a manager there: docker swarm init.",
    );
  }
  if (at(info, "Swarm", "ControlAvailable") !== true) {
    throw new ConnectError(
      `${address} is a worker, and only a manager can deploy.`,
      "Give a manager, as `docker node ls` on one of them shows.",
    );
  }
  if (error !== "") {
    throw new ConnectError(
      `The manager ${address} has no working swarm: ${error}`,
      "Bring back enough managers for a majority, then run this job again.",
    );
  }
}
