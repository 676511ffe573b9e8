import { type Place, PreflightError } from "../errors.ts";
import { type RenderedStack } from "../stack/render.ts";
import { type Mapping, get } from "../stack/tree.ts";
import { listAt, textAt } from "../json.ts";
import { type Finding, error, warning } from "../preflight/finding.ts";
import { type ImageAnswer, type Service } from "../swarm.ts";
import { together } from "../together.ts";
import { type Clock, type Session } from "../world.ts";
import { NO_DIGEST_YET, parseImageReference } from "./reference.ts";
import { imageOf } from "../spec.ts";

export interface ResolvedImages {
  /** What to answer docker, by the image as the pinned stack names it. */
  readonly answers: ReadonlyMap<string, ImageAnswer>;
  /** Images as the stack file names them → with their digest. */
  readonly pins: ReadonlyMap<string, string>;
  /** Of those that could not be resolved. */
  readonly findings: readonly Finding[];
}

/** For a plan: what a registry might say about an image that the deployment will build. */
const YET_TO_BE_BUILT: ImageAnswer = {
  kind: "found",
  digest: NO_DIGEST_YET,
  body: {
    Descriptor: {
      mediaType: "application/vnd.docker.distribution.manifest.v2+json",
      digest: NO_DIGEST_YET,
      size: 0,
    },
    Platforms: [],
  },
};

/** How long a registry that has trouble is asked again about an image without which nothing can be deployed. */
const PATIENCE_MS = 30_000;
const AGAIN_MS = 2000;

/**
 * What registries say about images: the manager asks, with what the swarm will later pull with. Each image is asked about once. `own` is
 * the repository this action pushes to; other images have something to fall back to. Disposing of it waits for the answers that are still
 * out, so that nobody asks on behind a failure, over a session that is being closed.
 */
export class ImageLookup implements AsyncDisposable {
  readonly #session: Session;
  readonly #clock: Clock;
  readonly #own: string;
  readonly #asked = new Map<string, Promise<ImageAnswer>>();

  constructor(session: Session, clock: Clock, own: string) {
    this.#session = session;
    this.#clock = clock;
    this.#own = own;
  }

  async ask(image: string): Promise<ImageAnswer> {
    if (image.endsWith(`@${NO_DIGEST_YET}`)) return YET_TO_BE_BUILT;
    const asked = this.#asked.get(image) ?? this.#askPatiently(image);
    this.#asked.set(image, asked);
    return await asked;
  }

  async #askPatiently(image: string): Promise<ImageAnswer> {
    const until = isOwn(image, this.#own) ? this.#clock.now() + PATIENCE_MS : 0;
    for (;;) {
      const answer = await this.#session.swarm.askRegistry(image, this.#authFor(image));
      if (answer.kind === "found" || !hasTrouble(answer) || this.#clock.now() >= until) return answer;
      await this.#clock.sleep(AGAIN_MS);
    }
  }

  /**
   * About every image of a stack, ahead of time: whoever asks later gets, or waits for, the same answer. `pushed` is the digest of the one
   * that was just pushed, where there is one.
   */
  askAhead({ services }: RenderedStack, pushed = NO_DIGEST_YET): void {
    for (const { image } of services) this.ask(image.replace(NO_DIGEST_YET, pushed)).catch(() => undefined); // That it can't be had, too.
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#asked.values());
  }

  /** The digest of an image that must exist. */
  async require(image: string): Promise<string> {
    const answer = await this.ask(image);
    if (answer.kind === "found") {
      this.#asked.set(`${image}@${answer.digest}`, Promise.resolve(answer)); // Its other name.
      return answer.digest;
    }
    throw new PreflightError([
      { message: `The image ${image} can't be deployed: ${inWords(answer)}.`, hint: hintFor(answer) },
    ]);
  }

  #authFor(image: string): string | undefined {
    const reference = parseImageReference(image);
    return reference === undefined ? undefined : this.#session.registryAuth(reference.domain);
  }
}

