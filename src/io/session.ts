import { join } from "node:path";
import { ConnectError, messageOf } from "../errors.ts";
import { type SshHost } from "../inputs/inputs.ts";
import { type Json, at, textAt } from "../json.ts";
import { isHidden } from "../stack/template.ts";
import { type RegistryLogin, type Session } from "../world.ts";
import { type DockerCli } from "./docker.ts";
import { encodedAuth, registryAuth } from "./docker-config.ts";
import { EngineApi } from "./engine.ts";
import { EngineSwarm } from "./engine-swarm.ts";
import { forwarding } from "./forwarding.ts";
import { openProxy } from "./proxy.ts";
import { type SshLogin } from "./ssh-login.ts";
import { facing, rehearse, standIn } from "./stand-in.ts";
import { type Reached, SteadyEngine, pause } from "./steady-engine.ts";
import { type Tunnel, openTunnel } from "./tunnel.ts";

/** What speaks to a manager: through a tunnel, or at an address the runner reaches by itself. */
export type Route =
  | { readonly kind: "ssh"; readonly login: SshLogin }
  | { readonly kind: "socket"; readonly dockerHost: string };

export interface SessionRequest {
  readonly route: Route;
  readonly docker: DockerCli;
  /** The docker configuration with the credentials that the swarm is to keep. */
  readonly configFolder: string;
  /** A credential that is not in there yet. */
  readonly login: RegistryLogin | undefined;
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
  const { privateFolder, configFolder, login, signal, say } = request;
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
      docker: facing(docker, proxy.dockerHost),
      registryAuth: remembered((domain) =>
        domain === login?.registryHost
          ? encodedAuth(login.credential, domain)
          : registryAuth(configFolder, domain),
      ),
      rehearse: async (stage, deploy) =>
        await rehearse(stage, engine.apiVersion, join(privateFolder, "plan.sock"), docker, deploy),
      perform: async (stage, deploy, onSent) => {
        const { onWrite, networks } = forwarding(engine, onSent);
        await standIn(stage, engine.apiVersion, join(privateFolder, "send.sock"), onWrite, async (host) => {
          await deploy(facing(docker, host));
        });
        return networks;
      },
      get most() {
        return engine.current.api.most;
      },
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
        return await this.reach(true);
      } catch (error) {
        if (!(error instanceof ConnectError && error.transient) || round === MOST_ROUNDS) throw error;
        this.#request.say(`${error.message} Trying again.`);
        await pause(round, this.#request.signal);
      }
    }
  }

  /**
   * The first that answers as a manager with a working swarm; a `ConnectError` with a reason for each where none does. `early`: where
   * there is no choice, without waiting for the proof.
   */
  async reach(early = false): Promise<Reached> {
    const { route, say, signal } = this.#request;
    if (route.kind === "socket") return await this.#reachSocket(route.dockerHost);
    const { managers } = route.login.target;
    const failed: { readonly manager: SshHost; readonly error: ConnectError }[] = [];
    for (let tried = 0; tried < managers.length; tried += 1) {
      const index = (this.#next + tried) % managers.length;
      const manager = managers[index];
      if (manager === undefined) continue;
      try {
        const reached = await this.#reachBySsh(route.login, manager, early && managers.length === 1);
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
    const api = EngineApi.at(dockerHost, this.#request.signal);
    await api.greet().catch((error: unknown) => {
      api.close();
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
    try {
      requireManager(api.info, dockerHost);
    } catch (error) {
      api.close();
      throw error;
    }
    const verified = Promise.resolve();
    const close = async (): Promise<void> => await Promise.resolve(api.close());
    return { api, address: dockerHost, lost: () => undefined, verified, [Symbol.asyncDispose]: close };
  }

  /** `early`: before it has shown to be a manager, where more than one question can be on its way. */
  async #reachBySsh(login: SshLogin, manager: SshHost, early: boolean): Promise<Reached> {
    const { privateFolder, signal } = this.#request;
    this.#opened += 1;
    const path = { folder: privateFolder, name: `manager-${this.#opened}.sock` };
    const tunnel = await openTunnel(login, manager, path, signal);
    const api = EngineApi.at(tunnel.dockerHost, signal);
    const close = async (): Promise<void> => {
      api.close();
      await tunnel[Symbol.asyncDispose]();
    };
    const verify = async (): Promise<void> => {
      try {
        await api.greet();
        requireManager(api.info, manager.host);
      } catch (error) {
        if (error instanceof ConnectError || signal.aborted) throw error;
        throw noDocker(manager, login, tunnel, error);
      }
    };
    const verified = verify();
    verified.catch(() => undefined); // Whoever asks for something hears of it.
    try {
      await Promise.race([tunnel.opened, verified]);
      api.most = tunnel.way.most;
      if (!early || Number.isFinite(api.most)) await verified;
    } catch (error) {
      await close();
      throw error;
    }
    return { api, address: manager.host, lost: tunnel.lost, verified, [Symbol.asyncDispose]: close };
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
