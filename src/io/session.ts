import { join } from "node:path";
import { ConnectError, ManagerRefusal, type Outlook, messageOf } from "../errors.ts";
import { type SshHost } from "../inputs/inputs.ts";
import { type Json, at, textAt } from "../json.ts";
import { isHidden } from "../stack/template.ts";
import { type RegistryLogin, type Session } from "../world.ts";
import { now } from "./clock.ts";
import { type DockerCli } from "./docker.ts";
import { encodedAuth, keepLogin, registryAuth } from "./docker-config.ts";
import { EngineApi, Timeout } from "./engine.ts";
import { EngineLocks } from "./engine-locks.ts";
import { EngineSwarm } from "./engine-swarm.ts";
import { forwarding } from "./forwarding.ts";
import { askForLogin } from "./registry-login.ts";
import { type SshLogin } from "./ssh-login.ts";
import { facing, rehearse, standIn } from "./stand-in.ts";
import { type PatientEngine, type Reached, SteadyEngine, pause } from "./steady-engine.ts";
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

/** Whose calls go out when the job is cancelled, too: what has been begun is not left half done without need. */
function evenCancelled(engine: SteadyEngine): PatientEngine {
  return {
    get apiVersion() {
      return engine.apiVersion;
    },
    get info() {
      return engine.info;
    },
    isOver: () => true, // There is no time to wait for a connection, or for a leader.
    send: async (path, call) => await engine.send(path, { ...call, evenCancelled: true }),
  };
}

const NEVER = new AbortController().signal;

/** Connects to the first manager with a working swarm, and goes on to another one where the connection is lost. */
export async function openSession(request: SessionRequest): Promise<Session> {
  const { privateFolder, configFolder, login, signal, say } = request;
  const managers = new Managers(request);
  const first = await managers.reachPatiently();
  const engine = new SteadyEngine(first, async () => await managers.reachAnother(), signal, say);
  try {
    const docker = request.docker.with({ DOCKER_CONFIG: configFolder, ...withheld(process.env) });
    return {
      swarm: new EngineSwarm(engine, () => engine.address, signal),
      lastSwarm: new EngineSwarm(evenCancelled(engine), () => engine.address, NEVER),
      locks: new EngineLocks(engine),
      logIn: async (wanted) => {
        const answer = await askForLogin(engine, wanted);
        if (typeof answer === "string") return answer;
        keepLogin(configFolder, wanted.registryHost, answer);
        return undefined;
      },
      registryAuth: remembered((domain) =>
        domain === login?.registryHost
          ? encodedAuth(login.credential, domain)
          : registryAuth(configFolder, domain),
      ),
      rehearse: async (stage, deploy) =>
        await rehearse(stage, engine.apiVersion, join(privateFolder, "plan.sock"), docker, deploy),
      perform: async (stage, deploy, onSent) => {
        const { onWrite, created } = forwarding(engine, stage.survey, signal, onSent);
        await standIn(stage, engine.apiVersion, join(privateFolder, "send.sock"), onWrite, async (host) => {
          await deploy(facing(docker, host));
        });
        return created;
      },
      guard: (lock) => engine.guard(lock),
      onManager: (tell) => engine.onManager(tell),
      get most() {
        return engine.most;
      },
      lost: () => engine.lost,
      waitUntil: (time) => engine.waitUntil(time),
      [Symbol.asyncDispose]: async () => await engine[Symbol.asyncDispose](),
    };
  } catch (error) {
    await engine[Symbol.asyncDispose]();
    throw error;
  }
}

interface Failed {
  readonly manager: SshHost;
  readonly error: ConnectError;
}

/** From the worst to the best reason to try again. */
const OUTLOOKS: readonly Outlook[] = ["lasting", "passing", "electing"];

/** Of several managers none can be used, each for a reason of its own. */
class NoManagerError extends ConnectError {
  constructor(failed: readonly Failed[]) {
    const reasons = failed.map(({ manager, error }) => `${manager.host} (${error.problems[0]?.message})`);
    super(
      `None of the ${failed.length} managers can be used: ${reasons.join(", ")}.`,
      "The log has a line for each, with what to do.",
      failed.map(({ error }) => error),
      OUTLOOKS.findLast((outlook) => failed.some(({ error }) => error.outlook === outlook)),
    );
  }
}

/** How long the first connection is worth trying for; later ones have until the deadline of the deployment. */
const FIRST_PATIENCE_MS: Readonly<Record<Outlook, number>> = {
  lasting: 0,
  passing: 20_000,
  electing: 120_000,
};
/** Where there is another manager to go to, a silent one gets less time. */
const HANDSHAKE_MS = { only: 20_000, oneOfSeveral: 10_000 };

/** The managers that the workflow names, and the way to each. */
class Managers {
  readonly #request: SessionRequest;
  /** The one to try first. */
  #next = 0;
  #opened = 0;
  /** Docker has answered by the way that was asked for: from then on, not to reach it is no mistake of the workflow. */
  #hasWorked = false;
  readonly #told = new Set<string>();

  constructor(request: SessionRequest) {
    this.#request = request;
  }

