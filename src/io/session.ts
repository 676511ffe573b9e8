import { join } from "node:path";
import { ConnectError, messageOf } from "../errors.ts";
import { type Json, at, textAt } from "../json.ts";
import { type Inputs } from "../inputs/inputs.ts";
import { type Session, type Write } from "../world.ts";
import { isHidden } from "../stack/template.ts";
import { type DockerCli } from "./docker.ts";
import { registryAuth } from "./docker-config.ts";
import { EngineApi, EngineSwarm } from "./engine.ts";
import { type Answer, type OnWrite, facing, rehearse, standIn } from "./stand-in.ts";
import { type SshLogin, openTunnel } from "./tunnel.ts";

/** What speaks to a manager: through a tunnel, or at an address the runner reaches by itself. */
export type Route =
  | { readonly kind: "ssh"; readonly login: SshLogin }
  | { readonly kind: "socket"; readonly dockerHost: string };

export interface SessionRequest {
  readonly route: Route;
  readonly target: Inputs["target"];
  readonly docker: DockerCli;
  /** The docker configuration with the credentials that the swarm is to keep. */
  readonly configFolder: string;
  readonly privateFolder: string;
  readonly signal: AbortSignal;
}

/**
 * What docker must not see when it deploys; an empty variable is not passed on. A context would send it elsewhere than DOCKER_HOST
 * says, and a bare name in an `env_file:` would take the runner's own credentials into a container.
 */
export function withheld(environment: NodeJS.ProcessEnv): Record<string, string> {
  const hidden = Object.keys(environment).filter(isHidden);
  return Object.fromEntries([...hidden, "DOCKER_CONTEXT"].map((name) => [name, ""]));
}

/** Connects and makes sure that a manager with a working swarm answers. */
export async function openSession(request: SessionRequest): Promise<Session> {
  const { route, signal, privateFolder } = request;
  const tunnel = route.kind === "ssh" ? await openTunnel(route.login, privateFolder, signal) : undefined;
  const dockerHost = route.kind === "ssh" ? (tunnel?.dockerHost ?? "") : route.dockerHost;
  const address = request.target.kind === "ssh" ? request.target.host : dockerHost;
  let api: EngineApi | undefined;
  try {
    api = await reachEngine(dockerHost, address, request);
    requireManager(await api.json("/info"), address);
  } catch (error) {
    api?.close();
    await tunnel?.[Symbol.asyncDispose]();
    throw error;
  }
  const engine = api;
  const docker = request.docker.with({
    DOCKER_HOST: dockerHost,
    DOCKER_CONFIG: request.configFolder,
    ...withheld(process.env),
  });
  return {
    swarm: new EngineSwarm(engine, address),
    docker,
    registryAuth: remembered((domain) => registryAuth(request.configFolder, domain)),
    rehearse: async (stage, deploy) =>
      await rehearse(stage, engine.apiVersion, join(privateFolder, "plan.sock"), docker, deploy),
    perform: async (stage, deploy, onSent) => {
      const pass: OnWrite = async (write, query) => await forward(engine, write, query, onSent);
      await standIn(stage, engine.apiVersion, join(privateFolder, "send.sock"), pass, async (host) => {
        await deploy(facing(docker, host));
      });
    },
    lost: () => tunnel?.lost(),
    [Symbol.asyncDispose]: async () => {
      engine.close();
      await tunnel?.[Symbol.asyncDispose]();
    },
  };
}

/** Passes a write on to the manager, and notes which services it took. One that got no answer may have been taken. */
async function forward(
  engine: EngineApi,
  write: Write,
  query: string,
  onSent: (serviceName: string) => void,
): Promise<Answer> {
  const { method, path, body, auth } = write;
  const isService = /^\/services\/(create|[^/]+\/update)$/.test(path);
  try {
    const answer = await engine.answer(`${path}${query}`, { method, body, auth });
    if (isService && answer.status < 300) onSent(textAt(body, "Name"));
    return answer;
  } catch (error) {
    if (isService) onSent(textAt(body, "Name"));
    throw error;
  }
}

/** A credential helper may take seconds: each registry is asked for once. */
function remembered<T>(ask: (domain: string) => T): (domain: string) => T {
  const answers = new Map<string, T>();
  return (domain) => {
    if (!answers.has(domain)) answers.set(domain, ask(domain));
    return answers.get(domain) as T;
  };
}

async function reachEngine(dockerHost: string, address: string, request: SessionRequest): Promise<EngineApi> {
  try {
    return await EngineApi.open(dockerHost, request.signal);
  } catch (error) {
    if (error instanceof ConnectError || request.signal.aborted) throw error;
    if (request.target.kind === "ssh") {
      throw new ConnectError(
        `The SSH login at ${address} works, but Docker's socket there can't be reached.`,
        `Check that Docker runs, that ${request.target.user} may open /var/run/docker.sock (group docker), and that sshd and the key allow stream-local forwarding (AllowStreamLocalForwarding; in authorized_keys port-forwarding and no permitopen).`,
        error,
      );
    }
    const { code } = error as { code?: string };
    const why =
      code === "ENOENT"
        ? "there is no such socket"
        : code === "EACCES"
          ? "this user may not open it"
          : messageOf(error);
    throw new ConnectError(
      `No Docker engine can be reached at ${address}: ${why}.`,
      'Check "docker-host" and that the engine runs.',
      error,
    );
  }
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
