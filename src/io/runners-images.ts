import { randomBytes } from "node:crypto";
import { messageOf } from "../errors.ts";
import { parseImageReference } from "../image/reference.ts";
import { type JsonObject, objectAt, textAt } from "../json.ts";
import { type RunnersImages } from "../world.ts";
import { EngineApi, json, successful } from "./engine.ts";

/** An engine that takes longer has other troubles; nobody needs to wait for what is only good to know. */
const deadlineMs = 5000;
const NEVER = new AbortController().signal;

/** The images of the engine that docker speaks to on this runner. */
export class EngineImages implements RunnersImages {
  readonly #dockerHost: string;
  readonly #signal: AbortSignal;
  readonly #debug: (line: string) => void;

  constructor(environment: NodeJS.ProcessEnv, signal: AbortSignal, debug: (line: string) => void) {
    this.#dockerHost = environment.DOCKER_HOST || "unix:///var/run/docker.sock";
    this.#signal = signal;
    this.#debug = debug;
  }

  async configOf(image: string): Promise<JsonObject | undefined> {
    return await this.#ask(async (api) => {
      const raw = await json(api, `/images/${byDigest(image)}/json`, { deadlineMs });
      return textAt(raw, "Os") === "linux" ? objectAt(raw, "Config") : undefined;
    });
  }

  /** Files can be asked for in a container only; this one never runs, and goes at once, with the volumes that its image asks for. */
  async having(image: string, paths: readonly string[]): Promise<ReadonlySet<string> | undefined> {
    if (paths.length === 0) return new Set();
    return await this.#ask(async (api) => {
      const name = `swarm-stack-deploy-${randomBytes(6).toString("hex")}`;
      const body = { Image: byDigest(image), Entrypoint: ["-"] };
      try {
        await successful(api, "/containers/create", { method: "POST", query: { name }, body, deadlineMs });
        const answers = await Promise.all(
          paths.map(async (path) => {
            const call = { method: "HEAD", query: { path }, deadlineMs };
            const { status } = await api.send(`/containers/${name}/archive`, call);
            return { path, isMissing: status === 404 };
          }),
        );
        return new Set(answers.flatMap(({ path, isMissing }) => (isMissing ? [] : [path])));
      } finally {
        await successful(api, `/containers/${name}`, { method: "DELETE", query: { v: "true" }, deadlineMs });
      }
    });
  }

  /** No engine, or one that can't tell, is no reason to stop. What was begun ends also when the job is cancelled: a container is left else. */
  async #ask<T>(question: (api: EngineApi) => Promise<T>): Promise<T | undefined> {
    if (!this.#dockerHost.startsWith("unix://")) return undefined;
    this.#signal.throwIfAborted();
    const api = EngineApi.at(this.#dockerHost, NEVER);
    try {
      return await question(api);
    } catch (error) {
      this.#debug(`The runner's engine can't tell about an image: ${messageOf(error)}`);
      return undefined;
    } finally {
      api.close();
      this.#signal.throwIfAborted();
    }
  }
}

/** An engine knows what it has pulled or pushed by its digest; not by tag and digest together. */
function byDigest(image: string): string {
  const reference = parseImageReference(image);
  return reference?.digest === undefined
    ? image
    : `${reference.domain}/${reference.path}@${reference.digest}`;
}