  /** A network has its moments; a wrong key stays wrong. */
  async reachPatiently(): Promise<Reached> {
    const start = now();
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.reach(true);
      } catch (error) {
        if (!(error instanceof ConnectError) || now() - start >= FIRST_PATIENCE_MS[error.outlook])
          throw error;
        this.#tellOfRetry(error);
        await pause(attempt, this.#request.signal);
      }
    }
  }

  /** Of several managers each one's reason has been told. */
  #tellOfRetry(error: ConnectError): void {
    const several = error instanceof NoManagerError;
    this.#tell(
      several ? "No manager can be used at the moment. Trying again." : `${error.message} Trying again.`,
    );
  }

  /** Once, until somebody has been reached: the same reason again is no news. */
  #tell(line: string): void {
    if (!this.#told.has(line)) this.#request.say(line);
    this.#told.add(line);
  }

  /**
   * The first that answers as a manager with a working swarm; a `ConnectError` with a reason for each where none does. `early`: where
   * there is no choice, without waiting for the proof.
   */
  async reach(early = false): Promise<Reached> {
    const { route, signal } = this.#request;
    if (route.kind === "socket") return this.#reached(await this.#reachSocket(route.dockerHost));
    const { managers } = route.login.target;
    const failed: Failed[] = [];
    for (let tried = 0; tried < managers.length; tried += 1) {
      const index = (this.#next + tried) % managers.length;
      const manager = managers[index];
      if (manager === undefined) continue;
      try {
        const reached = await this.#reachBySsh(route.login, manager, early && managers.length === 1);
        this.#next = index;
        return this.#reached(reached);
      } catch (error) {
        if (!(error instanceof ConnectError) || signal.aborted) throw error;
        failed.push({ manager, error });
        if (managers.length > 1) this.#tell(`${manager.host}: ${error.message}`);
      }
    }
    const [only, another] = failed;
    if (only !== undefined && another === undefined) throw only.error;
    throw new NoManagerError(failed);
  }

  #reached(reached: Reached): Reached {
    this.#told.clear();
    return reached;
  }

  /** After a loss: the one that was lost comes last. */
  async reachAnother(): Promise<Reached> {
    this.#next += 1;
    try {
      return await this.reach();
    } catch (error) {
      if (error instanceof ConnectError && error.outlook !== "lasting") this.#tellOfRetry(error);
      throw error;
    }
  }

  async #reachSocket(dockerHost: string): Promise<Reached> {
    const api = EngineApi.at(dockerHost, this.#request.signal);
    await api.greet().catch((error: unknown) => {
      api.close();
      if (error instanceof ConnectError || this.#request.signal.aborted) throw error;
      if (error instanceof ManagerRefusal) throw saysNothingOfItself(error, dockerHost);
      if (error instanceof Timeout) throw isSilent(error, dockerHost);
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
        (code === "EACCES" || code === "ENOENT") && !this.#hasWorked ? "lasting" : "passing",
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
    const options = {
      path: join(privateFolder, `manager-${this.#opened}.sock`),
      handshakeMs: login.target.managers.length > 1 ? HANDSHAKE_MS.oneOfSeveral : HANDSHAKE_MS.only,
      eager: this.#opened === 1, // A server that can't stand it is not to meet it again.
    };
    const tunnel = await openTunnel(login, manager, options, signal);
    const api = EngineApi.at(tunnel.dockerHost, signal);
    const close = async (): Promise<void> => {
      api.close();
      await tunnel[Symbol.asyncDispose]();
    };
    const verify = async (): Promise<void> => {
      try {
        await api.greet();
        requireManager(api.info, manager.host);
        this.#hasWorked = true;
      } catch (error) {
        if (error instanceof ConnectError || signal.aborted) throw error;
        if (error instanceof ManagerRefusal) throw saysNothingOfItself(error, manager.host);
        throw await noDocker(manager, login, tunnel, error, this.#hasWorked);
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

/** What docker says where the socket is there and nobody serves it: its engine is starting, or being updated. */
const STARTING = /connection refused|Is the docker daemon running|reset by peer/i;

async function noDocker(
  manager: SshHost,
  { target }: SshLogin,
  tunnel: Tunnel,
  cause: unknown,
  hasWorked: boolean,
): Promise<ConnectError> {
  const lost = tunnel.lost();
  if (lost !== undefined) {
    const message = `The SSH session with ${manager.host} was lost (${lost}).`;
    return new ConnectError(message, "Check its sshd.", cause, "passing");
  }
  if (cause instanceof Timeout) return isSilent(cause, manager.host);
  const failure = await tunnel.way.failure();
  const hint = target.sudo
    ? `Check that Docker runs, that ${manager.user} may run docker by sudo without a password (NOPASSWD), and that sshd and the key allow a session for it.`
    : `Check that Docker runs, that ${manager.user} may open ${target.socket} (group docker), and that sshd and the key allow stream-local forwarding (AllowStreamLocalForwarding and AllowTcpForwarding, no PermitOpen; in authorized_keys port-forwarding and no permitopen) or the command docker system dial-stdio.`;
  return new ConnectError(
    `The SSH login at ${manager.host} works, but Docker's socket there can't be reached.${failure}`,
    hint,
    cause,
    hasWorked || STARTING.test(failure) ? "passing" : "lasting",
  );
}

/** A manager without a leader takes 20 s to say so (SANDBOX, "Leader lost"), which nobody waits for. */
function isSilent(timeout: Timeout, address: string): ConnectError {
  return new ConnectError(
    `The engine on ${address} gives ${timeout.message}: it hangs, or its swarm has no leader.`,
    "Look at `docker info` there.",
    timeout,
    "electing",
  );
}

function saysNothingOfItself(refusal: ManagerRefusal, address: string): ConnectError {
  const message = `The engine on ${address} answers, but can't tell about its swarm: ${refusal.said}.`;
  return new ConnectError(message, "The engine's log there may say more.", refusal, "passing");
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
      undefined,
      state === "pending" ? "passing" : "lasting", // It has just started, and is still looking for the others.
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
      `The manager ${address} has no working swarm: ${error.replace(/\.?$/, ".")}`,
      "Bring back enough managers for a majority, then run this job again.",
      undefined,
      "electing",
    );
  }
}