/** Resolves every image to a digest, all at once, so that every node runs the same. `own` is the repository this action pushes to. */
export async function resolveImages(
  stack: Pick<RenderedStack, "root" | "services">,
  lookup: ImageLookup,
  live: readonly Service[],
  own: string,
): Promise<ResolvedImages> {
  const images = [...new Set(stack.services.map(({ image }) => image))];
  const asked = await together(images.map(async (image) => [image, await lookup.ask(image)] as const));
  const answers = new Map<string, ImageAnswer>();
  const pins = new Map<string, string>();
  const findings: Finding[] = [];
  for (const [image, answer] of asked) {
    if (answer.kind === "found") {
      const pin = image.includes("@") ? image : `${image}@${answer.digest}`;
      pins.set(image, pin);
      answers.set(pin, answer);
      continue;
    }
    const isOurs = isOwn(image, own);
    const fallback = isOurs ? undefined : runningPin(image, live);
    // Losing the pin would change the spec, and so restart what runs.
    if (fallback === undefined) answers.set(image, answer);
    else {
      pins.set(image, fallback.image);
      answers.set(fallback.image, fallback.answer);
    }
    const told = fallback === undefined ? missing(image, answer, live, isOurs) : stays(image, answer);
    const services = stack.services.filter((service) => service.image === image);
    for (const { name } of services) findings.push(told(placeOf(stack.root, name)));
  }
  return { answers, pins, findings };
}

type Told = (place: Place) => Finding;

function stays(image: string, answer: Refused): Told {
  const message = `The image ${image} can't be looked up (${inWords(answer)}); the digest that runs now stays.`;
  return (place) => warning("image-missing", message, place, hintFor(answer));
}

/** An error where the registry says no, unless a node has the image: what runs is there. */
function missing(image: string, answer: Refused, live: readonly Service[], isOurs: boolean): Told {
  const runs = live.some(({ spec }) => imageOf(spec) === image);
  if (isOurs || !(hasTrouble(answer) || runs)) {
    const message = `The manager can't read the image ${image}: ${inWords(answer)}.`;
    return (place) => error("image-missing", message, place, hintFor(answer));
  }
  const message = `The image ${image} can't be looked up (${inWords(answer)}), so nodes may run different images under this name.`;
  return (place) => warning("image-missing", message, place, hintFor(answer));
}

function placeOf(root: Mapping, service: string): Place {
  return (get(root, "services", service, "image") ?? get(root, "services", service) ?? root).place;
}

function isOwn(image: string, own: string): boolean {
  const [a, b] = [parseImageReference(image), parseImageReference(own)];
  return a !== undefined && a.domain === b?.domain && a.path === b.path;
}

/** Whether the registry had trouble to answer, or the manager to reach it, and did not say no. */
function hasTrouble(answer: Refused): boolean {
  return inWords(answer).startsWith(TROUBLE);
}

type Refused = Extract<ImageAnswer, { kind: "refused" }>;

const TROUBLE = "the manager's registry look-up failed";

/** What a registry's refusal means (SWARM 6). */
export function inWords(answer: Refused): string {
  const { message, status } = answer;
  if (status === 404 || /manifest unknown|not found/i.test(message)) return "the registry has no such image";
  if (status === 401 || status === 403 || /unauthorized|denied|no basic auth/i.test(message))
    return `the registry refuses to show it (${message})`;
  return `${TROUBLE} (${message})`;
}

function hintFor(answer: Refused): string {
  const words = inWords(answer);
  if (words.startsWith("the registry has"))
    return 'Check its name and tag ("registry", "project" and "version" for the one of this repository), and that it was pushed.';
  if (words.startsWith("the registry refuses"))
    return 'Give "username" and "password" (or "pull-username" and "pull-password") that may read it.';
  return "Check that the manager reaches the registry and trusts its certificate.";
}

/** The digest under which a service runs this very tag now, with an answer that keeps its spec as it is. */
function runningPin(
  image: string,
  live: readonly Service[],
): { image: string; answer: ImageAnswer } | undefined {
  for (const { spec } of live) {
    const running = imageOf(spec);
    if (!running.startsWith(`${image}@`)) continue;
    const platforms = listAt(spec, "TaskTemplate", "Placement", "Platforms");
    const digest = running.slice(image.length + 1);
    const body = {
      Descriptor: { mediaType: "application/vnd.docker.distribution.manifest.v2+json", digest, size: 0 },
      Platforms: platforms.map((platform) => ({
        architecture: textAt(platform, "Architecture"),
        os: textAt(platform, "OS"),
      })),
    };
    return { image: running, answer: { kind: "found", digest, body } };
  }
  return undefined;
}
