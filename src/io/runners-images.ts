import { messageOf } from "../errors.ts";
import { parseImageReference } from "../image/reference.ts";
import { type JsonObject, objectAt, textAt } from "../json.ts";
import { type RunnersImages } from "../world.ts";
import { EngineApi, json, successful } from "./engine.ts";

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
      const raw = await json(api, `/images/${byDigest(image)}/json`);
      return textAt(raw, "Os") === "linux" ? objectAt(raw, "Config") : undefined;
    });
  }

  /** Files can be asked for in a container only; this one never runs, and goes at once. */
  async having(image: string, paths: readonly string[]): Promise<ReadonlySet<string> | undefined> {
    if (paths.length === 0) return new Set();
    return await this.#ask(async (api) => {
      const body = { Image: byDigest(image), Entrypoint: ["-"] };
      const id = textAt(await json(api, "/containers/create", { method: "POST", body }), "Id");
      try {
        const answers = await Promise.all(
          paths.map(async (path) => {
            const { status } = await api.send(`/containers/${id}/archive`, {
              method: "HEAD",
              query: { path },
            });
            return { path, isMissing: status === 404 };
          }),
        );
        return new Set(answers.flatMap(({ path, isMissing }) => (isMissing ? [] : [path])));
      } finally {
        await successful(api, `/containers/${id}`, { method: "DELETE", evenCancelled: true });
      }
    });
  }

  /** No engine, or one that can't tell, is no reason to stop. */
  async #ask<T>(question: (api: EngineApi) => Promise<T>): Promise<T | undefined> {
    if (!this.#dockerHost.startsWith("unix://")) return undefined;
    const api = EngineApi.at(this.#dockerHost, this.#signal);
    try {
      return await question(api);
    } catch (error) {
      this.#signal.throwIfAborted();
      this.#debug(`The runner's engine can't tell about an image: ${messageOf(error)}`);
      return undefined;
    } finally {
      api.close();
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
